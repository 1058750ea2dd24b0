//! The errors of [`Curves`](crate::Curves) and [`export`](crate::export()).

use std::path::PathBuf;

use records::RecordsError;

/// Why records could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A record file can't be read or is of a newer format, or an exported file can't be written.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A record file has lines that are not JSON objects.
    #[error("{}: {lines} of its lines can't be read; `sandbox verify` says what is damaged", path.display())]
    Unreadable {
        /// The record file.
        path: PathBuf,
        /// Number of such lines, without an incomplete last one.
        lines: u64,
    },
    /// A row of metrics does not say which step it is.
    #[error("a row of metrics has no `step`")]
    NoStep,
    /// A row is no evaluation.
    #[error("not an evaluation: {0}")]
    Evaluation(serde_json::Error),
}
