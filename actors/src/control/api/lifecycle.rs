//! Pausing, going on, taking single steps, writing a checkpoint, stopping: an arm, or several at once.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::By;
use crate::control::error::ApiError;
use crate::control::input::Input;
use crate::control::openapi::Api;
use crate::control::shared::{Shared, TheArm, no_arm};
use crate::live::{Applied, ArmHandle, ArmView};

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    let api = api
        .route(
            "post",
            "/api/arms/{arm}/{seed}/pause",
            "Pauses the arm after the step in hand",
            pause,
            |operation, schemas| {
                operation.body::<Pause>(schemas).answers::<ArmView>(schemas);
            },
        )
        .route("post", "/api/arms/{arm}/{seed}/resume", "Goes on", resume, |operation, schemas| {
            operation.answers::<ArmView>(schemas);
        })
        .route(
            "post",
            "/api/arms/{arm}/{seed}/step",
            "Takes some steps, then pauses",
            step,
            |operation, schemas| {
                operation.body::<Steps>(schemas).answers::<ArmView>(schemas);
            },
        )
        .route(
            "post",
            "/api/arms/{arm}/{seed}/checkpoint",
            "Writes a checkpoint after the step in hand",
            checkpoint,
            |operation, schemas| {
                operation.answers::<Folder>(schemas);
            },
        )
        .route(
            "post",
            "/api/arms/{arm}/{seed}/stop",
            "Ends the arm after the step in hand, with a checkpoint",
            stop,
            |operation, schemas| {
                operation.answers::<ArmView>(schemas);
            },
        );
    api.route("post", "/api/pause", "Pauses several arms", pause_all, |operation, schemas| {
        operation.body::<Pause>(schemas).answers::<Results>(schemas);
    })
    .route("post", "/api/resume", "Goes on with several arms", resume_all, |operation, schemas| {
        operation.body::<Arms>(schemas).answers::<Results>(schemas);
    })
    .route(
        "post",
        "/api/step",
        "Takes some steps in several arms, then pauses them",
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

/// An arm and its seed.
pub(super) type Choice = (String, u64);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arms {
    /// Which arms. Default: all that have not ended.
    #[serde(default)]
    arms: Option<Vec<Choice>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pause {
    /// Where several can be meant: which arms. Default: all that have not ended.
    #[serde(default)]
    arms: Option<Vec<Choice>>,
    /// Why, for the journal.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Steps {
    /// Where several can be meant: which arms. Default: all that have not ended.
    #[serde(default)]
    arms: Option<Vec<Choice>>,
    /// How many steps. Default 1.
    #[serde(default = "one")]
    n: u64,
}

fn one() -> u64 {
    1
}

#[derive(Serialize, JsonSchema)]
struct Folder {
    /// Where the checkpoint lies.
    folder: PathBuf,
}

/// What came of it in each arm.
#[derive(Serialize, JsonSchema)]
pub(super) struct Results {
    pub results: Vec<Outcome>,
}

/// What came of it in one arm.
#[derive(Serialize, JsonSchema)]
pub(super) struct Outcome {
    arm: String,
    seed: u64,
    /// Since when a change is in force.
    applied: Option<Applied>,
    /// Where a checkpoint lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<PathBuf>,
    /// Why it was not done, in one line.
    error: Option<String>,
    /// Where in the formula, in characters from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<usize>,
}

impl Outcome {
    fn new(arm: &ArmHandle, error: Option<ApiError>) -> Self {
        let refusal = error.map(ApiError::into_refusal);
        Outcome {
            arm: arm.arm().to_owned(),
            seed: arm.seed(),
            applied: None,
            folder: None,
            place: refusal.as_ref().and_then(|refusal| refusal.place),
            error: refusal.map(|refusal| refusal.error),
        }
    }

    pub fn of_change(arm: &ArmHandle, applied: Result<Applied, ApiError>) -> Self {
        match applied {
            Ok(applied) => Outcome { applied: Some(applied), ..Self::new(arm, None) },
            Err(error) => Self::new(arm, Some(error)),
        }
    }
}

/// The arms that are meant: those named, or all that have not ended and are `wanted`.
pub(super) fn chosen(
    shared: &Shared,
    arms: Option<&[Choice]>,
    wanted: impl Fn(&ArmHandle) -> bool,
) -> Result<Vec<ArmHandle>, ApiError> {
    let run = &shared.run;
    let Some(arms) = arms else {
        let is_meant = |arm: &ArmHandle| !arm.view().status.has_ended() && wanted(arm);
        return Ok(run.arms().into_iter().filter(is_meant).collect());
    };
    let find = |(arm, seed): &Choice| run.arm(arm, *seed).ok_or_else(|| no_arm(run, arm, &seed.to_string()));
    arms.iter().map(find).collect()
}

/// What an arm can be asked to do.
enum Act {
    Pause(Option<String>),
    Resume,
    Step(u64),
    Checkpoint,
    Stop,
}

impl Act {
    /// Has the arm do it; gives the folder of a checkpoint.
    async fn of(&self, arm: &ArmHandle, by: &str) -> Result<Option<PathBuf>, ApiError> {
        match self {
            Act::Pause(reason) => arm.pause(by, reason.as_deref()).map_err(refused)?,
            Act::Resume => arm.resume(by).map_err(refused)?,
            Act::Step(n) => arm.step(*n, by).map_err(refused)?,
            Act::Stop => arm.stop(by).await.map_err(refused)?,
            Act::Checkpoint => return arm.checkpoint(by).await.map(Some).map_err(refused),
        }
        Ok(None)
    }
}

/// An arm that has ended, or can't do what is asked as it is.
fn refused(error: impl ToString) -> ApiError {
    ApiError::conflict(error.to_string())
}

async fn pause(
    TheArm(arm): TheArm,
    By(by): By,
    Input(pause): Input<Pause>,
) -> Result<Json<ArmView>, ApiError> {
    one_arm(&arm, by, &Act::Pause(pause.reason.clone())).await
}

async fn resume(TheArm(arm): TheArm, By(by): By) -> Result<Json<ArmView>, ApiError> {
    one_arm(&arm, by, &Act::Resume).await
}

async fn step(
    TheArm(arm): TheArm,
    By(by): By,
    Input(steps): Input<Steps>,
) -> Result<Json<ArmView>, ApiError> {
    one_arm(&arm, by, &Act::Step(steps.n)).await
}

async fn stop(TheArm(arm): TheArm, By(by): By) -> Result<Json<ArmView>, ApiError> {
    one_arm(&arm, by, &Act::Stop).await
}

async fn checkpoint(TheArm(arm): TheArm, By(by): By) -> Result<Json<Folder>, ApiError> {
    let folder = arm.checkpoint(by).await.map_err(refused)?;
    Ok(Json(Folder { folder }))
}

async fn one_arm(arm: &ArmHandle, by: &str, act: &Act) -> Result<Json<ArmView>, ApiError> {
    act.of(arm, by).await?;
    Ok(Json(arm.view()))
}

async fn pause_all(
    State(shared): State<Arc<Shared>>,
    By(by): By,
    Input(pause): Input<Pause>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, pause.arms.as_deref(), by, &Act::Pause(pause.reason.clone())).await
}

async fn resume_all(
    State(shared): State<Arc<Shared>>,
    By(by): By,
    Input(which): Input<Arms>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, which.arms.as_deref(), by, &Act::Resume).await
}

async fn step_all(
    State(shared): State<Arc<Shared>>,
    By(by): By,
    Input(steps): Input<Steps>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, steps.arms.as_deref(), by, &Act::Step(steps.n)).await
}

async fn checkpoint_all(
    State(shared): State<Arc<Shared>>,
    By(by): By,
    Input(which): Input<Arms>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, which.arms.as_deref(), by, &Act::Checkpoint).await
}

async fn stop_all(
    State(shared): State<Arc<Shared>>,
    By(by): By,
    Input(which): Input<Arms>,
) -> Result<Json<Results>, ApiError> {
    all(&shared, which.arms.as_deref(), by, &Act::Stop).await
}

/// Has all arms that are meant do the same, side by side.
async fn all(
    shared: &Shared,
    arms: Option<&[Choice]>,
    by: &str,
    act: &Act,
) -> Result<Json<Results>, ApiError> {
    let arms = chosen(shared, arms, |_| true)?;
    let results = arms.iter().map(|arm| async move {
        match act.of(arm, by).await {
            Ok(folder) => Outcome { folder, ..Outcome::new(arm, None) },
            Err(error) => Outcome::new(arm, Some(error)),
        }
    });
    Ok(Json(Results { results: join_all(results).await }))
}
