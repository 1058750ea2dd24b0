//! What can go wrong before a simulation begins, or while it runs.

use std::path::PathBuf;

/// Why there is nothing to simulate.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A file of inputs, or an argument of `--set`, can't be used.
    #[error("{place}: {problem}; {instead}")]
    Input {
        /// The file with line and column, or the argument.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        instead: String,
    },
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The records of a run can't be read.
    #[error(transparent)]
    Records(#[from] records::RecordsError),
    /// The stored scenario of a run can't be read.
    #[error(transparent)]
    Scenario(#[from] scenarios::ScenarioError),
    /// A run that nothing can be fitted to.
    #[error("{}: {problem}", run.display())]
    NotFitted {
        /// The run directory.
        run: PathBuf,
        /// What it lacks, and what to do.
        problem: String,
    },
    /// Failures come faster than the arms get on.
    #[error(
        "the arms do not get on: {steps} of {of} steps after {events} events, because of failures; write a larger mtbf_hours in [failures], or a smaller every in [checkpoint]"
    )]
    NoProgress {
        /// Steps that were taken and kept.
        steps: u64,
        /// Steps of all arms.
        of: u64,
        /// Events that were simulated.
        events: u64,
    },
}
