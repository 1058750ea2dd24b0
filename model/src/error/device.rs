//! Why a device cannot be used.

/// The device's name is not valid, or the GPU that it names is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum DeviceError {
    #[error("`{text}` is none of `auto`, `cpu`, `cuda`, `cuda:N`")]
    Unknown { text: String },
    #[error("`{device}`: this machine has {count} GPU(s), counted from 0")]
    NoSuchGpu { device: String, count: usize },
    #[error("`{device}`: {reason}")]
    Unavailable { device: String, reason: CudaError },
}

/// Why this process has no GPU at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum CudaError {
    #[error("{error}; for a GPU, put the lib folder of PyTorch 2.11 with CUDA on LD_LIBRARY_PATH")]
    NotLoaded { error: String },
    #[error("libtorch_cuda.so is loaded but finds no GPU; is the NVIDIA driver installed (nvidia-smi)?")]
    NoGpu,
}
