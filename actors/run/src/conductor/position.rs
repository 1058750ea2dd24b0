//! How far the arm has come, and its checkpoints.

use std::path::PathBuf;
use std::sync::Arc;

use records::{ArmState, CheckpointState, ConditionsRecord, Progress, RecordsError, WrittenCheckpoint};
use scenarios::Method;
use tokio::task::JoinHandle;
use workers::{CheckpointQuery, OptimizerMsg, RecorderMsg, WorkerError};

use crate::context::ArmContext;
use crate::error::{RecordingError, StepError};
use crate::status::write_status;

/// How far the arm has come, and its newest checkpoint.
pub(super) struct Position {
    arm: Arc<ArmContext>,
    pub(super) progress: Progress,
    pub(super) checkpoint: Option<PathBuf>,
    /// The version of the conditions in it.
    version: Option<u64>,
    /// The newest checkpoint as it was written; unknown for one of an older version.
    written: Option<WrittenCheckpoint>,
    /// The removal of older checkpoints, which reads the newest again first, beside the training.
    pruning: Option<JoinHandle<Result<(), RecordsError>>>,
    /// A step that was trained on but could not be recorded.
    unrecorded: Option<u64>,
}

impl Position {
    pub(super) fn new(arm: Arc<ArmContext>, progress: Progress) -> Self {
        let written = arm.dir.newest_written();
        let checkpoint = arm.dir.newest_checkpoint();
        let state = CheckpointState::newest(&arm.dir).ok().flatten();
        let version = version_of(state.and_then(|state| state.conditions).as_ref());
        Position { checkpoint, version, written, pruning: None, unrecorded: None, arm, progress }
    }

    /// The next step was trained on, but its rows could not be written: no checkpoint may have its weights without its
    /// rows, so the arm goes on from the checkpoint before.
    pub(super) fn lost_rows(&mut self) {
        self.unrecorded = Some(self.progress.step + 1);
    }

    /// Writes a checkpoint of the present step unless there is one with these conditions, which are those of the next
    /// step.
    pub(super) async fn write_checkpoint(
        &mut self,
        conditions: Option<ConditionsRecord>,
    ) -> Result<(), StepError> {
        if self.arm.config.method == Method::None {
            return Ok(());
        }
        let folder = self.arm.dir.checkpoint(self.progress.step);
        let version = version_of(conditions.as_ref());
        if self.checkpoint.as_ref() == Some(&folder) && self.version == version {
            return Ok(());
        }
        if let Some(step) = self.unrecorded {
            return Err(StepError::RowsLost { step });
        }
        self.finish_pruning().await?;
        let slots = &self.arm.slots;
        let records = slots.recorder.call(self.arm.id.folder(), RecorderMsg::Seal).await?;
        let records = records.map_err(WorkerError::from)?;
        let query = CheckpointQuery { folder, progress: self.progress.clone(), conditions, records };
        let written = slots.optimizer.call(Box::new(query), OptimizerMsg::Checkpoint).await??;
        let before = self.written.replace(written.clone());
        (self.checkpoint, self.version) = (Some(written.folder().to_owned()), version);
        if let Some(before) = before.filter(|before| before.folder() != written.folder()) {
            before.is_still_there().map_err(WorkerError::from)?;
        }
        let (dir, keep) = (self.arm.dir.clone(), self.arm.config.checkpoint.keep);
        self.pruning = Some(tokio::task::spawn_blocking(move || dir.keep_newest_checkpoints(keep, &written)));
        Ok(())
    }

    /// Waits until the last checkpoint was read again and the surplus ones are removed.
    pub(super) async fn finish_pruning(&mut self) -> Result<(), StepError> {
        let Some(pruning) = self.pruning.take() else { return Ok(()) };
        match pruning.await {
            Ok(pruned) => Ok(pruned.map_err(WorkerError::from)?),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Replaces `status.json` with one that says `state`.
    pub(super) async fn write_status(&self, state: ArmState) -> Result<(), RecordingError> {
        write_status(&self.arm, state, &self.progress, self.checkpoint.clone()).await
    }
}

fn version_of(conditions: Option<&ConditionsRecord>) -> Option<u64> {
    conditions.map(|conditions| conditions.version)
}
