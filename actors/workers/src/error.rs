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
    /// Not even the smallest part of a training step fits into the memory.
    #[error(
        "one completion with its prompt does not fit into memory ({problem}); lower sampling.max_new_tokens, give \
         shorter clips, or set policy.gradient_checkpointing = true, policy.train = \"lora\" or policy.dtype = \"bf16\""
    )]
    StepTooLarge {
        /// What libtorch said.
        problem: String,
    },
    /// Not even one completion can be sampled.
    #[error(
        "one completion with its prompt can't be sampled for lack of memory ({problem}); lower sampling.max_new_tokens, or \
         set policy.dtype = \"bf16\""
    )]
    CompletionTooLarge {
        /// What libtorch said.
        problem: String,
    },
    /// The completions of a prompt can't be sampled at once, and `sampling.forced_no_think` needs them to be.
    #[error(
        "the completions of one prompt can't be sampled at once for lack of memory ({problem}), as sampling.forced_no_think \
         needs them to be; lower sampling.group_size or sampling.max_new_tokens"
    )]
    GroupTooLarge {
        /// What libtorch said.
        problem: String,
    },
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
