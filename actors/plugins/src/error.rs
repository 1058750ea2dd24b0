//! Why a reward can't be opened or is not accepted.

use std::path::PathBuf;

use rewards::RewardError;

/// Why a reward can't be opened, started or accepted. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The reward's kind is unknown, or an option is unusable.
    #[error("[rewards.{name}]: {source}")]
    Reward {
        /// The reward's name in the formula.
        name: String,
        /// What is wrong with the kind or the option.
        source: RewardError,
    },
    /// The address or a header of an HTTP reward is unusable.
    #[error("[rewards.{name}]: {problem}")]
    Http {
        /// The reward's name in the formula.
        name: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// A webhook was not delivered.
    #[error("{0}")]
    Webhook(String),
    /// The program of a process reward was not found.
    #[error("{problem}")]
    Program {
        /// What is missing, and what to write instead.
        problem: String,
    },
    /// The operating system did not start the program.
    #[error("{} could not be started: {problem}", program.display())]
    Spawn {
        /// Path of the program's file.
        program: PathBuf,
        /// The operating system's error.
        problem: String,
    },
    /// The process did not report that it is ready.
    #[error("`{command}` {problem}")]
    Startup {
        /// The program and its arguments, separated by spaces.
        command: String,
        /// What the process did instead; the message reads `command` problem.
        problem: String,
    },
    /// What the plug-in wrote is not a message of the protocol.
    #[error("{problem}")]
    Message {
        /// The text, why it is wrong, and what to write instead.
        problem: String,
    },
    /// The reward failed to score the trial batch. The message is the reward's own.
    #[error("{0}")]
    Trial(String),
}
