//! `sandbox report`: writes a run's report and prints its table. Every run does the same at its end.

use ::report::fit::wrap;
use ::report::{ReportError, write_report};
use records::RunDir;

use crate::{
    cli::ReportOptions,
    failure::Failure,
    streams::{columns, outln},
};

pub fn report(options: &ReportOptions) -> Result<(), Failure> {
    write_and_print(&RunDir::new(&options.dir), options.json)
}

/// Writes the report, then prints the table, the notes and the path of `report.html`, or the summary as JSON.
pub fn write_and_print(run_dir: &RunDir, json: bool) -> Result<(), Failure> {
    let summary = write_report(run_dir).map_err(|error| match error {
        ReportError::Read(_)
        | ReportError::NotARun { .. }
        | ReportError::NotComparable { .. }
        | ReportError::Scenario(_)
        | ReportError::Status { .. } => Failure::input(error),
        ReportError::Write(_) | ReportError::Page(_) => Failure::running(error),
    })?;
    if json {
        outln!("{}", serde_json::to_string_pretty(&summary).map_err(Failure::running)?);
        return Ok(());
    }
    outln!("\n{}", summary.terminal_table(columns()));
    for conclusion in &summary.conclusions {
        for line in wrap(&conclusion.text, columns()) {
            outln!("{line}");
        }
    }
    for note in &summary.notes {
        outln!("note: {}", note.replace(['\n', '\r'], " "));
    }
    outln!("report: {}", run_dir.report().display());
    Ok(())
}
