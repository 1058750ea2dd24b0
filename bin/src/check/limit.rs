//! `[memory] limit_gib`: settings under which the arms of a run fit into the memory that they may take.
//!
//! They are chosen by the estimate of `sandbox check`, with the longest prompts that the survey found and completions as long as
//! they may become. What costs the least time is tried first: smaller micro-batches and batches, which cost little; then layers
//! that are computed again in the backward pass, which cost a third of it.

use scenarios::{ArmConfig, Experiment, GradientCheckpointing, Method};
use survey::Survey;

use super::estimate::{Known, Spread, bytes, counted};
use super::needs::ArmNeeds;

/// A setting of how much goes through the model at once.
type Batch = fn(&ArmConfig) -> usize;

/// Even the smallest settings take more memory than the scenario allows. One line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DoesNotFit(String);

/// Bytes of a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// Chooses settings of the arms so that their estimate fits into `[memory] limit_gib`, and says which, in a line each. Nothing
/// is done without a limit.
///
/// Errors: Even the smallest settings do not fit.
pub fn settle(experiment: &mut Experiment, data: &Survey) -> Result<Vec<String>, DoesNotFit> {
    let Some(limit) = experiment.memory.limit_gib else { return Ok(Vec::new()) };
    let spread = Spread::of(experiment);
    let known: Vec<Option<Known>> =
        experiment.arms.iter().map(|arm| Known::at_most(arm, data, spread.gpu)).collect();
    let written: Vec<ArmConfig> = experiment.arms.clone();
    for (arm, _) in experiment.arms.iter_mut().zip(&known).filter(|(_, known)| known.is_some()) {
        if trains(arm) && arm.policy.gradient_checkpointing == GradientCheckpointing::Auto {
            arm.policy.gradient_checkpointing = GradientCheckpointing::Always(false);
        }
    }
    loop {
        let needs: Vec<Option<ArmNeeds>> = known
            .iter()
            .zip(&experiment.arms)
            .map(|(known, arm)| known.as_ref().map(|known| known.needs(arm)))
            .collect();
        let estimated: Vec<ArmNeeds> = needs.iter().flatten().cloned().collect();
        let taken = counted(experiment, &estimated, &spread);
        if taken as f64 <= limit * GIB {
            return Ok(lines(experiment, &written, taken, limit));
        }
        // The arms that count, beginning with the one whose batches take most.
        let mut places: Vec<usize> = (0..needs.len()).filter(|&place| needs[place].is_some()).collect();
        let device_bytes = |place: &usize| needs[*place].as_ref().map_or(0, |needs| needs.device_bytes);
        places.sort_by_key(|place| std::cmp::Reverse(device_bytes(place)));
        places.truncate(spread.side_by_side);
        places.sort_by_key(|place| std::cmp::Reverse(needs[*place].as_ref().map_or(0, batch_bytes)));
        let lower = |place: usize| {
            let (known, needs) = (known[place].as_ref()?, needs[place].as_ref()?);
            Some((place, lowered(&experiment.arms[place], &written[place], known, needs)?))
        };
        let Some((place, arm)) = places.into_iter().find_map(lower) else {
            return Err(DoesNotFit(does_not_fit(&estimated, taken, limit)));
        };
        experiment.arms[place] = arm;
    }
}

fn trains(arm: &ArmConfig) -> bool {
    arm.method != Method::None
}

/// The part of an arm's memory that depends on how much goes through the model at once.
fn batch_bytes(needs: &ArmNeeds) -> u64 {
    needs.activations_bytes.max(needs.kv_cache_bytes)
}

