//! Why an annotation can't begin or go on.

use std::path::PathBuf;

use chat::ChatError;
use records::RecordsError;
use scenarios::ScenarioError;

/// Why an annotation can't begin or go on. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationError {
    /// The data can't be read.
    #[error(transparent)]
    Data(#[from] ScenarioError),
    /// A server can't be asked.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The data, the captions, the output or its journal.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A line of the file with captions or of the journal can't be used.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The captions or the journal.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// The output is that of another annotation.
    #[error(
        "{}: begun with other settings ({what} differs); write --out with another file, or remove this one and {}",
        out.display(),
        journal.display()
    )]
    OtherSettings {
        /// The file of `--out`.
        out: PathBuf,
        /// The file beside it that has every answer.
        journal: PathBuf,
        /// The settings that differ, as the command line calls them.
        what: String,
    },
    /// The output is a file that no annotation has written.
    #[error("{}: it exists, and is not the output of an annotation; write --out with another file", .0.display())]
    Exists(PathBuf),
    /// Another process is working on the output.
    #[error("{}: another process is annotating into it; wait for it, or write --out with another file", .0.display())]
    Owned(PathBuf),
    /// A file can't be written.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The servers fail, so that going on is in vain.
    #[error("{0}")]
    Server(String),
}

impl AnnotationError {
    /// Whether the caller's input is at fault rather than what happened while annotating.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Data(_)
            | Self::Chat(_)
            | Self::Read { .. }
            | Self::Line { .. }
            | Self::OtherSettings { .. } => true,
            Self::Exists(_) | Self::Owned(_) => true,
            Self::Records(_) | Self::Server(_) => false,
        }
    }
}
