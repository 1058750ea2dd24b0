//! Failures of the command and their exit codes.

use crate::streams::errln;

/// The exit code of an interrupted run.
pub const INTERRUPTED: i32 = 130;

/// The exit code of a run that did well and is not wholly uploaded.
pub const NOT_UPLOADED: i32 = 3;

/// Why the command ends without success; determines the exit code. Messages are one line each.
#[derive(Debug)]
pub enum Failure {
    /// The arguments or a file that they name cannot be used. Exit code 2.
    Input(String),
    /// Something failed while running. Exit code 1.
    Running(String),
    /// The run did well, but something of it could not be uploaded. Exit code 3.
    NotUploaded(String),
    /// The user interrupted the run, which stopped after a checkpoint. Everything has been printed. Exit code 130.
    Interrupted,
}

impl From<scenarios::ScenarioError> for Failure {
    fn from(error: scenarios::ScenarioError) -> Self {
        Failure::input(error)
    }
}

impl Failure {
    /// Unusable input; the error is the message.
    pub fn input(error: impl std::error::Error) -> Self {
        Self::Input(error.to_string())
    }

    /// A failure while running; the error is the message.
    pub fn running(error: impl std::error::Error) -> Self {
        Self::Running(error.to_string())
    }

    /// Prints the message and returns the exit code.
    pub fn report(self) -> i32 {
        match self {
            Self::Input(message) => {
                errln!("error: {message}");
                2
            }
            Self::Running(message) => {
                errln!("error: {message}");
                1
            }
            Self::NotUploaded(message) => {
                errln!("error: {message}");
                NOT_UPLOADED
            }
            Self::Interrupted => INTERRUPTED,
        }
    }
}
