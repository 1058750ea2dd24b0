//! Pause, resume, step, checkpoint and stop, for one arm or for several at once.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm_path::ArmPath;
use super::caller::Caller;
use super::selection::{ArmResult, Results, Selected, select};
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::openapi::Api;
use crate::shared::Shared;
use ::records::visible;
use run::{ArmHandle, ArmView};

/// Greatest length of the reason of a pause, in characters: it is part of every view of the arm.
const LONGEST_REASON: usize = 1_000;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    let api = api
        .route(
            "post",
            "/api/arms/{arm}/{seed}/pause",
            "Pauses the arm after the current step",
            pause,
            |operation, schemas| {
                operation.body::<Pause>(schemas).answers::<ArmView>(schemas);
            },
        )
        .route("post", "/api/arms/{arm}/{seed}/resume", "Resumes the arm", resume, |operation, schemas| {
            operation.answers::<ArmView>(schemas);
        })
        .route(
            "post",
            "/api/arms/{arm}/{seed}/step",
            "Takes a number of steps, then pauses",
            step,
            |operation, schemas| {
                operation.body::<Steps>(schemas).answers::<ArmView>(schemas);
            },
        )
        .route(
            "post",
            "/api/arms/{arm}/{seed}/checkpoint",
            "Writes a checkpoint after the current step",
            checkpoint,
            |operation, schemas| {
                operation.answers::<Folder>(schemas);
            },
        )
        .route(
            "post",
            "/api/arms/{arm}/{seed}/stop",
            "Ends the arm after the current step and writes a checkpoint",
            stop,
            |operation, schemas| {
                operation.answers::<ArmView>(schemas);
            },
        );
    api.route("post", "/api/pause", "Pauses several arms", pause_all, |operation, schemas| {
        operation.body::<Pause>(schemas).answers::<Results>(schemas);
    })
    .route("post", "/api/resume", "Resumes several arms", resume_all, |operation, schemas| {
        operation.body::<Arms>(schemas).answers::<Results>(schemas);
    })
    .route(
        "post",
        "/api/step",
        "Takes a number of steps in several arms, then pauses them",
        step_all,
        |operation, schemas| {
            operation.body::<Steps>(schemas).answers::<Results>(schemas);
        },
    )
    .route(
        "post",
        "/api/checkpoint",
        "Writes checkpoints of several arms",
        checkpoint_all,
        |operation, schemas| {
            operation.body::<Arms>(schemas).answers::<Results>(schemas);
        },
    )
    .route("post", "/api/stop", "Ends several arms", stop_all, |operation, schemas| {
        operation.body::<Arms>(schemas).answers::<Results>(schemas);
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arms {
    /// The arms. Default: all that have not ended.
    #[serde(default)]
    arms: Option<Vec<Selected>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pause {
    /// The arms, where the path names none. Default: all that have not ended.
    #[serde(default)]
    arms: Option<Vec<Selected>>,
    /// The reason, for the journal; at most 1,000 characters.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Steps {
    /// The arms, where the path names none. Default: all that have not ended.
    #[serde(default)]
    arms: Option<Vec<Selected>>,
    /// The number of steps. Default 1.
    #[serde(default = "one")]
    n: u64,
}

impl Pause {
    /// The reason in one line that is safe to print.
    fn reason(&self) -> Result<Option<String>, ApiError> {
        let Some(reason) = &self.reason else { return Ok(None) };
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() > LONGEST_REASON {
            return Err(ApiError::bad(format!("the reason is longer than {LONGEST_REASON} characters")));
        }
        Ok(Some(visible(&line).into_owned()))
    }
}

fn one() -> u64 {
    1
}

#[derive(Serialize, JsonSchema)]
struct Folder {
    /// The folder of the checkpoint.
    folder: PathBuf,
}

/// A command to an arm.
enum Command {
    Pause(Option<String>),
    Resume,
    Step(u64),
    Checkpoint,
    Stop,
}

impl Command {
    /// Sends it to an arm; returns the folder if it writes a checkpoint.
    async fn send(&self, arm: &ArmHandle, by: &str) -> Result<Option<PathBuf>, ApiError> {
        match self {
            Command::Pause(reason) => arm.pause(by, reason.as_deref()).map_err(refused)?,
            Command::Resume => arm.resume(by).map_err(refused)?,
            Command::Step(n) => arm.step(*n, by).map_err(refused)?,
            Command::Stop => arm.stop(by).await.map_err(refused)?,
            Command::Checkpoint => return arm.checkpoint(by).await.map(Some).map_err(refused),
        }
        Ok(None)
    }
}

/// The arm has ended, or can't carry out the command in its present state.
fn refused(error: impl ToString) -> ApiError {
    ApiError::conflict(error.to_string())
}

async fn pause(
    ArmPath(arm): ArmPath,
    Caller(by): Caller,
    JsonBody(pause): JsonBody<Pause>,
) -> Result<Json<ArmView>, ApiError> {
    refuse_arms(pause.arms.as_deref())?;
    one_arm(&arm, by, &Command::Pause(pause.reason()?)).await
}

async fn resume(ArmPath(arm): ArmPath, Caller(by): Caller) -> Result<Json<ArmView>, ApiError> {
    one_arm(&arm, by, &Command::Resume).await
}

async fn step(
    ArmPath(arm): ArmPath,
    Caller(by): Caller,
    JsonBody(steps): JsonBody<Steps>,
) -> Result<Json<ArmView>, ApiError> {
    refuse_arms(steps.arms.as_deref())?;
    one_arm(&arm, by, &Command::Step(steps.n)).await
}

async fn stop(ArmPath(arm): ArmPath, Caller(by): Caller) -> Result<Json<ArmView>, ApiError> {
    one_arm(&arm, by, &Command::Stop).await
}

async fn checkpoint(ArmPath(arm): ArmPath, Caller(by): Caller) -> Result<Json<Folder>, ApiError> {
    let folder = arm.checkpoint(by).await.map_err(refused)?;
    Ok(Json(Folder { folder }))
}

/// The body must not name other arms than the path does.
fn refuse_arms(arms: Option<&[Selected]>) -> Result<(), ApiError> {
    let error = "the path names the arm; leave `arms` out, or request the path without an arm";
    if arms.is_some() { Err(ApiError::bad(error)) } else { Ok(()) }
}

async fn one_arm(arm: &ArmHandle, by: &str, command: &Command) -> Result<Json<ArmView>, ApiError> {
    command.send(arm, by).await?;
    Ok(Json(arm.view()))
}

async fn pause_all(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(pause): JsonBody<Pause>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, pause.arms.as_deref(), by, &Command::Pause(pause.reason()?)).await
}

async fn resume_all(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(which): JsonBody<Arms>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, which.arms.as_deref(), by, &Command::Resume).await
}

async fn step_all(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(steps): JsonBody<Steps>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, steps.arms.as_deref(), by, &Command::Step(steps.n)).await
}

async fn checkpoint_all(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(which): JsonBody<Arms>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, which.arms.as_deref(), by, &Command::Checkpoint).await
}

async fn stop_all(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(which): JsonBody<Arms>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, which.arms.as_deref(), by, &Command::Stop).await
}

/// Sends a command to every selected arm at the same time.
async fn all(
    shared: &Shared,
    arms: Option<&[Selected]>,
    by: &str,
    command: &Command,
) -> Result<Json<Results>, ApiError> {
    let arms = select(shared, arms, |_| true)?;
    let results =
        arms.iter().map(|arm| async move { ArmResult::of_command(arm, command.send(arm, by).await) });
    Ok(Json(Results { results: join_all(results).await }))
}
