//! What the advantages of a step would have been under other weights or another formula.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rewards::{Formula, did_you_mean};
use schemars::JsonSchema;
use serde::Deserialize;

use super::arm_path::ArmPath;
use crate::contribution::ScoredBatch;
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::history::PastConditions;
use crate::openapi::Api;
use crate::reshaped::ReshapedBatch;
use crate::shared::Shared;
use run::ArmHandle;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route(
        "post",
        "/api/arms/{arm}/{seed}/reshape",
        "What the advantages of a step would have been under other weights or another formula; changes nothing",
        reshape,
        |operation, schemas| {
            operation.body::<Reshape>(schemas).answers::<ReshapedBatch>(schemas);
        },
    )
}

/// What is other than it was in the step.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reshape {
    /// The step. Default: the last that was trained on.
    #[serde(default)]
    step: Option<u64>,
    /// Other values of weights.
    #[serde(default)]
    weights: BTreeMap<String, f64>,
    /// The formula in place of the one that the step was shaped by. Default: that one.
    #[serde(default)]
    formula: Option<String>,
}

async fn reshape(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    JsonBody(asked): JsonBody<Reshape>,
) -> Result<Json<ReshapedBatch>, ApiError> {
    if arm.conditions().is_none() {
        return Err(ApiError::not_rewarded(&arm.id().arm));
    }
    let files = shared.files(&arm);
    let step = asked.step;
    let batch = shared.read(move || {
        files.rollouts(|follower| {
            let index = follower.lines();
            Ok(step.map_or_else(|| index.last_batch(), |step| index.batch(step)))
        })
    });
    let batch = batch.await?.ok_or_else(|| {
        let which = step.map_or_else(
            || "it has taken no step".to_owned(),
            |step| format!("step {step} has no completions"),
        );
        ApiError::not_found(format!("there is nothing to reshape: {which}"))
    })?;
    reshaped(&shared, &arm, &batch, asked).map(Json)
}

fn reshaped(
    shared: &Shared,
    arm: &ArmHandle,
    batch: &ScoredBatch,
    asked: Reshape,
) -> Result<ReshapedBatch, ApiError> {
    let (past, config) =
        PastConditions::of_step(&shared.run, arm, batch.step, batch.version).ok_or_else(|| {
            ApiError::conflict("the journal does not tell under which conditions this step was taken")
        })?;
    let mut weights = past.weights_at(batch.step);
    weights.values.extend(asked.weights.clone());
    let text = asked.formula.as_deref().unwrap_or(&past.formula);
    let formula = Formula::parse(text, batch.components.keys(), weights.values.keys()).map_err(|error| {
        let place = error.column().map(|column| column - 1);
        ApiError::bad(error.to_string()).at(place)
    })?;
    if let Some(unused) = asked.weights.keys().find(|name| !formula.weight_names().any(|used| used == **name))
    {
        let hint = did_you_mean(unused, formula.weight_names());
        return Err(ApiError::bad(format!("the formula uses no weight `{unused}`{hint}")));
    }
    ReshapedBatch::of(batch, &formula, &weights, &config).ok_or_else(|| {
        ApiError::conflict(
            "these advantages can't be computed again, because grpo.kl_in_reward subtracted a divergence that is not \
             recorded by completion",
        )
    })
}
