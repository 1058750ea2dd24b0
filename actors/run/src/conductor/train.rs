//! Training: one optimizer step.

use std::sync::Arc;

use records::GroupCounts;
use rewards::{Advantages, RewardItem};
use workers::{Generated, GrpoBatch, OptimizerMsg, SampledKl, Shaped, StepReport, TrainGroup};

use super::load::{Lesson, Loaded, PromptedRow};
use crate::context::ArmContext;
use crate::error::StepError;
use crate::grpo_settings::grpo_settings;
use crate::live::Conditions;

/// Trains on the groups that have advantages, and counts every group as trained or excluded. `None` if
/// no group is left.
pub(super) async fn train(
    arm: &ArmContext,
    conditions: &Conditions,
    loaded: &Loaded,
    generated: &Generated,
    items: &[RewardItem],
    shaped: &Shaped,
    sampled_kl: Option<&SampledKl>,
) -> Result<(Option<StepReport>, GroupCounts), StepError> {
    let group_size = arm.config.sampling.group_size;
    let groups = train_groups(group_size, loaded, generated, items, &shaped.advantages);
    let discard = conditions.config.selection.extra_rounds > 0;
    let (groups, counts) = trainable(groups, loaded.groups.clone(), discard);
    if groups.is_empty() {
        return Ok((None, counts));
    }
    let settings = Arc::new(grpo_settings(&conditions.config));
    let batch = GrpoBatch { groups, settings, sampled_kl: sampled_kl.cloned() };
    let report = {
        let _work = arm.utilisation.learner.work();
        arm.slots.optimizer.call(batch, OptimizerMsg::Grpo).await??
    };
    let counts = if report.applied == 0 { none_trained(counts) } else { counts };
    Ok((Some(report), counts))
}

/// Trains on a supervised lesson, whose rows `counts` counts as trained. `None` if there is nothing to learn.
pub(super) async fn learn(
    arm: &ArmContext,
    lesson: &Lesson,
    counts: GroupCounts,
) -> Result<(Option<StepReport>, GroupCounts), StepError> {
    let optimizer = &arm.slots.optimizer;
    let report = match lesson {
        Lesson::Targets(rows) if rows.is_empty() => return Ok((None, counts)),
        Lesson::Words(batch) if batch.clips.is_empty() => return Ok((None, counts)),
        Lesson::Targets(rows) => optimizer.call(rows.clone(), OptimizerMsg::Sft).await??,
        Lesson::Words(batch) => optimizer.call(batch.clone(), OptimizerMsg::Align).await??,
    };
    let counts = if report.applied == 0 { none_trained(counts) } else { counts };
    Ok((Some(report), counts))
}

/// The counts of a step whose optimizer steps were all skipped: its groups were not trained on after all.
fn none_trained(mut counts: GroupCounts) -> GroupCounts {
    for _ in 0..std::mem::take(&mut counts.trained) {
        counts.exclude("step_skipped");
    }
    counts
}

/// The completions of a step by prompt, with their advantages; those without one are left out.
pub(super) fn train_groups(
    group_size: usize,
    loaded: &Loaded,
    generated: &Generated,
    items: &[RewardItem],
    advantages: &Advantages,
) -> Vec<TrainGroup> {
    let group = |(place, row): (usize, &PromptedRow)| {
        let (mut completions, mut of_completions, mut think_tokens) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_modes = Vec::new();
        for (member, item) in items.iter().enumerate().skip(place * group_size).take(group_size) {
            if let Some(advantage) = advantages.values[member] {
                completions.push(generated.completions[member].clone());
                of_completions.push(advantage);
                think_tokens.push(item.think_tokens);
                of_modes.extend(advantages.of_modes.get(member));
            }
        }
        TrainGroup {
            prompt: row.prompt.clone(),
            completions,
            advantages: of_completions,
            mode_advantages: of_modes,
            think_tokens,
        }
    };
    loaded.rows.iter().enumerate().map(group).collect()
}

/// The groups to train on, and their counts. A group of fewer than two completions is excluded. A group with equal rewards
/// has no advantages, so it does not count as trained; it is in the KL term only, or left out if such groups are
/// discarded.
fn trainable(
    groups: Vec<TrainGroup>,
    mut counts: GroupCounts,
    discard: bool,
) -> (Vec<TrainGroup>, GroupCounts) {
    let mut kept = Vec::with_capacity(groups.len());
    for group in groups {
        if group.completions.len() < 2 {
            counts.exclude("too_few_scored");
            continue;
        }
        let all = group.advantages.iter().chain(&group.mode_advantages);
        let without_signal = all.into_iter().all(|advantage| *advantage == 0.0);
        match without_signal {
            true => counts.exclude("equal_rewards"),
            false => counts.trained += 1,
        }
        if discard && without_signal {
            continue;
        }
        kept.push(group);
    }
    debug_assert!(counts.adds_up());
    (kept, counts)
}
