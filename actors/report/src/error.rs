//! Why a report could not be written.

use std::path::PathBuf;

use records::RecordsError;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run directory or a file in it can't be read, or is of a newer format.
    #[error(transparent)]
    Read(#[from] RecordsError),
    /// The directory holds no run.
    #[error(
        "{}: not a run directory (no scenario.toml with arms, no ARM/seed-N/ folders); name one such as runs/ablation-20250131-120000",
        path.display()
    )]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// A file of the report could not be written.
    #[error(transparent)]
    Write(RecordsError),
    /// The template of the page failed.
    #[error("report.html could not be rendered: {0}")]
    Page(#[from] minijinja::Error),
}
