//! What a change would make of an arm, without making it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rewards::{Formula, Weights};
use schemars::JsonSchema;
use serde::Serialize;

use super::request::RequestedChange;
use crate::contribution::{BatchValues, ScoredBatch};
use crate::error::{ApiError, Refusal};
use crate::reshaped::ReshapedBatch;
use crate::shared::Shared;
use records::{Change, ConditionsRecord};
use run::{ArmHandle, ChangeError};

/// What a change would make of an arm.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Preview {
    /// Whether the change can be made. A new reward may still fail its trial.
    pub ok: bool,
    /// Why it can't be made, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The place of the error in the formula, in characters from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// The line of the error in the TOML of a reward, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The formula after the change; `null` if it can't be determined.
    pub formula: Option<String>,
    /// The rewards that formula uses; empty if the change can't be made.
    pub rewards: Vec<String>,
    /// The weights that formula uses, with their values in the next step; empty if the change can't be made.
    pub weights: BTreeMap<String, f64>,
    /// What the formula makes of the completions of the last training step, by the scores they got then; a reward that
    /// the change brings has none. `null` if the change can't be made, or before the first step.
    pub last_batch: Option<BatchValues>,
    /// What the advantages of that batch would have been; `null` as well if the divergence is subtracted from the rewards.
    pub advantages: Option<ReshapedBatch>,
}

impl Preview {
    fn refused(refusal: Refusal, formula: Option<String>) -> Self {
        Preview {
            ok: false,
            error: Some(refusal.error),
            place: refusal.place,
            line: refusal.line,
            formula,
            rewards: Vec::new(),
            weights: BTreeMap::new(),
            last_batch: None,
            advantages: None,
        }
    }
}

/// The preview of a request; `requested` is an error if it can't be read.
///
/// Errors: The arm has ended, is not trained by rewards, or its records can't be read.
pub(super) async fn preview(
    shared: &Arc<Shared>,
    arm: &ArmHandle,
    requested: Result<RequestedChange, ApiError>,
) -> Result<Preview, ApiError> {
    // As for the change itself: the conditions after all changes that wait.
    let now = arm.latest().map_err(|error| ApiError::of_change(arm.id(), &error))?;
    let read = requested.and_then(|requested| Ok((requested.resolve(&now)?, requested.requires(None))));
    let (change, requires) = match read {
        Ok(read) => read,
        Err(error) => return Ok(Preview::refused(error.into_refusal(), None)),
    };
    let text = change.formula.clone().unwrap_or_else(|| now.formula.clone());
    // An empty change previews the formula in force.
    if change != Change::default() {
        match arm.check_if(&change, &requires) {
            Ok(()) => {}
            Err(ChangeError::Invalid { message, place }) => {
                return Ok(Preview::refused(ApiError::bad(message).at(place).into_refusal(), Some(text)));
            }
            Err(error @ ChangeError::Exists { .. }) => {
                let refusal = ApiError::of_change(arm.id(), &error).into_refusal();
                return Ok(Preview::refused(refusal, Some(text)));
            }
            Err(error) => return Err(ApiError::of_change(arm.id(), &error)),
        }
    }
    let (formula, weights) = outcome(&now, &change, &text, arm.view().step + 1)?;
    let files = shared.files(arm);
    let mut batch: Option<ScoredBatch> =
        shared.read(move || files.rollouts(|follower| Ok(follower.lines().last_batch()))).await?;
    // The scores of a reward that the change replaces tell nothing about the new one.
    if let Some(batch) = &mut batch {
        batch.components.retain(|name, _| !change.rewards.contains_key(name));
    }
    let config = arm.conditions().map(|conditions| conditions.config.clone());
    let advantages = batch.as_ref().zip(config);
    Ok(Preview {
        ok: true,
        error: None,
        place: None,
        line: None,
        rewards: formula.component_names().map(str::to_owned).collect(),
        weights: formula
            .weight_names()
            .filter_map(|name| Some((name.to_owned(), *weights.values.get(name)?)))
            .collect(),
        advantages: advantages
            .and_then(|(batch, config)| ReshapedBatch::of(batch, &formula, &weights, &config)),
        last_batch: batch.map(|batch| BatchValues::of(&batch, &formula, &weights)),
        formula: Some(text),
    })
}

/// The formula and the weights of the next step under a valid change.
fn outcome(
    now: &ConditionsRecord,
    change: &Change,
    text: &str,
    step: u64,
) -> Result<(Formula, Weights), ApiError> {
    let components: BTreeSet<&String> = now.rewards.keys().chain(change.rewards.keys()).collect();
    let values = now.weights.iter().map(|(name, weight)| (name.clone(), weight.at(step)));
    let mut weights = Weights { version: now.version, values: values.collect() };
    weights.values.extend(change.weights.iter().map(|(name, value)| (name.clone(), *value)));
    let formula = Formula::parse(text, components, weights.values.keys());
    // Another change may have been made since the check.
    formula.map(|formula| (formula, weights)).map_err(|error| ApiError::conflict(error.to_string()))
}
