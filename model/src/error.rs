//! What can go wrong while a model is opened, fed, run or saved. Each message names the file or the argument, what
//! was found there, and what was expected instead.

use std::path::{Path, PathBuf};

/// An error of this crate's models; audio files have [`crate::audio::AudioError`].
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A configuration file is not what this crate can run.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key, what it holds, and what was expected.
        message: String,
    },
    /// A weights file is damaged, or does not hold what the configuration asks for.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The file, or the directory when a file is missing.
        path: PathBuf,
        /// The tensor, what was found, and what was expected.
        message: String,
    },
    /// The tokenizer or the chat template could not be read or applied.
    #[error("{}: {message}", path.display())]
    Processor {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        message: String,
    },
    /// The device that was asked for cannot be had.
    #[error("device {0}")]
    Device(String),
    /// An argument of a call does not fit the model.
    #[error("{0}")]
    Input(String),
    /// The feature extractor could not be set up.
    #[error(transparent)]
    Audio(#[from] crate::audio::AudioError),
    /// libtorch refused an operation.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

impl ModelError {
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> ModelError {
        ModelError::Io { path: path.as_ref().to_path_buf(), source }
    }

    pub(crate) fn config(path: impl AsRef<Path>, message: impl Into<String>) -> ModelError {
        ModelError::Config { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    pub(crate) fn checkpoint(path: impl AsRef<Path>, message: impl Into<String>) -> ModelError {
        ModelError::Checkpoint { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    pub(crate) fn processor(path: impl AsRef<Path>, message: impl Into<String>) -> ModelError {
        ModelError::Processor { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    pub(crate) fn input(message: impl Into<String>) -> ModelError {
        ModelError::Input(message.into())
    }
}

/// libtorch's errors carry a C++ stack below the sentence that matters.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
