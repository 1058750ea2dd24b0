//! `sandbox report`, and the same at the end of a run.

use ::report::{ReportError, write_report};
use records::RunDir;

use crate::{cli::ReportOptions, failure::Failure};

/// Columns taken for granted where the output is not a terminal.
const COLUMNS: usize = 160;

/// Writes the report of a run directory and prints its table.
pub fn report(options: &ReportOptions) -> Result<(), Failure> {
    print(&RunDir::new(&options.dir))
}

/// Writes the report and prints the table, what a reader should know, and where the report lies.
pub fn print(run_dir: &RunDir) -> Result<(), Failure> {
    let summary = write_report(run_dir).map_err(|error| match error {
        ReportError::Read(_) | ReportError::NotARun { .. } => Failure::input(error),
        ReportError::Write(_) | ReportError::Page(_) => Failure::running(error),
    })?;
    let terminal = console::Term::stdout();
    let columns = if terminal.is_term() { usize::from(terminal.size().1) } else { COLUMNS };
    println!("\n{}", summary.terminal_table(columns));
    for note in &summary.notes {
        println!("note: {}", note.replace(['\n', '\r'], " "));
    }
    println!("report: {}", run_dir.report().display());
    Ok(())
}
