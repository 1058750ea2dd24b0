//! What rewards an arm's completions: the formula, its weights and the rewards, read and changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm_path::ArmPath;
use super::caller::Caller;
use super::preview::{Preview, preview};
use super::request::{ChangeRequest, RequestedChange, RewardRequest};
use super::selection::{ArmResult, Results, Selected, select};
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::openapi::Api;
use crate::shared::Shared;
use records::{Applied, Change};
use run::{ArmHandle, ConditionsView, RewardView};

type Weights = BTreeMap<String, f64>;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    let api = api
        .route("get", "/api/arms/{arm}/{seed}/weights", "The weights", weights, |operation, schemas| {
            operation.answers::<Weights>(schemas);
        })
        .route(
            "put",
            "/api/arms/{arm}/{seed}/weights",
            "Changes some weights",
            put_weights,
            |operation, schemas| {
                operation.body::<Weights>(schemas).answers::<Applied>(schemas);
            },
        )
        .route("get", "/api/arms/{arm}/{seed}/formula", "The formula", formula, |operation, schemas| {
            operation.answers::<FormulaText>(schemas);
        })
        .route(
            "put",
            "/api/arms/{arm}/{seed}/formula",
            "Replaces the formula",
            put_formula,
            |operation, schemas| {
                operation.body::<FormulaText>(schemas).answers::<Applied>(schemas);
            },
        )
        .route(
            "post",
            "/api/arms/{arm}/{seed}/formula/check",
            "Checks a formula, or the formula that a change would make, without changing anything; values it on the \
             last batch",
            check_formula,
            |operation, schemas| {
                operation.body::<ChangeRequest>(schemas).answers::<Preview>(schemas);
            },
        );
    api.route("get", "/api/arms/{arm}/{seed}/rewards", "The rewards", rewards, |operation, schemas| {
        operation.answers::<BTreeMap<String, RewardView>>(schemas);
    })
    .route(
        "put",
        "/api/arms/{arm}/{seed}/rewards/{name}",
        "Adds a reward, or replaces the one of that name, after a trial",
        put_reward,
        |operation, schemas| {
            operation.body::<RewardRequest>(schemas).answers::<Applied>(schemas);
        },
    )
    .route(
        "delete",
        "/api/arms/{arm}/{seed}/rewards/{name}",
        "Removes a reward that the formula does not use",
        delete_reward,
        |operation, schemas| {
            operation.answers::<Applied>(schemas);
        },
    )
    .route(
        "post",
        "/api/arms/{arm}/{seed}/change",
        "Changes weights, formula and rewards at one step boundary: all of it or nothing",
        change,
        |operation, schemas| {
            operation.body::<ChangeRequest>(schemas).answers::<Applied>(schemas);
        },
    )
    .route(
        "post",
        "/api/change",
        "Makes the same change in several arms",
        change_all,
        |operation, schemas| {
            operation.body::<ChangeAll>(schemas).answers::<Results>(schemas);
        },
    )
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FormulaText {
    /// Arithmetic over the names of rewards and `w_NAME` for each weight.
    formula: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeAll {
    /// The arms. Default: all that are trained by rewards and have not ended.
    #[serde(default)]
    arms: Option<Vec<Selected>>,
    change: ChangeRequest,
}

async fn weights(ArmPath(arm): ArmPath) -> Result<Json<Weights>, ApiError> {
    Ok(Json(in_force(&arm)?.weights))
}

async fn formula(ArmPath(arm): ArmPath) -> Result<Json<FormulaText>, ApiError> {
    Ok(Json(FormulaText { formula: in_force(&arm)?.formula }))
}

async fn rewards(ArmPath(arm): ArmPath) -> Result<Json<BTreeMap<String, RewardView>>, ApiError> {
    Ok(Json(in_force(&arm)?.rewards))
}

async fn check_formula(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> Result<Json<Preview>, ApiError> {
    preview(&shared, &arm, request.read()).await.map(Json)
}

async fn put_weights(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    Caller(by): Caller,
    JsonBody(weights): JsonBody<Weights>,
) -> Result<Json<Applied>, ApiError> {
    change_one(&shared, &arm, Change { weights, ..Change::default() }.into(), by).await
}

async fn put_formula(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    Caller(by): Caller,
    JsonBody(FormulaText { formula }): JsonBody<FormulaText>,
) -> Result<Json<Applied>, ApiError> {
    change_one(&shared, &arm, Change { formula: Some(formula), ..Change::default() }.into(), by).await
}

async fn put_reward(
    State(shared): State<Arc<Shared>>,
    Path((_, _, name)): Path<(String, u64, String)>,
    ArmPath(arm): ArmPath,
    Caller(by): Caller,
    JsonBody(reward): JsonBody<RewardRequest>,
) -> Result<Json<Applied>, ApiError> {
    let spec = reward.read(&name)?;
    let rewards = BTreeMap::from([(name, Some(spec))]);
    change_one(&shared, &arm, Change { rewards, ..Change::default() }.into(), by).await
}

async fn delete_reward(
    State(shared): State<Arc<Shared>>,
    Path((_, _, name)): Path<(String, u64, String)>,
    ArmPath(arm): ArmPath,
    Caller(by): Caller,
) -> Result<Json<Applied>, ApiError> {
    let rewards = BTreeMap::from([(name, None)]);
    change_one(&shared, &arm, Change { rewards, ..Change::default() }.into(), by).await
}

async fn change(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    Caller(by): Caller,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> Result<Json<Applied>, ApiError> {
    change_one(&shared, &arm, request.read()?, by).await
}

async fn change_all(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(ChangeAll { arms, change }): JsonBody<ChangeAll>,
) -> Result<Json<Results>, ApiError> {
    let requested = change.read()?;
    let _permit = permit(&shared)?;
    let arms = select(&shared, arms.as_deref(), |arm| arm.conditions().is_some())?;
    let (shared, requested) = (&shared, &requested);
    let results = arms
        .iter()
        .map(|arm| async move { ArmResult::of_change(arm, apply(shared, arm, requested.clone(), by).await) });
    Ok(Json(Results { results: join_all(results).await }))
}

fn in_force(arm: &ArmHandle) -> Result<ConditionsView, ApiError> {
    arm.view().conditions.ok_or_else(|| ApiError::not_rewarded(&arm.id().arm))
}

async fn change_one(
    shared: &Shared,
    arm: &ArmHandle,
    requested: RequestedChange,
    by: &'static str,
) -> Result<Json<Applied>, ApiError> {
    let _permit = permit(shared)?;
    apply(shared, arm, requested, by).await.map(Json)
}

/// Makes a change in one arm; returns when it is in force.
///
/// A change that edits the formula in force must not be resolved while another formula waits for its step boundary, or
/// it would undo that one. Such a change therefore holds the arm's formula lock alone until it is in force. It does so
/// in a task of its own, so that a client that disconnects does not release the lock too early.
async fn apply(
    shared: &Shared,
    arm: &ArmHandle,
    requested: RequestedChange,
    by: &'static str,
) -> Result<Applied, ApiError> {
    let (lock, arm) = (shared.formula_lock(arm), arm.clone());
    let changing = tokio::spawn(async move {
        let _edits = if requested.edits_formula() { Some(lock.clone().write_owned().await) } else { None };
        let _replaces = if requested.replaces_formula() { Some(lock.read_owned().await) } else { None };
        let now = arm.conditions().ok_or_else(|| ApiError::not_rewarded(&arm.id().arm))?;
        let change = requested.resolve(&now)?;
        arm.change(change, by).await.map_err(|error| ApiError::of_change(&error))
    });
    changing.await.unwrap_or_else(|error| Err(ApiError::failed(format!("making the change failed: {error}"))))
}

fn permit(shared: &Shared) -> Result<tokio::sync::SemaphorePermit<'_>, ApiError> {
    let error = "too many changes wait for their step boundary; try again when some are in force";
    shared.changes.try_acquire().map_err(|_| ApiError::new(StatusCode::TOO_MANY_REQUESTS, error))
}
