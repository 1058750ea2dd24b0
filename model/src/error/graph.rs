//! Why tokens can't be decoded by replays of a captured step.

use tch::{Kind, TchError};

/// What a step that is to be captured lacks, or what the device reports.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum GraphError {
    #[error("the policy is open for training, and its replica is not")]
    Trains,
    #[error("the output projection has an adapter or a bias")]
    Head,
    #[error("the weights are {0:?}, and the kernels take Float or BFloat16")]
    Kind(Kind),
    #[error(transparent)]
    Gpu(#[from] cuda::GpuError),
    #[error(transparent)]
    Torch(#[from] TchError),
}
