//! Shaping: the component scores become rewards and advantages.

use std::sync::Arc;

use rewards::{Advantages, Mode, RewardItem, Weights};
use workers::{Generated, OptimizerMsg, SampledKl, SampledKlQuery, ShapeQuery, Shaped, ShaperMsg};

use super::load::Loaded;
use super::score::Scores;
use super::train::train_groups;
use crate::context::ArmContext;
use crate::error::StepError;
use crate::grpo_settings::grpo_settings;
use crate::live::Conditions;

/// Measures the KL divergence of the completions to the reference policy, in arms that subtract it from the rewards.
pub(super) async fn measure_kl(
    arm: &ArmContext,
    conditions: &Conditions,
    loaded: &Loaded,
    generated: &Generated,
    items: &[RewardItem],
) -> Result<Option<SampledKl>, StepError> {
    if !arm.config.grpo.kl_in_reward || loaded.rows.is_empty() {
        return Ok(None);
    }
    let values = vec![Some(0.0); generated.completions.len()];
    let unweighted = Advantages { values, ..Advantages::default() };
    let groups = train_groups(arm.config.sampling.group_size, loaded, generated, items, &unweighted);
    let query = SampledKlQuery { groups, settings: Arc::new(grpo_settings(&conditions.config)) };
    Ok(Some(arm.slots.optimizer.call(query, OptimizerMsg::SampledKl).await??))
}

/// Shapes the scores of `step`, counted from 0, with the formula and the weights of `conditions`.
pub(super) async fn shape(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
    items: &[RewardItem],
    scores: &Scores,
    kl: Option<&SampledKl>,
) -> Result<(Shaped, Weights), StepError> {
    let weights = conditions.weights_at(step + 1);
    let query = ShapeQuery {
        components: scores.components.clone(),
        group_size: arm.config.sampling.group_size,
        formula: conditions.formula.clone(),
        weights: weights.clone(),
        advantages: conditions.config.advantage_options(),
        thinks: items.iter().map(|item| item.parsed.mode == Mode::Think).collect(),
        penalties: kl.map(|kl| kl.sums.iter().map(|sum| kl.coefficient * sum).collect()),
    };
    let shaped = arm.slots.shaper.call(query, ShaperMsg::Shape).await?;
    Ok((shaped, weights))
}
