//! How far the arm has come, and its checkpoints.

use std::path::PathBuf;
use std::sync::Arc;

use records::{ArmState, ConditionsRecord, Progress};
use scenarios::Method;
use workers::{CheckpointQuery, OptimizerMsg};

use crate::context::ArmContext;
use crate::error::{RecordingError, StepError};
use crate::status::write_status;

/// How far the arm has come, and its newest checkpoint.
pub(super) struct Position {
    arm: Arc<ArmContext>,
    pub(super) progress: Progress,
    pub(super) checkpoint: Option<PathBuf>,
}

impl Position {
    pub(super) fn new(arm: Arc<ArmContext>, progress: Progress) -> Self {
        Position { checkpoint: arm.dir.newest_checkpoint(), arm, progress }
    }

    /// Writes a checkpoint of the present step unless there is one. `conditions` are those of the next step.
    pub(super) async fn write_checkpoint(
        &mut self,
        conditions: Option<ConditionsRecord>,
    ) -> Result<(), StepError> {
        if self.arm.config.method == Method::None {
            return Ok(());
        }
        let folder = self.arm.dir.checkpoint(self.progress.step);
        if self.checkpoint.as_ref() == Some(&folder) {
            return Ok(());
        }
        let query = CheckpointQuery { folder: folder.clone(), progress: self.progress.clone(), conditions };
        self.arm.slots.optimizer.call(query, OptimizerMsg::Checkpoint).await??;
        self.checkpoint = Some(folder);
        let keep = self.arm.config.checkpoint.keep;
        Ok(self.arm.dir.keep_newest_checkpoints(keep).map_err(workers::WorkerError::from)?)
    }

    /// Replaces `status.json` with one that says `state`.
    pub(super) async fn write_status(&self, state: ArmState) -> Result<(), RecordingError> {
        write_status(&self.arm, state, &self.progress, self.checkpoint.clone()).await
    }
}
