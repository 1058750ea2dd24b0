//! Sampling: a step's prompts, completions, verdicts and scores. With dynamic sampling (`selection.extra_rounds`) further
//! prompts follow in place of those whose rewards are all equal.

use std::collections::HashSet;

use traces::span;
use tracing::Instrument as _;
use workers::Generated;

use super::generate::generate;
use super::judge::{Judged, judge};
use super::load::{Loaded, load};
use super::score::{Scores, score};
use super::select::{further_rows, rows_of_step};
use super::shape::shape;
use crate::context::ArmContext;
use crate::error::StepError;
use crate::live::Conditions;
use crate::rows::Row;

/// The prompts of a step and what came of them, in the order in which they were sampled.
pub(super) struct Sampled {
    pub(super) loaded: Loaded,
    pub(super) generated: Generated,
    pub(super) judged: Judged,
    pub(super) scores: Scores,
    /// Rounds of further prompts.
    pub(super) extra_rounds: u64,
}

/// Samples the prompts of `step`, counted from 0, and further ones until as many as the step should have can be learned
/// from, or until `selection.extra_rounds` are done.
pub(super) async fn sample(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
) -> Result<Sampled, StepError> {
    let config = &conditions.config;
    let rows = rows_of_step(arm, step);
    let mut taken: HashSet<usize> = rows.iter().map(|row| row.place).collect();
    let mut asked = rows.len();
    let mut sampled = round(arm, step, conditions, rows, 0).await?;
    while sampled.extra_rounds < config.selection.extra_rounds {
        let varied = groups_with_variance(arm, step, conditions, &sampled).await?;
        let wanted = config.sampling.prompts_per_step.saturating_sub(varied);
        let rows = further_rows(arm, step, sampled.extra_rounds + 1, wanted, &mut taken);
        if rows.is_empty() {
            break;
        }
        let count = rows.len();
        let further = round(arm, step, conditions, rows, asked).await?;
        asked += count;
        sampled.add(further);
    }
    Ok(sampled)
}

/// Samples `rows`, before which the step has asked `before` others.
async fn round(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
    rows: Vec<Row>,
    before: usize,
) -> Result<Sampled, StepError> {
    let mut loaded = load(arm, step, rows, before).instrument(span!("load")).await?;
    let generated = generate(arm, step, conditions, &mut loaded).instrument(span!("generate")).await?;
    let judged = judge(arm, step, conditions, &loaded, &generated).instrument(span!("judge")).await?;
    let scores = score(arm, conditions, &judged.batch).instrument(span!("score")).await?;
    Ok(Sampled { loaded, generated, judged, scores, extra_rounds: 0 })
}

/// Number of groups that can be learned from.
async fn groups_with_variance(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
    sampled: &Sampled,
) -> Result<usize, StepError> {
    let (shaped, _) =
        shape(arm, step, conditions, &sampled.judged.batch.items, &sampled.scores, None).await?;
    let advantages = &shaped.advantages;
    Ok(sampled.loaded.rows.len() - advantages.excluded_groups.len() - advantages.zero_std_groups)
}

impl Sampled {
    fn add(&mut self, further: Sampled) {
        let groups = self.loaded.rows.len();
        self.loaded.add(further.loaded);
        let Generated {
            completions,
            policy_version,
            spans,
            seconds,
            servers,
            memory_splits,
            memory,
            incomplete: _,
        } = further.generated;
        if !completions.is_empty() {
            // The age of the step is that of its oldest completions.
            self.generated.policy_version = match self.generated.completions.is_empty() {
                true => policy_version,
                false => self.generated.policy_version.min(policy_version),
            };
        }
        self.generated.completions.extend(completions);
        self.generated.spans.extend(spans);
        self.generated.seconds += seconds;
        self.generated.memory_splits += memory_splits;
        self.generated.memory = self.generated.memory.max(memory);
        match (&mut self.generated.servers, servers) {
            (Some(so_far), Some(further)) => so_far.add(&further),
            (so_far, further) => *so_far = so_far.take().or(further),
        }
        self.judged.add(further.judged, groups);
        self.scores.add(further.scores);
        self.extra_rounds += 1;
    }
}
