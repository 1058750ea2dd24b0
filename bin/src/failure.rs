//! How the command ends when it does not end well.

use std::process::ExitCode;

/// Why the command stops, and so its exit code. The texts are one line each.
#[derive(Debug)]
pub enum Failure {
    /// What was given cannot be used.
    Input(String),
    /// Something failed on the way.
    Running(String),
    /// Somebody asked it to stop, and it did, cleanly; what there is to say has been said.
    Interrupted,
}

impl From<scenarios::ScenarioError> for Failure {
    fn from(error: scenarios::ScenarioError) -> Self {
        Failure::input(error)
    }
}

impl Failure {
    /// Unusable input, described by an error.
    pub fn input(error: impl std::error::Error) -> Self {
        Self::Input(error.to_string())
    }

    /// A failure on the way, described by an error.
    pub fn running(error: impl std::error::Error) -> Self {
        Self::Running(error.to_string())
    }

    /// The same, saying first whose it is.
    pub fn of(self, whose: &str) -> Self {
        match self {
            Self::Input(message) => Self::Input(format!("{whose}: {message}")),
            Self::Running(message) => Self::Running(format!("{whose}: {message}")),
            Self::Interrupted => Self::Interrupted,
        }
    }

    /// Says why, and gives the exit code.
    pub fn exit(self) -> ExitCode {
        match self {
            Self::Input(message) => {
                eprintln!("error: {message}");
                ExitCode::from(2)
            }
            Self::Running(message) => {
                eprintln!("error: {message}");
                ExitCode::from(1)
            }
            Self::Interrupted => ExitCode::from(130),
        }
    }
}
