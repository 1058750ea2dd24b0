//! Generating: a group of completions per prompt.

use runtime::seed::{Purpose, derive};
use workers::{GenerateQuery, Generated, SamplerMsg};

use super::load::Loaded;
use crate::context::{ArmContext, sampling_params};
use crate::error::StepError;
use crate::live::Conditions;

/// Samples `sampling.group_size` completions per prompt, prompt-major. Each is seeded by its step, group and index, so
/// a step that is taken again draws the same tokens from the same weights.
pub(super) async fn generate(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
    loaded: &Loaded,
) -> Result<Generated, StepError> {
    if loaded.rows.is_empty() {
        return Ok(Generated { completions: Vec::new(), policy_version: step, seconds: 0.0 });
    }
    let group_size = arm.config.sampling.group_size;
    let group_seeds = |group: u64| {
        (0..group_size as u64)
            .map(move |index| derive(arm.id.seed, Purpose::Completion, &[step, group, index]))
    };
    let query = GenerateQuery {
        prompts: loaded.rows.iter().map(|row| row.prompt.clone()).collect(),
        group_size,
        params: sampling_params(&conditions.config),
        seeds: loaded.rows.iter().flat_map(|row| group_seeds(row.group as u64)).collect(),
    };
    Ok(arm.slots.sampler.call(query, SamplerMsg::Generate).await??)
}
