//! Why a judge can't be created or asked.

use std::path::PathBuf;

use chat::ChatError;
use model::ModelError;

/// Why a judge can't be created or can't judge. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// A setting is missing or unusable.
    #[error("{0}")]
    Setting(String),
    /// The model of a local judge can't be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file or folder of a local judge can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Path of the file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The thread of a local judge could not start or has ended.
    #[error("{0}")]
    Thread(String),
    /// The local judge's model failed on a batch.
    #[error("{0}")]
    Batch(String),
    /// No server of the judge can be used.
    #[error("{0}")]
    Server(String),
    /// A calibration set can't be read.
    #[error("{0}")]
    CalibrationSet(String),
    /// The verdict cache on disk can't be opened.
    #[error("{0}")]
    Cache(String),
}

impl From<ChatError> for JudgeError {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Setting(message) => JudgeError::Setting(message),
            ChatError::Server(message) => JudgeError::Server(message),
        }
    }
}
