//! Shaping: the formula turns scores into rewards, and each group's rewards into advantages.

use rewards::Weights;
use workers::{ShapeQuery, Shaped, ShaperMsg};

use super::score::Scores;
use crate::context::ArmContext;
use crate::error::StepError;
use crate::live::Conditions;

/// Shapes the scores of `step`, counted from 0, with the formula and the weights of `conditions`.
pub(super) async fn shape(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
    scores: &Scores,
) -> Result<(Shaped, Weights), StepError> {
    let weights = conditions.weights_at(step + 1);
    let query = ShapeQuery {
        components: scores.components.clone(),
        group_size: arm.config.sampling.group_size,
        formula: conditions.formula.clone(),
        weights: weights.clone(),
    };
    let shaped = arm.slots.shaper.call(query, ShaperMsg::Shape).await?;
    Ok((shaped, weights))
}
