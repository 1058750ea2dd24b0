//! The errors of the actors in this crate.

use model::ModelError;
use records::RecordsError;

/// Why a request to one of these actors failed. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The model failed, or its weights could not be read or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of the run directory could not be read or written.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Why a clip has no features: one line that names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClipError(pub String);
