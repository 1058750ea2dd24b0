//! Generating: a group of completions per prompt.

use runtime::seed::{Purpose, derive};
use workers::{GenerateQuery, Generated, SamplerMsg};

use super::load::Loaded;
use crate::context::{ArmContext, sampling_params};
use crate::error::StepError;
use crate::live::Conditions;

/// Why a group is excluded of which a completion had no usable answer.
const UNUSABLE: &str = "rollouts_unusable";

/// Takes out the rows whose completions are not complete (ROLLOUT-1), and counts their groups as excluded.
fn leave_out(loaded: &mut Loaded, incomplete: &[usize]) {
    let mut place = 0;
    loaded.rows.retain(|_| {
        place += 1;
        !incomplete.contains(&(place - 1))
    });
    incomplete.iter().for_each(|_| loaded.groups.exclude(UNUSABLE));
}

/// Samples `sampling.group_size` completions per prompt, prompt-major. Each is seeded by its step, group and index, so
/// a step that is taken again draws the same tokens from the same weights. Rows of which a completion is missing are taken out
/// of `loaded`.
pub(super) async fn generate(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
    loaded: &mut Loaded,
) -> Result<Generated, StepError> {
    if loaded.rows.is_empty() {
        return Ok(Generated { policy_version: step, ..Generated::default() });
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
    let generated = {
        let _work = arm.utilisation.sampler.work();
        arm.slots.sampler.call(query, SamplerMsg::Generate).await??
    };
    leave_out(loaded, &generated.incomplete);
    Ok(generated)
}
