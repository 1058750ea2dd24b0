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

impl Failure {
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
