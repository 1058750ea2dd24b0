//! The errors of the actors in this crate.

use distributed::RankError;
use model::ModelError;
use model::optim::OptimError;
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
    /// The processes that train the arm together can't go on.
    #[error(transparent)]
    Ranks(#[from] RankError),
    /// AdamW's state could not be made or restored.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// The servers that sample could not be used.
    #[error("{0}")]
    Servers(String),
    /// A checkpoint of such weights would be of no use, and replace one that is.
    #[error("the weights are not finite, so that no checkpoint of them is written: {tensors}")]
    NotFinite {
        /// The names of the first tensors.
        tensors: String,
    },
}

/// Why a clip has no features: one line that names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClipError(pub String);
