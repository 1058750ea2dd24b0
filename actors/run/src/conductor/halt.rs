//! Why the steps end early, and the switches that end them.

use tokio::sync::watch;
use workers::WorkerError;

use crate::error::{EvaluationError, RecordingError, StepError};
use crate::live::{InForceError, RepeatError};

/// Why the steps end early.
pub(super) enum Halt {
    /// The run or the arm was stopped.
    Stopped,
    /// The present step left no trace and can be taken again once its reason is removed.
    NeedsHelp(String),
    /// The arm can't go on.
    Failed(String),
}

impl From<StepError> for Halt {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Unrecorded { source, .. } => Halt::Failed(source.to_string()),
            StepError::RowsLost { .. } => Halt::Failed(error.to_string()),
            // Ranks that have lost each other don't meet again; a new process goes on from the checkpoint.
            StepError::BudgetSpent { can_go_on: false, .. } | StepError::Worker(WorkerError::Ranks(_)) => {
                Halt::Failed(error.to_string())
            }
            StepError::BudgetSpent { can_go_on: true, .. }
            | StepError::Call(_)
            | StepError::Worker(_)
            | StepError::Reward { .. }
            | StepError::NoTurn { .. } => Halt::NeedsHelp(error.to_string()),
        }
    }
}

impl From<RecordingError> for Halt {
    fn from(error: RecordingError) -> Self {
        Halt::Failed(error.to_string())
    }
}

impl From<InForceError> for Halt {
    fn from(error: InForceError) -> Self {
        Halt::Failed(error.to_string())
    }
}

impl From<RepeatError> for Halt {
    fn from(error: RepeatError) -> Self {
        Halt::Failed(error.to_string())
    }
}

impl From<EvaluationError> for Halt {
    fn from(error: EvaluationError) -> Self {
        match error {
            // It is evaluated again once the arm is resumed.
            EvaluationError::Step(error) => error.into(),
            other => Halt::Failed(other.to_string()),
        }
    }
}

/// The stop switches of the run and of the arm. Each turns true at most once.
pub(super) struct Stops {
    pub(super) run: watch::Receiver<bool>,
    pub(super) arm: watch::Receiver<bool>,
}

impl Stops {
    /// Waits for `work` until the run or the arm is stopped.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::select! {
            biased;
            // A switch whose sender is dropped never turns true.
            Ok(_) = self.run.wait_for(|stop| *stop) => Err(Halt::Stopped),
            Ok(_) = self.arm.wait_for(|stop| *stop) => Err(Halt::Stopped),
            done = work => Ok(done),
        }
    }
}
