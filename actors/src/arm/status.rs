//! `status.json`: how an arm is doing, replaced whole when that changes.

use std::path::PathBuf;

use scenarios::Method;

use super::context::ArmContext;
use crate::event::ArmStatus;
use crate::progress::Progress;
use crate::recorder::RecorderMsg;
use crate::records::Status;

/// How an arm is doing, in the words of `status.json`.
pub(crate) enum Standing<'a> {
    /// It takes steps.
    Running,
    /// It waits to be resumed, for this reason.
    Paused(&'a str),
    /// It has ended.
    Ended(&'a ArmStatus),
}

/// Replaces `status.json`.
///
/// # Errors
/// One line: it could not be written.
pub(crate) async fn write_status(
    context: &ArmContext,
    standing: Standing<'_>,
    progress: &Progress,
    checkpoint: Option<PathBuf>,
) -> Result<(), String> {
    let (status, reason) = match standing {
        Standing::Running => ("running", None),
        Standing::Paused(reason) => ("paused", Some(reason.to_owned())),
        Standing::Ended(ArmStatus::Done) => ("done", None),
        Standing::Ended(ArmStatus::Stopped) => ("stopped", None),
        Standing::Ended(ArmStatus::Failed { reason }) => ("failed", Some(reason.clone())),
    };
    let total_steps = if context.config.method == Method::None { 0 } else { context.total_steps };
    let status = Status {
        arm: context.name.clone(),
        seed: context.seed,
        method: context.config.method,
        status,
        reason,
        step: progress.step,
        total_steps,
        checkpoint,
        groups: progress.groups.clone(),
        wall_seconds: context.started.elapsed().as_secs_f64(),
    };
    let json = serde_json::to_string_pretty(&status).map_err(|error| error.to_string())?;
    let file = context.folder.join("status.json");
    let replaced = context.slots.recorder.call((file, json), RecorderMsg::Replace).await;
    replaced.map_err(|error| error.to_string())?
}
