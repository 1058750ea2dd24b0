//! What the conductor carries out at a step boundary.

use std::path::PathBuf;

use records::{AlarmFiring, Applied, Change};
use tokio::sync::oneshot;

use super::change::ChangeError;
use super::conditions::Rewards;

/// What an arm is asked to do at the next step boundary.
pub(crate) enum Order {
    /// Train under other conditions from the next step on.
    Change(Box<PlannedChange>),
    /// Take no further step.
    Pause {
        by: String,
        reason: String,
        /// The alarm that pauses it.
        alarm: Option<Box<AlarmFiring>>,
    },
    Resume {
        by: String,
    },
    /// Take some steps, then pause.
    Step {
        steps: u64,
        by: String,
    },
    /// Write a checkpoint before the next step.
    Checkpoint {
        by: String,
        done: oneshot::Sender<Result<PathBuf, ChangeError>>,
    },
}

/// A change whose rewards have been built and have passed their trial.
pub(crate) struct PlannedChange {
    pub(super) change: Change,
    pub(super) by: String,
    pub(super) built: Rewards,
    pub(super) version: u64,
    pub(super) done: oneshot::Sender<Result<Applied, ChangeError>>,
    /// The alarm that makes it.
    pub(super) alarm: Option<Box<AlarmFiring>>,
}
