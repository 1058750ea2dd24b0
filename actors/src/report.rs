//! The report of a run: `summary.json`, `summary.md` and a self-contained `report.html`.
//!
//! It stands at the end of the data flow and reads nothing but the run directory's files, so that a run that was
//! killed, is still going or was made on another machine is reported like any other:
//! `run_dir` (files) → `summary` (figures, `worth` comparisons) → `markdown` and `page` (`plots`).
//!
//! - REPORT-1 a run directory in any state is reported on: what is missing is shown as missing.
//! - REPORT-2 completions are hostile text: nothing of theirs reaches the page unescaped, and the page's policy
//!   lets no script run but its own and nothing be fetched.
//! - REPORT-3 every share and difference comes with its interval and the number of completions it rests on.
//!
//! Paper: <https://arxiv.org/abs/2508.08039>, Table 1 and Figure 2.

mod completions;
mod jsonl;
mod markdown;
mod page;
mod paper;
mod plots;
mod records;
mod run_dir;
mod stats;
mod summary;
mod worth;

#[cfg(test)]
mod fabricate;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use paper::{Benchmarks, PaperRow};
pub use records::{GroupCounts, Tally};
pub use stats::Estimate;
pub use summary::{ArmSummary, Evaluation, Score, SeedScores, SeedSummary, Summary, Timing};
pub use worth::{Comparison, Difference};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or directory is there but cannot be read, or the run directory is not there.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory holds no run.
    #[error(
        "{path}: not a run directory (no scenario.toml with arms, no ARM/seed-N/ folders); name one such as runs/ablation-20250131-120000",
        path = path.display()
    )]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// A file of the report could not be written.
    #[error("{path}: could not be written: {source}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The page could not be laid out.
    #[error("report.html could not be laid out: {0}")]
    Page(String),
}

/// Writes `summary.json`, `summary.md` and `report.html` into the run directory and returns the figures.
///
/// # Errors
/// If the directory holds no run or a file cannot be read or written.
pub fn write_report(run_dir: &Path) -> Result<Summary, ReportError> {
    let run = run_dir::RunDir::read(run_dir)?;
    let summary = Summary::of(&run);
    let json =
        serde_json::to_string_pretty(&summary).map_err(|error| ReportError::Page(error.to_string()))?;
    let page = page::render(&run, &summary).map_err(|error| ReportError::Page(error.to_string()))?;
    write(run_dir, "summary.json", &(json + "\n"))?;
    write(run_dir, "summary.md", &summary.markdown())?;
    write(run_dir, "report.html", &page)?;
    Ok(summary)
}

/// Writes a file whole or not at all: a reader never meets half a report.
fn write(dir: &Path, name: &str, text: &str) -> Result<(), ReportError> {
    let path = dir.join(name);
    let new = dir.join(format!(".{name}.new"));
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|source| ReportError::Write { path, source })
}

#[cfg(test)]
mod tests;
