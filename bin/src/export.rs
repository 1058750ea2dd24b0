//! `sandbox export`: the records of a run as tables for pandas, Polars and DuckDB, or as curves for a tracker.

use exports::{ExportError, Format, export as write_tables};
use records::{ArmId, ArmState, RecordsError, RunDir};
use scenarios::load;

use crate::cli::{ExportFormat, ExportOptions};
use crate::failure::Failure;
use crate::run::existing_run_dir;
use crate::streams::outln;
use crate::tracking::{Program, Tracking};

pub fn export(options: &ExportOptions) -> Result<(), Failure> {
    let run_dir = existing_run_dir(&options.dir)?;
    let format = match options.to {
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Json => Format::Json,
        ExportFormat::Tensorboard => return curves(&run_dir, Program::Tensorboard, options),
        ExportFormat::Wandb => return curves(&run_dir, Program::Wandb, options),
        ExportFormat::Mlflow => return curves(&run_dir, Program::Mlflow, options),
    };
    let out = options.out.clone().unwrap_or_else(|| run_dir.path().join("export"));
    for path in write_tables(&run_dir, format, &out).map_err(failed)? {
        outln!("{}", path.display());
    }
    Ok(())
}

/// Writes or sends the curves of every arm under every seed.
fn curves(run_dir: &RunDir, program: Program, options: &ExportOptions) -> Result<(), Failure> {
    let experiment = load(&run_dir.scenario(), &options.set, &[], None)?;
    let missing = |key: &str, example: &str| {
        let scenario = run_dir.scenario();
        let scenario = scenario.display();
        Failure::Input(format!("{scenario} has no [tracking.{key}]; add --set tracking.{key}.{example}"))
    };
    match program {
        Program::Wandb if experiment.tracking.wandb.is_none() => {
            return Err(missing("wandb", "project=NAME"));
        }
        Program::Mlflow if experiment.tracking.mlflow.is_none() => {
            return Err(missing("mlflow", "url=http://127.0.0.1:5000"));
        }
        Program::Tensorboard | Program::Wandb | Program::Mlflow => {}
    }
    let tracking = Tracking::of(run_dir.clone(), &experiment)?;
    for (arm, seeds) in run_dir.arms().map_err(Failure::input)? {
        for (seed, dir) in seeds {
            let status = dir.read_status().map_err(Failure::input)?;
            let (id, state) = match status {
                Some(status) => (status.id, status.state),
                None => (ArmId::new(&arm, seed), ArmState::Stopped),
            };
            let mut curves = tracking.open(program, &id).map_err(failed)?;
            outln!("{}", curves.place());
            if matches!(state, ArmState::Done | ArmState::Failed { .. } | ArmState::Stopped) {
                curves.end(&state).map_err(failed)?;
            }
        }
    }
    tracking.finish();
    Ok(())
}

/// What can't be read is the user's to mend, and ends with 2; a full disk is not.
fn failed(error: ExportError) -> Failure {
    match error {
        ExportError::Records(RecordsError::Write { .. }) => Failure::running(error),
        error => Failure::input(error),
    }
}
