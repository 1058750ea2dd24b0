//! The report of a run: `summary.json`, `summary.md` and a self-contained `report.html`.
//!
//! It stands at the end of the data flow and reads nothing but the run directory's files, so that a run that was
//! killed, is still going or was made on another machine is reported like any other:
//! `recorded` (files) → `summary` (figures and comparisons) → `markdown` and `page` (`plots`).
//!
//! - REPORT-1 a run directory in any state is reported on: what is missing is shown as missing.
//! - REPORT-2 completions are hostile text: nothing of theirs reaches the page unescaped, and the page's policy
//!   lets no script run but its own and nothing be fetched.
//! - REPORT-3 every share and difference comes with its interval and the number of completions it rests on.
//!
//! Paper: <https://arxiv.org/abs/2508.08039>, Table 1 and Figure 2.

#![warn(missing_docs)]

mod arm_summary;
mod comparison;
mod completions;
mod error;
mod markdown;
mod notes;
mod page;
mod paper;
mod plots;
mod recorded;
mod stats;
mod summary;

#[cfg(test)]
mod fabricate;

use std::path::Path;

use records::{RunDir, replace_file};

use self::recorded::RecordedRun;

pub use arm_summary::{ArmSummary, Evaluation, Score, SeedScores, SeedSummary, Timing};
pub use comparison::{Comparison, Difference};
pub use error::ReportError;
pub use paper::{Benchmarks, PaperRow};
pub use stats::Estimate;
pub use summary::Summary;

/// Writes `summary.json`, `summary.md` and `report.html` into the run directory and returns the figures.
///
/// # Errors
/// If the directory holds no run or a file cannot be read or written.
pub fn write_report(run_dir: &RunDir) -> Result<Summary, ReportError> {
    let run = RecordedRun::read(run_dir)?;
    let summary = Summary::of(&run);
    let json = serde_json::to_string_pretty(&summary).expect("text keys and numbers");
    let page = page::render(&run, &summary)?;
    write(&run_dir.summary_json(), &(json + "\n"))?;
    write(&run_dir.summary_markdown(), &summary.markdown())?;
    write(&run_dir.report(), &page)?;
    Ok(summary)
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    replace_file(path, text.as_bytes()).map_err(ReportError::Write)
}

#[cfg(test)]
mod tests;
