//! The report of a run: `summary.json`, `summary.md` and a self-contained `report.html`.
//!
//! This is the end of the data flow. The report is made from the files of the run directory alone, so it also works for
//! a run that was killed, is in progress, or was copied from another machine: `recorded` (files) → `summary` (metrics
//! and comparisons) → `markdown` and `page` (with `plots`). `overview` describes a run in one line, and `fit` makes tables
//! narrow enough for a terminal.
//!
//! - REPORT-1 A run directory in any state can be reported. What is missing is shown as missing.
//! - REPORT-2 Completions are untrusted text. They are escaped on the page, and the page's content security policy
//!   allows no script but its own and no request to the network.
//! - REPORT-3 Every share and every difference comes with its interval and the number of completions behind it.
//!
//! Paper: <https://arxiv.org/abs/2508.08039>, Table 1 and Figure 2.

#![warn(missing_docs)]

mod ablation;
mod across;
mod arm_summary;
mod comparison;
mod completions;
mod conclusions;
mod correlations;
mod error;
pub mod fit;
mod hearing;
mod hypotheses;
mod markdown;
mod notes;
mod outcomes;
mod overview;
mod page;
mod paper;
mod plots;
mod recorded;
mod reshape;
mod summary;
mod tables;
mod worked;

#[cfg(test)]
mod fabricate;

use std::path::Path;

use records::{RunDir, replace_file};

use self::recorded::RecordedRun;

pub use ablation::{Ablation, AblationMetric, AblationSuite, Contribution, Effect};
pub use across::{RunComparison, compare_runs};
pub use arm_summary::{ArmSummary, Evaluation, Score, SeedSummary, Timing};
pub use comparison::{Comparison, Difference};
pub use conclusions::{ArmClaim, Conclusion, Topic};
pub use correlations::Correlation;
pub use error::{ReportError, ReshapeError};
pub use hearing::{ControlScore, Hearing};
pub use hypotheses::{Answer, Verdict};
pub use overview::{Best, RunOverview, RunState, overview};
pub use paper::{Benchmarks, PaperRow};
pub use recorded::Origin;
pub use reshape::{Reshaped, ReshapedStep, reshape};
pub use statistics::Estimate;
pub use summary::Summary;

/// Writes `summary.json`, `summary.md` and `report.html` into the run directory and returns
/// the content of `summary.json`.
///
/// Errors: The directory contains no run, or a file cannot be read or written.
pub fn write_report(run_dir: &RunDir) -> Result<Summary, ReportError> {
    let run = RecordedRun::read(run_dir)?;
    let summary = Summary::of(&run);
    let json = serde_json::to_string_pretty(&summary).expect("all keys are strings");
    let page = page::render(&run, &summary, &worked::worked(&run)?)?;
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
