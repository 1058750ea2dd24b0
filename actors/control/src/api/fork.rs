//! Copying an arm into a new one under other conditions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::openapi::Api;
use crate::shared::Shared;
use run::{ForkError, ForkRequest};

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route(
        "post",
        "/api/fork",
        "Copies an arm at a step boundary into a new one, which goes on under other conditions",
        fork,
        |operation, schemas| {
            operation.body::<Fork>(schemas).answers::<Forked>(schemas);
        },
    )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fork {
    /// The arm that is copied: weights, optimizer state, position in the data, and records.
    arm: String,
    /// The name of the new arm.
    name: String,
    /// The number of steps after which it is copied. An earlier one must have a checkpoint. Default: the next step boundary.
    #[serde(default)]
    step: Option<u64>,
    /// The seeds under which it is copied. Default: all of the arm's.
    #[serde(default)]
    seeds: Vec<u64>,
    /// What is other in the new arm, as for `--set`: `shaping.weights.think=0.3`, `rewards.think=false`, `grpo.lr=1e-4`.
    #[serde(default)]
    settings: Vec<String>,
}

/// A fork that was planned or made.
#[derive(Serialize, JsonSchema)]
struct Forked {
    /// The name of the new arm.
    name: String,
    /// The steps that the copied arm has taken where it begins.
    step: u64,
    /// The seeds under which it begins, now or when the copied arm comes to this step.
    seeds: Vec<u64>,
    /// The seeds under which it can't, and why.
    left_out: Vec<LeftOut>,
}

#[derive(Serialize, JsonSchema)]
struct LeftOut {
    seed: u64,
    reason: String,
}

async fn fork(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(fork): JsonBody<Fork>,
) -> Result<Json<Forked>, ApiError> {
    let Fork { arm, name, step, seeds, settings } = fork;
    let request = ForkRequest { arm, name, step, seeds, settings };
    let forked = shared.run.fork(request, by).await.map_err(|error| refused(&error))?;
    let left_out = forked.left_out.into_iter();
    let left_out = left_out.map(|left| LeftOut { seed: left.seed, reason: left.reason }).collect();
    Ok(Json(Forked { name: forked.name, step: forked.step, seeds: forked.seeds, left_out }))
}

fn refused(error: &ForkError) -> ApiError {
    let message = error.to_string();
    match error {
        ForkError::Scenario(_) | ForkError::Input(_) | ForkError::NoSuchSeed { .. } => ApiError::bad(message),
        ForkError::NotAtThatStep { .. } | ForkError::RunEnded => ApiError::conflict(message),
        ForkError::Records(_) | ForkError::Panicked(_) => ApiError::failed(message),
    }
}
