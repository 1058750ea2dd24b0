//! What rewards an arm's completions: the formula, its weights and the rewards, read and changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm_path::ArmPath;
use super::caller::Asker;
use super::preview::{Preview, preview};
use super::request::{ChangeRequest, RequestedChange, RewardRequest};
use super::selection::{ArmResult, Results, Selected, select};
use super::versions::{Tag, tag};
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::openapi::Api;
use crate::shared::Shared;
use records::{Applied, ArmId, Change};
use run::{ArmHandle, ChangeError, ConditionsView, Requires, RewardView};

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
                operation.if_match().body::<Weights>(schemas).answers::<Applied>(schemas);
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
                operation.if_match().body::<FormulaText>(schemas).answers::<Applied>(schemas);
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
            operation.if_match().body::<RewardRequest>(schemas).answers::<Applied>(schemas);
        },
    )
    .route(
        "post",
        "/api/arms/{arm}/{seed}/rewards/{name}",
        "Adds a reward after a trial; refused if there is one of that name",
        post_reward,
        |operation, schemas| {
            operation.if_match().body::<RewardRequest>(schemas).answers::<Applied>(schemas);
        },
    )
    .route(
        "delete",
        "/api/arms/{arm}/{seed}/rewards/{name}",
        "Removes a reward that the formula does not use",
        delete_reward,
        |operation, schemas| {
            operation.if_match().answers::<Applied>(schemas);
        },
    )
    .route(
        "post",
        "/api/arms/{arm}/{seed}/change",
        "Changes weights, formula and rewards at one step boundary: all of it or nothing",
        change,
        |operation, schemas| {
            operation.if_match().body::<ChangeRequest>(schemas).answers::<Applied>(schemas);
        },
    )
    .route(
        "post",
        "/api/change",
        "Makes the same change in several arms",
        change_all,
        |operation, schemas| {
            operation.if_match().body::<ChangeAll>(schemas).answers::<Results>(schemas);
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

async fn weights(ArmPath(arm): ArmPath) -> Result<impl IntoResponse, ApiError> {
    tagged(&arm, |conditions| conditions.weights)
}

async fn formula(ArmPath(arm): ArmPath) -> Result<impl IntoResponse, ApiError> {
    tagged(&arm, |conditions| FormulaText { formula: conditions.formula })
}

async fn rewards(ArmPath(arm): ArmPath) -> Result<impl IntoResponse, ApiError> {
    tagged(&arm, |conditions| conditions.rewards)
}

/// A part of the conditions in force, tagged with their version.
fn tagged<T>(arm: &ArmHandle, part: impl FnOnce(ConditionsView) -> T) -> Result<(Tag, Json<T>), ApiError> {
    let conditions = arm.view().conditions.ok_or_else(|| ApiError::not_rewarded(&arm.id().arm))?;
    Ok((tag(conditions.version), Json(part(conditions))))
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
    asker: Asker,
    JsonBody(weights): JsonBody<Weights>,
) -> Result<(Tag, Json<Applied>), ApiError> {
    change_one(&shared, &arm, Change { weights, ..Change::default() }.into(), asker).await
}

async fn put_formula(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    asker: Asker,
    JsonBody(FormulaText { formula }): JsonBody<FormulaText>,
) -> Result<(Tag, Json<Applied>), ApiError> {
    change_one(&shared, &arm, Change { formula: Some(formula), ..Change::default() }.into(), asker).await
}

async fn put_reward(
    State(shared): State<Arc<Shared>>,
    Path((_, _, name)): Path<(String, u64, String)>,
    ArmPath(arm): ArmPath,
    asker: Asker,
    JsonBody(reward): JsonBody<RewardRequest>,
) -> Result<(Tag, Json<Applied>), ApiError> {
    let spec = reward.read(&name)?;
    let rewards = BTreeMap::from([(name, Some(spec))]);
    change_one(&shared, &arm, Change { rewards, ..Change::default() }.into(), asker).await
}

async fn post_reward(
    State(shared): State<Arc<Shared>>,
    Path((_, _, name)): Path<(String, u64, String)>,
    ArmPath(arm): ArmPath,
    asker: Asker,
    JsonBody(reward): JsonBody<RewardRequest>,
) -> Result<(Tag, Json<Applied>), ApiError> {
    let spec = reward.read(&name)?;
    change_one(&shared, &arm, RequestedChange::adding(name, spec), asker).await
}

async fn delete_reward(
    State(shared): State<Arc<Shared>>,
    Path((_, _, name)): Path<(String, u64, String)>,
    ArmPath(arm): ArmPath,
    asker: Asker,
) -> Result<(Tag, Json<Applied>), ApiError> {
    let rewards = BTreeMap::from([(name, None)]);
    change_one(&shared, &arm, Change { rewards, ..Change::default() }.into(), asker).await
}

async fn change(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    asker: Asker,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> Result<(Tag, Json<Applied>), ApiError> {
    change_one(&shared, &arm, request.read()?, asker).await
}

async fn change_all(
    State(shared): State<Arc<Shared>>,
    asker: Asker,
    JsonBody(ChangeAll { arms, change }): JsonBody<ChangeAll>,
) -> Result<Json<Results>, ApiError> {
    let requested = change.read()?;
    let _permit = permit(&shared)?;
    let arms = select(&shared, arms.as_deref(), |arm| arm.conditions().is_some())?;
    let versions = asker.if_match.of_arms(&shared.run)?;
    none_is_stale(&arms, &versions)?;
    let (requested, by) = (&requested, asker.by);
    let results = arms.iter().map(|arm| {
        let version = versions.get(arm.id()).copied();
        async move { ArmResult::of_change(arm, apply(arm, requested.clone(), by, version).await) }
    });
    Ok(Json(Results { results: join_all(results).await }))
}

/// Refuses a change of several arms as a whole if the client does not know the newest version of one of them.
fn none_is_stale(arms: &[ArmHandle], versions: &BTreeMap<ArmId, u64>) -> Result<(), ApiError> {
    let nothing = Change::default();
    let mut refusals = Vec::new();
    for arm in arms {
        let Some(&version) = versions.get(arm.id()) else { continue };
        let requires = Requires { version: Some(version), ..Requires::default() };
        // The version is checked first; that the change is empty is no matter here.
        if let Err(error @ ChangeError::Stale { .. }) = arm.check_if(&nothing, &requires) {
            let ArmId { arm: name, seed } = arm.id();
            refusals.push((format!("{name} (seed {seed}): {error}"), ApiError::of_change(arm.id(), &error)));
        }
    }
    if refusals.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = refusals.iter().map(|(line, _)| line.clone()).collect();
    let stale = refusals.iter().flat_map(|(_, error)| error.stale_arms().to_vec()).collect();
    Err(ApiError::stale(lines.join("; "), stale))
}

async fn change_one(
    shared: &Shared,
    arm: &ArmHandle,
    requested: RequestedChange,
    asker: Asker,
) -> Result<(Tag, Json<Applied>), ApiError> {
    let _permit = permit(shared)?;
    let version = asker.if_match.of_arm(&shared.run, arm)?;
    let applied = apply(arm, requested, asker.by, version).await?;
    Ok((tag(applied.version), Json(applied)))
}

/// Makes a change in one arm; returns when it is in force. `version` is the newest one that the client knows.
///
/// A change that edits the formula is resolved on the newest one, which may still wait for its step boundary. If another
/// change comes in between, it is resolved again, unless the client names a version.
async fn apply(
    arm: &ArmHandle,
    requested: RequestedChange,
    by: &'static str,
    version: Option<u64>,
) -> Result<Applied, ApiError> {
    loop {
        let refused = |error: &ChangeError| ApiError::of_change(arm.id(), error);
        let now = arm.latest().map_err(|error| refused(&error))?;
        let edited = requested.edits_formula().then_some(now.version);
        // From a stale view the change is not resolved: what was changed meanwhile matters more than what is wrong with it.
        let is_stale = version.is_some_and(|version| version != now.version);
        let change = if is_stale { Change::default() } else { requested.resolve(&now)? };
        match arm.change_if(change, by, requested.requires(version.or(edited))).await {
            Err(ChangeError::Stale { .. }) if version.is_none() => {}
            changed => return changed.map_err(|error| refused(&error)),
        }
    }
}

fn permit(shared: &Shared) -> Result<tokio::sync::SemaphorePermit<'_>, ApiError> {
    let error = "too many changes wait for their step boundary; try again when some are in force";
    shared.changes.try_acquire().map_err(|_| ApiError::new(StatusCode::TOO_MANY_REQUESTS, error))
}
