//! What is wrong with a scenario, where, and what to write instead: one line each.

use std::fmt;
use std::path::PathBuf;

/// Why a scenario could not be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// The scenario file could not be read.
    #[error("{}: {problem}; {instead}", path.display())]
    File {
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// Something in it, or on the command line, cannot be used.
    #[error("{place}: {problem}; {instead}")]
    Invalid {
        /// Where it stands.
        place: Place,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        instead: String,
    },
}

impl ScenarioError {
    pub(crate) fn at(place: &Place, problem: impl Into<String>, instead: impl Into<String>) -> Self {
        Self::Invalid { place: place.clone(), problem: problem.into(), instead: instead.into() }
    }
}

/// Where a key or a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the scenario file.
    File {
        /// The path as it was given.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// On the command line, such as `--set grpo.lr=1e-4`.
    Argument(String),
    /// Nowhere: a value that was not written but chosen by default, in this file's stead.
    Default(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Argument(argument) => f.write_str(argument),
            Self::Default(path) => write!(f, "{}:1:1", path.display()),
        }
    }
}

/// What can go wrong between a [`DataSource`] and its questions.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("{}: cannot be read: {source}; {advice}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to write instead.
        advice: &'static str,
    },
    /// A row of a data file is not what its format says.
    #[error("{}:{line}: {what}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row's first line, from 1.
        line: usize,
        /// What is wrong, and what to write instead.
        what: String,
    },
    /// A data file as a whole is not usable.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to write instead.
        what: String,
    },
    /// A setting of the soundscape world is out of its range.
    #[error("[data.soundscapes] {0}")]
    World(String),
    /// Something could not be written into the cache folder.
    #[error("{}: cannot be written: {source}; set AUDIO_THINKER_CACHE to a folder that can", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
