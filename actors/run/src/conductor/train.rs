//! Training: one optimizer step.

use records::GroupCounts;
use workers::{Generated, OptimizerMsg, Shaped, StepReport, TrainGroup};

use super::load::{Lesson, Loaded};
use crate::context::ArmContext;
use crate::error::StepError;

/// Trains on the groups that have advantages, and counts every group as trained or excluded. `None` if
/// no group is left.
pub(super) async fn train(
    arm: &ArmContext,
    loaded: &Loaded,
    generated: &Generated,
    shaped: &Shaped,
) -> Result<(Option<StepReport>, GroupCounts), StepError> {
    let (groups, counts) = trainable_groups(arm.config.sampling.group_size, loaded, generated, shaped);
    if groups.is_empty() {
        return Ok((None, counts));
    }
    let report = arm.slots.optimizer.call(groups, OptimizerMsg::Grpo).await??;
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

/// The groups to train on. A completion without a reward leaves its group; a group of fewer than two is excluded. A group
/// with equal rewards has no advantages, so it does not count as trained; it is in the KL term only.
fn trainable_groups(
    group_size: usize,
    loaded: &Loaded,
    generated: &Generated,
    shaped: &Shaped,
) -> (Vec<TrainGroup>, GroupCounts) {
    let mut counts = loaded.groups.clone();
    let mut groups = Vec::with_capacity(loaded.rows.len());
    for (place, row) in loaded.rows.iter().enumerate() {
        let (mut completions, mut advantages) = (Vec::new(), Vec::new());
        for member in place * group_size..(place + 1) * group_size {
            if let Some(advantage) = shaped.advantages.values[member] {
                completions.push(generated.completions[member].clone());
                advantages.push(advantage);
            }
        }
        if completions.len() < 2 {
            counts.exclude("too_few_scored");
        } else {
            match advantages.iter().all(|advantage| *advantage == 0.0) {
                true => counts.exclude("equal_rewards"),
                false => counts.trained += 1,
            }
            groups.push(TrainGroup { prompt: row.prompt.clone(), completions, advantages });
        }
    }
    debug_assert!(counts.adds_up());
    (groups, counts)
}
