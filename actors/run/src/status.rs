//! Writes `status.json`, which says how far an arm is.

use std::path::PathBuf;

use records::{ArmDir, ArmState, FormatVersion, Progress, Status, json_value};
use scenarios::Method;
use workers::RecorderMsg;

use crate::context::ArmContext;
use crate::error::RecordingError;

/// Replaces the arm's `status.json`.
pub(crate) async fn write_status(
    context: &ArmContext,
    state: ArmState,
    progress: &Progress,
    checkpoint: Option<PathBuf>,
) -> Result<(), RecordingError> {
    let status = Status {
        format_version: FormatVersion::CURRENT,
        id: context.id.clone(),
        method: context.config.method,
        state,
        step: progress.step,
        total_steps: if context.config.method == Method::None { 0 } else { context.config.steps },
        checkpoint,
        groups: progress.groups.clone(),
        health: progress.health.clone(),
        wall_seconds: context.started.elapsed().as_secs_f64(),
    };
    let json = format!("{:#}", json_value(&status));
    let file = context.id.folder().join(ArmDir::STATUS);
    Ok(context.slots.recorder.call((file, json), RecorderMsg::Replace).await??)
}
