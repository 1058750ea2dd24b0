//! `sandbox export`: the records of a run as tables for pandas, Polars and DuckDB, or as event files for TensorBoard.

use exports::{ExportError, Format, export as write_tables};
use records::{ArmId, RunDir};

use crate::cli::{ExportFormat, ExportOptions};
use crate::failure::Failure;
use crate::run::existing_run_dir;
use crate::streams::outln;
use crate::tensorboard;

pub fn export(options: &ExportOptions) -> Result<(), Failure> {
    let run_dir = existing_run_dir(&options.dir)?;
    let format = match options.to {
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Json => Format::Json,
        ExportFormat::Tensorboard => return event_files(&run_dir),
    };
    let out = options.out.clone().unwrap_or_else(|| run_dir.path().join("export"));
    for path in write_tables(&run_dir, format, &out).map_err(failed)? {
        outln!("{}", path.display());
    }
    Ok(())
}

fn event_files(run_dir: &RunDir) -> Result<(), Failure> {
    for (arm, seeds) in run_dir.arms().map_err(Failure::input)? {
        for (seed, dir) in seeds {
            let id = dir
                .read_status()
                .map_err(Failure::input)?
                .map_or_else(|| ArmId::new(&arm, seed), |status| status.id);
            let events = tensorboard::open(run_dir, &id).map_err(failed)?;
            outln!("{}", events.path().display());
        }
    }
    Ok(())
}

fn failed(error: ExportError) -> Failure {
    Failure::input(error)
}
