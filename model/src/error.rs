//! What can go wrong while a model is opened, fed, run or saved.
//!
//! [`ModelError`] names the file or the argument. The enums below it name the key, tensor or value, the value found, and
//! what to write instead. Audio files have [`audio::AudioError`], and the optimizer has
//! [`crate::optim::OptimError`].

mod checkpoint;
mod config;
mod device;
mod graph;
mod input;
mod processor;

use std::path::{Path, PathBuf};

pub use checkpoint::CheckpointError;
pub use config::ConfigError;
pub use device::{CudaError, DeviceError};
pub use graph::GraphError;
pub use input::InputError;
pub use processor::ProcessorError;

/// Why a model could not be opened, run or saved. The message is one line.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum ModelError {
    /// A file or directory could not be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A configuration file (`config.json`, `adapter_config.json`) describes a model that this crate does not run.
    #[error("{}: {problem}", path.display())]
    Config { path: PathBuf, problem: ConfigError },
    /// A weights file is damaged, or its tensors are not the ones that the configuration asks for.
    #[error("{}: {problem}", path.display())]
    Checkpoint { path: PathBuf, problem: CheckpointError },
    /// The tokenizer, the chat template or `generation_config.json` cannot be read or applied.
    #[error("{}: {problem}", path.display())]
    Processor { path: PathBuf, problem: ProcessorError },
    /// The requested device does not exist or cannot be used.
    #[error("device {0}")]
    Device(#[from] DeviceError),
    /// An argument of a call does not fit the model.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The feature extractor could not be set up.
    #[error(transparent)]
    Audio(#[from] audio::FeatureError),
    /// A pass needs more memory than is free.
    #[error("out of memory: {problem}")]
    OutOfMemory { problem: String },
    /// The GPU failed while a captured step was replayed.
    #[error("CUDA graph: {0}")]
    Graph(#[from] GraphError),
    /// libtorch reported another error.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

impl ModelError {
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> ModelError {
        ModelError::Io { path: path.as_ref().to_path_buf(), source }
    }

    pub(crate) fn config(path: impl AsRef<Path>, problem: ConfigError) -> ModelError {
        ModelError::Config { path: path.as_ref().to_path_buf(), problem }
    }

    pub(crate) fn checkpoint(path: impl AsRef<Path>, problem: CheckpointError) -> ModelError {
        ModelError::Checkpoint { path: path.as_ref().to_path_buf(), problem }
    }

    pub(crate) fn processor(path: impl AsRef<Path>, problem: ProcessorError) -> ModelError {
        ModelError::Processor { path: path.as_ref().to_path_buf(), problem }
    }
}

/// The first line of a libtorch error. The lines after it are a C++ stack trace.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