/// The arm with the next lower setting of what takes most; `None` if there is none.
fn lowered(arm: &ArmConfig, written: &ArmConfig, known: &Known, needs: &ArmNeeds) -> Option<ArmConfig> {
    let mut lower = arm.clone();
    if needs.activations_bytes >= needs.kv_cache_bytes {
        let all =
            if arm.method == Method::Sft { arm.sft.rows_per_step } else { arm.sampling.prompts_per_step };
        let is_open = written.policy.gradient_checkpointing == GradientCheckpointing::Auto;
        let recomputes = arm.policy.gradient_checkpointing == GradientCheckpointing::Always(true);
        match half(arm.grpo.micro_batch_prompts, all) {
            Some(half) => lower.grpo.micro_batch_prompts = half,
            None if is_open && !recomputes => {
                lower.policy.gradient_checkpointing = GradientCheckpointing::Always(true);
                lower.grpo.micro_batch_prompts = written.grpo.micro_batch_prompts;
            }
            None => return None,
        }
        return Some(lower);
    }
    let most = arm.sampling.max_new_tokens;
    let cached = |prompts: usize, completions: usize| prompts * completions * (known.prompt_tokens() + most);
    let sampled = match (arm.method, arm.sampling.batch_prompts) {
        (Method::Grpo, 0) => arm.sampling.prompts_per_step,
        (Method::Grpo, batch) => batch.min(arm.sampling.prompts_per_step),
        (Method::Sft | Method::None, _) => 0,
    };
    let evaluated = arm.eval.batch_prompts;
    if cached(sampled, arm.sampling.group_size) >= cached(evaluated, arm.eval.samples) {
        lower.sampling.batch_prompts = half(sampled, sampled)?;
    } else {
        lower.eval.batch_prompts = half(evaluated, evaluated)?;
    }
    Some(lower)
}

/// Half of a setting, where 0 stands for `all`; `None` below 1.
fn half(setting: usize, all: usize) -> Option<usize> {
    let count = if setting == 0 { all } else { setting.min(all) };
    (count > 1).then(|| count.div_ceil(2))
}

fn lines(experiment: &Experiment, written: &[ArmConfig], taken: u64, limit: f64) -> Vec<String> {
    let mut lines = vec![format!("memory: {} of {limit} GiB, estimated at the greatest lengths", gib(taken))];
    for (arm, written) in experiment.arms.iter().zip(written) {
        let mut chosen = Vec::new();
        let mut changed = |name: &str, now: String, before: String| {
            if now != before {
                chosen.push(format!("{name} = {now}"));
            }
        };
        let recomputes = |arm: &ArmConfig| match arm.policy.gradient_checkpointing {
            GradientCheckpointing::Auto => "\"auto\"".to_owned(),
            GradientCheckpointing::Always(on) => on.to_string(),
        };
        changed("policy.gradient_checkpointing", recomputes(arm), recomputes(written));
        let batches: [(&str, Batch); 3] = [
            ("grpo.micro_batch_prompts", |arm| arm.grpo.micro_batch_prompts),
            ("sampling.batch_prompts", |arm| arm.sampling.batch_prompts),
            ("eval.batch_prompts", |arm| arm.eval.batch_prompts),
        ];
        for (name, of) in batches {
            changed(name, of(arm).to_string(), of(written).to_string());
        }
        if !chosen.is_empty() {
            lines.push(format!("memory: {}: {}", arm.name, chosen.join(", ")));
        }
    }
    lines
}

fn does_not_fit(arms: &[ArmNeeds], taken: u64, limit: f64) -> String {
    let largest = arms.iter().max_by_key(|arm| arm.device_bytes);
    let parts = largest.map_or(String::new(), |arm| {
        format!(
            " ({}: weights {}, optimizer {}, one prompt with its completions {})",
            arm.arm,
            bytes(arm.weights_bytes + arm.copies_bytes),
            bytes(arm.optimizer_bytes),
            bytes(batch_bytes(arm))
        )
    });
    format!(
        "memory.limit_gib is {limit}, and the arms take {} with the smallest batches{parts}; write a larger limit, or lower \
         sampling.max_new_tokens, sampling.group_size or run.parallel_arms, or train less (policy.train = \"lora\")",
        gib(taken)
    )
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / GIB)
}

#[cfg(test)]
mod tests;
