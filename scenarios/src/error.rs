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
