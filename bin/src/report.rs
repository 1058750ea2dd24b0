//! `sandbox report`: writes a run's report and prints its table. Every run does the same at its end.

use ::report::{ReportError, write_report};
use records::RunDir;

use crate::{cli::ReportOptions, failure::Failure, streams::outln};

/// Width of the table in characters if standard output is not a terminal.
const COLUMNS: usize = 160;

pub fn report(options: &ReportOptions) -> Result<(), Failure> {
    write_and_print(&RunDir::new(&options.dir))
}

/// Writes the report, then prints the table, the notes and the path of `report.html`.
pub fn write_and_print(run_dir: &RunDir) -> Result<(), Failure> {
    let summary = write_report(run_dir).map_err(|error| match error {
        ReportError::Read(_) | ReportError::NotARun { .. } => Failure::input(error),
        ReportError::Write(_) | ReportError::Page(_) => Failure::running(error),
    })?;
    let terminal = console::Term::stdout();
    let columns = if terminal.is_term() { usize::from(terminal.size().1) } else { COLUMNS };
    outln!("\n{}", summary.terminal_table(columns));
    for note in &summary.notes {
        outln!("note: {}", note.replace(['\n', '\r'], " "));
    }
    outln!("report: {}", run_dir.report().display());
    Ok(())
}
