//! The error of this crate. Every message is one line: the place, the problem, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a scenario, a data file or the cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A scenario or data file as a whole cannot be used.
    #[error("{}: {problem}; {instead}", path.display())]
    File {
        /// The path as the user gave it.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A key or value of a scenario, or an argument of the command line, cannot be used.
    #[error("{place}: {problem}; {instead}")]
    Invalid {
        /// Where the key or value was written.
        place: Place,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A value cannot be used; the caller that knows where it was written adds the place.
    #[error("{problem}; {instead}")]
    Value {
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A setting of a built-in world is out of its range.
    #[error("[data.{section}] {key} {problem}; {instead}")]
    World {
        /// The world's table below `[data]`.
        section: &'static str,
        /// The key of the setting.
        key: &'static str,
        /// What is wrong with it, as a predicate of its name.
        problem: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// A row of a data file is not what its format demands.
    #[error("{}:{line}: {problem}; {instead}", path.display())]
    Row {
        /// Path of the data file.
        path: PathBuf,
        /// First line of the row, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A data file could not be read.
    #[error("{}: cannot be read: {source}; {instead}", path.display())]
    Read {
        /// Path of the data file.
        path: PathBuf,
        /// The reason given by the system.
        source: std::io::Error,
        /// What to write instead.
        instead: &'static str,
    },
    /// A file or folder of the cache could not be written.
    #[error("{}: cannot be written: {source}; set AUDIO_THINKER_CACHE to a folder that can", path.display())]
    Write {
        /// Path of the file or folder.
        path: PathBuf,
        /// The reason given by the system.
        source: std::io::Error,
    },
}

impl ScenarioError {
    pub(crate) fn at(place: &Place, problem: impl Into<String>, instead: impl Into<String>) -> Self {
        Self::Invalid { place: place.clone(), problem: problem.into(), instead: instead.into() }
    }

    pub(crate) fn value(problem: impl Into<String>, instead: impl Into<String>) -> Self {
        Self::Value { problem: problem.into(), instead: instead.into() }
    }

    /// A [`Value`](Self::Value) error with the place of the value; other errors as they are.
    pub(crate) fn placed(self, place: &Place) -> Self {
        match self {
            Self::Value { problem, instead } => Self::at(place, problem, instead),
            other => other,
        }
    }

    /// A [`Value`](Self::Value) error with the row it is in; other errors as they are.
    pub(crate) fn in_row(self, path: &Path, line: usize) -> Self {
        match self {
            Self::Value { problem, instead } => Self::Row { path: path.to_owned(), line, problem, instead },
            other => other,
        }
    }
}

/// Where a key or a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the scenario file.
    File {
        /// The file's path as the user gave it.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// On the command line, such as `--set grpo.lr=1e-4`.
    Argument(String),
    /// It was not written, but is a default; the path is that of the scenario file.
    Default(PathBuf),
}

impl Place {
    /// Line and column in the file, by which places are ordered; what is not in a file comes first.
    pub(crate) fn position(&self) -> (usize, usize) {
        match self {
            Self::File { line, column, .. } => (*line, *column),
            Self::Argument(_) | Self::Default(_) => (0, 0),
        }
    }
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
