//! The error of this crate: what is wrong with a scenario or its data, where, and what to write instead; one line each.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a scenario, a data file or the cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A scenario or data file as a whole cannot be used.
    #[error("{}: {problem}; {instead}", path.display())]
    File {
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A key or value of a scenario, or an argument of the command line, cannot be used.
    #[error("{place}: {problem}; {instead}")]
    Invalid {
        /// Where it was written.
        place: Place,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A value cannot be used; the caller that knows where it was written adds the place.
    #[error("{problem}; {instead}")]
    Value {
        /// What is wrong.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A setting of the soundscape world is out of its range.
    #[error("[data.soundscapes] {key} {problem}; {instead}")]
    World {
        /// The setting.
        key: &'static str,
        /// What is wrong with it, to follow its name.
        problem: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// A row of a data file is not what its format demands.
    #[error("{}:{line}: {problem}; {instead}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row's first line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A data file could not be read.
    #[error("{}: cannot be read: {source}; {instead}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
        /// What to write instead.
        instead: &'static str,
    },
    /// A file or folder of the cache could not be written.
    #[error("{}: cannot be written: {source}; set AUDIO_THINKER_CACHE to a folder that can", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
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
        /// The path as it was given.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// On the command line, such as `--set grpo.lr=1e-4`.
    Argument(String),
    /// Nowhere: a default of the scenario file with this path.
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
