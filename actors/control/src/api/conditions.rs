//! What rewards an arm's completions: read, and changed from the next step on.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::By;
use super::conduct::{Choice, Outcome, Results, chosen};
use super::wanted::{WantedChange, WantedReward};
use crate::error::ApiError;
use crate::input::Input;
use crate::openapi::Api;
use crate::shared::{Shared, TheArm};
use records::{Applied, Change};
use run::{ArmHandle, ChangeError, ConditionsView, RewardView};

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
            "Changes the formula",
            put_formula,
            |operation, schemas| {
                operation.body::<FormulaText>(schemas).answers::<Applied>(schemas);
            },
        )
        .route(
            "post",
            "/api/arms/{arm}/{seed}/formula/check",
            "Says whether a formula could be put in place; changes nothing",
            check_formula,
            |operation, schemas| {
                operation.body::<FormulaText>(schemas).answers::<FormulaChecked>(schemas);
            },
        );
    api.route("get", "/api/arms/{arm}/{seed}/rewards", "The rewards", rewards, |operation, schemas| {
        operation.answers::<BTreeMap<String, RewardView>>(schemas);
    })
    .route(
        "put",
        "/api/arms/{arm}/{seed}/rewards/{name}",
        "Puts a reward in place of the one of that name, or beside those there are, after a trial",
        put_reward,
        |operation, schemas| {
            operation.body::<WantedReward>(schemas).answers::<Applied>(schemas);
        },
    )
    .route(
        "delete",
        "/api/arms/{arm}/{seed}/rewards/{name}",
        "Takes a reward out that the formula does not use",
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
            operation.body::<WantedChange>(schemas).answers::<Applied>(schemas);
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
    /// Arithmetic over the rewards' names and `w_NAME` for each weight.
    formula: String,
}

/// Whether a formula could be put in place.
#[derive(Serialize, JsonSchema)]
struct FormulaChecked {
    ok: bool,
    /// What is wrong, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Where, in characters from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeAll {
    /// Which arms. Default: all that are trained by rewards and have not ended.
    #[serde(default)]
    arms: Option<Vec<Choice>>,
    change: WantedChange,
}

async fn weights(TheArm(arm): TheArm) -> Result<Json<Weights>, ApiError> {
    Ok(Json(in_force(&arm)?.weights))
}

async fn formula(TheArm(arm): TheArm) -> Result<Json<FormulaText>, ApiError> {
    Ok(Json(FormulaText { formula: in_force(&arm)?.formula }))
}

async fn rewards(TheArm(arm): TheArm) -> Result<Json<BTreeMap<String, RewardView>>, ApiError> {
    Ok(Json(in_force(&arm)?.rewards))
}

async fn check_formula(
    TheArm(arm): TheArm,
    Input(FormulaText { formula }): Input<FormulaText>,
) -> Result<Json<FormulaChecked>, ApiError> {
    match arm.check(&Change { formula: Some(formula), ..Change::default() }) {
        Ok(()) => Ok(Json(FormulaChecked { ok: true, error: None, place: None })),
        Err(ChangeError::Invalid { message, place }) => {
            Ok(Json(FormulaChecked { ok: false, error: Some(message), place }))
        }
        Err(error) => Err(refused(error)),
    }
}

async fn put_weights(
    State(shared): State<Arc<Shared>>,
    TheArm(arm): TheArm,
    By(by): By,
    Input(weights): Input<Weights>,
) -> Result<Json<Applied>, ApiError> {
    apply(&shared, &arm, Change { weights, ..Change::default() }, by).await
}

async fn put_formula(
    State(shared): State<Arc<Shared>>,
    TheArm(arm): TheArm,
    By(by): By,
    Input(FormulaText { formula }): Input<FormulaText>,
) -> Result<Json<Applied>, ApiError> {
    apply(&shared, &arm, Change { formula: Some(formula), ..Change::default() }, by).await
}

async fn put_reward(
    State(shared): State<Arc<Shared>>,
    Path((_, _, name)): Path<(String, u64, String)>,
    TheArm(arm): TheArm,
    By(by): By,
    Input(reward): Input<WantedReward>,
) -> Result<Json<Applied>, ApiError> {
    let spec = reward.read(&name)?;
    let rewards = BTreeMap::from([(name, Some(spec))]);
    apply(&shared, &arm, Change { rewards, ..Change::default() }, by).await
}

async fn delete_reward(
    State(shared): State<Arc<Shared>>,
    Path((_, _, name)): Path<(String, u64, String)>,
    TheArm(arm): TheArm,
    By(by): By,
) -> Result<Json<Applied>, ApiError> {
    let rewards = BTreeMap::from([(name, None)]);
    apply(&shared, &arm, Change { rewards, ..Change::default() }, by).await
}

async fn change(
    State(shared): State<Arc<Shared>>,
    TheArm(arm): TheArm,
    By(by): By,
    Input(wanted): Input<WantedChange>,
) -> Result<Json<Applied>, ApiError> {
    apply(&shared, &arm, wanted.read()?, by).await
}

async fn change_all(
    State(shared): State<Arc<Shared>>,
    By(by): By,
    Input(ChangeAll { arms, change }): Input<ChangeAll>,
) -> Result<Json<Results>, ApiError> {
    let change = change.read()?;
    let _permit = permit(&shared)?;
    let arms = chosen(&shared, arms.as_deref(), |arm| arm.view().conditions.is_some())?;
    let results = arms.iter().map(|arm| {
        let change = change.clone();
        async move { Outcome::of_change(arm, arm.change(change, by).await.map_err(refused)) }
    });
    Ok(Json(Results { results: join_all(results).await }))
}

fn in_force(arm: &ArmHandle) -> Result<ConditionsView, ApiError> {
    let nothing = || ApiError::conflict(format!("arm `{}` is not trained by rewards", arm.id().arm));
    arm.view().conditions.ok_or_else(nothing)
}

/// Makes the change; answers when it is in force.
async fn apply(
    shared: &Shared,
    arm: &ArmHandle,
    change: Change,
    by: &str,
) -> Result<Json<Applied>, ApiError> {
    let _permit = permit(shared)?;
    arm.change(change, by).await.map(Json).map_err(refused)
}

fn permit(shared: &Shared) -> Result<tokio::sync::SemaphorePermit<'_>, ApiError> {
    let error = "many changes wait for their step already; ask again when some are in force";
    shared.changes.try_acquire().map_err(|_| ApiError::new(StatusCode::TOO_MANY_REQUESTS, error))
}

fn refused(error: ChangeError) -> ApiError {
    let message = error.to_string();
    match error {
        ChangeError::Invalid { place, .. } => ApiError::bad(message).at(place),
        ChangeError::Trial { .. } => ApiError::bad(message),
        ChangeError::Ended { .. } | ChangeError::NoRewards { .. } => ApiError::conflict(message),
        ChangeError::Unrecorded(_) | ChangeError::Panicked(_) | ChangeError::NoCheckpoint(_) => {
            ApiError::failed(message)
        }
    }
}
