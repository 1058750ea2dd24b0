//! `sandbox compare`: arms of several runs in one table, question by question.

use ::report::{ReportError, compare_runs};
use records::RunDir;

use crate::cli::CompareOptions;
use crate::failure::Failure;
use crate::streams::{columns, outln};

pub fn compare(options: &CompareOptions) -> Result<(), Failure> {
    let runs: Vec<RunDir> = options.runs.iter().map(RunDir::new).collect();
    let compared = compare_runs(&runs).map_err(|error: ReportError| Failure::input(error))?;
    if options.json {
        outln!("{}", serde_json::to_string_pretty(&compared).map_err(Failure::running)?);
    } else {
        outln!("{}", compared.terminal_table(columns()));
    }
    Ok(())
}
