//! Writes `status.json`, which says how far an arm is.

use std::path::PathBuf;

use records::{ArmDir, ArmState, CheckpointState, FormatVersion, Progress, Status};
use runtime::Slot;
use scenarios::Method;
use workers::RecorderMsg;

use crate::context::ArmContext;
use crate::error::RecordingError;
use crate::live::LiveArm;

/// Replaces the arm's `status.json`.
pub(crate) async fn write_status(
    context: &ArmContext,
    state: ArmState,
    progress: &Progress,
    checkpoint: Option<PathBuf>,
) -> Result<(), RecordingError> {
    let wall_seconds = context.started.elapsed().as_secs_f64();
    replace_status(&context.slots.recorder, &context.live, state, progress, checkpoint, wall_seconds).await
}

/// Replaces the status of an arm that could not begin, and so has no context.
pub(crate) async fn write_status_of_unstarted(
    recorder: &Slot<RecorderMsg>,
    live: &LiveArm,
    state: ArmState,
    dir: &ArmDir,
) -> Result<(), RecordingError> {
    let progress = CheckpointState::newest(dir)?.map(|found| found.progress).unwrap_or_default();
    replace_status(recorder, live, state, &progress, dir.newest_checkpoint(), 0.0).await
}

async fn replace_status(
    recorder: &Slot<RecorderMsg>,
    live: &LiveArm,
    state: ArmState,
    progress: &Progress,
    checkpoint: Option<PathBuf>,
    wall_seconds: f64,
) -> Result<(), RecordingError> {
    let folder = live.id.folder();
    let records = recorder.call(folder.clone(), RecorderMsg::Seal).await??;
    let status = Status {
        format_version: FormatVersion::CURRENT,
        id: live.id.clone(),
        method: live.config.method,
        state,
        step: progress.step,
        total_steps: if live.config.method == Method::None { 0 } else { live.config.steps },
        checkpoint,
        groups: progress.groups.clone(),
        health: progress.health.clone(),
        wall_seconds,
        records: Some(records),
    };
    let file = folder.join(ArmDir::STATUS);
    Ok(recorder.call((file, status.to_text()), RecorderMsg::Replace).await??)
}
