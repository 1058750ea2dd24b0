//! What is wrong, in one line for whoever runs the arm.

/// Why servers could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Problem(String);

impl From<String> for Problem {
    fn from(line: String) -> Self {
        Problem(line)
    }
}

impl From<&str> for Problem {
    fn from(line: &str) -> Self {
        Problem(line.to_owned())
    }
}

impl Problem {
    /// The line of another error.
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Problem(error.to_string())
    }
}
