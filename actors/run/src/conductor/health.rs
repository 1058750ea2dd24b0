//! The health of the policy: what a step shows, what the arm remembers, and when the policy counts as dead.
//!
//! - `HEALTH-1` an arm whose policy has died does not end as done: by `limits.action` it ends with the reason, pauses, or
//!   goes on with a warning, and `status.json` and the report say that it died.
//! - `HEALTH-2` the streaks are part of every checkpoint, so that a resumed arm keeps them.
//! - `HEALTH-3` no checkpoint is written of weights that are not finite, unless `limits.action` is `ignore`.
//!
//! Everything here is computed from numbers that a step has anyway. Only when an optimizer step was skipped are the
//! tensors searched for those that are not finite.

use std::collections::{BTreeMap, HashSet};

use model::NonFiniteTensor;
use records::{Collapsed, Health, NonFinite, RunningMean, StepHealth};
use rewards::RewardItem;
use scenarios::LimitsConfig;
use workers::{Generated, Shaped, StepReport};

/// Steps over which `limits.skipped_fraction` is measured.
const WINDOW: u64 = 20;

/// The fewest steps from which a whole arm without anything to learn from is told from bad luck.
const FEWEST_STEPS: u64 = 20;

/// Steps before the means are known well enough to call anything a spike.
const WARM_UP: u64 = 20;

/// Tensors that are named in a row of metrics; the others are counted only.
const NAMED: usize = 20;

/// What a step shows of the policy's health.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Optimizer steps applied and skipped; none if no group was trained on.
    applied: u64,
    skipped: u64,
    nonfinite: Vec<NonFiniteTensor>,
    grad_norm: f64,
    loss: f64,
    /// Of a GRPO step that sampled anything.
    sampled: Option<Sampled>,
}

/// What the completions of a step show.
#[derive(Debug, Default)]
struct Sampled {
    completions: u64,
    /// Completions of one token at most; none if no completion can have more.
    one_token: u64,
    empty: u64,
    /// Number of different texts.
    distinct: u64,
    /// Completions with a log-probability that is NaN.
    nan: u64,
    /// Whether all groups have equal rewards; `None` if no group has a mean.
    equal_rewards: Option<bool>,
    /// The text and right answer of the first completion, and whether another question has another right answer.
    first: Collapsed,
}

impl Signs {
    /// The signs of a GRPO step. `most_tokens` is the length at which completions are cut off.
    pub(super) fn of_completions(
        generated: &Generated,
        items: &[RewardItem],
        shaped: &Shaped,
        report: Option<&StepReport>,
        most_tokens: usize,
    ) -> Self {
        let count =
            |holds: &dyn Fn(&RewardItem) -> bool| items.iter().filter(|item| holds(item)).count() as u64;
        let groups = items.iter().map(|item| item.group).collect::<HashSet<_>>().len();
        let compared = groups - shaped.advantages.excluded_groups.len().min(groups);
        let sampled = items.first().map(|first| Sampled {
            completions: items.len() as u64,
            one_token: if most_tokens > 1 { count(&|item| item.completion_tokens <= 1) } else { 0 },
            empty: count(&|item| item.completion.trim().is_empty()),
            distinct: items.iter().map(|item| item.completion.as_str()).collect::<HashSet<_>>().len() as u64,
            nan: nan_completions(generated),
            equal_rewards: (compared > 0).then_some(shaped.advantages.zero_std_groups == compared),
            first: Collapsed {
                completion: first.completion.clone(),
                answer: first.question.answer.clone(),
                answers_differ: items.iter().any(|item| item.question.answer != first.question.answer),
            },
        });
        Signs { sampled, ..Signs::of_report(report) }
    }

    /// The signs of a supervised step.
    pub(super) fn of_report(report: Option<&StepReport>) -> Self {
        let Some(report) = report else { return Signs::default() };
        Signs {
            applied: report.applied,
            skipped: report.skipped,
            nonfinite: report.nonfinite.clone(),
            grad_norm: report.grad_norm,
            loss: report.loss,
            sampled: None,
        }
    }

    fn was_skipped(&self) -> bool {
        self.skipped > 0 && self.applied == 0
    }

    /// Whether all completions are blank, or else the same.
    fn collapse(&self) -> Collapse {
        let Some(sampled) = &self.sampled else { return Collapse::Unknown };
        match sampled {
            Sampled { completions, one_token, empty, .. } if one_token.max(empty) == completions => {
                Collapse::Blank
            }
            Sampled { distinct: 1, first, .. } => Collapse::Same(first.clone()),
            Sampled { .. } => Collapse::None,
        }
    }

    /// The columns of the step's row.
    pub(super) fn columns(&self, after: &Health, unusable_rows: u64) -> StepHealth {
        let named = |tensor: &NonFiniteTensor| {
            (tensor.name.clone(), NonFinite { weights: tensor.weights, gradient: tensor.gradient })
        };
        let sampled = self.sampled.as_ref();
        StepHealth {
            skipped_steps: self.skipped,
            skipped_streak: after.skipped_streak,
            equal_reward_streak: after.equal_reward_streak,
            collapsed_streak: after.collapsed_streak,
            spike_streak: after.spike_streak,
            one_token_rate: sampled.map(|found| found.one_token as f64 / found.completions as f64),
            distinct_completions: sampled.map(|found| found.distinct),
            nan_completions: sampled.map_or(0, |found| found.nan),
            nonfinite: self.nonfinite.iter().take(NAMED).map(named).collect::<BTreeMap<_, _>>(),
            nonfinite_tensors: self.nonfinite.len() as u64,
            unusable_rows,
        }
    }
}

enum Collapse {
    /// Nothing was sampled.
    Unknown,
    None,
    /// All completions are empty, or of one token.
    Blank,
    /// All completions are this one.
    Same(Collapsed),
}

/// Completions with a log-probability that is NaN: the weights that drew them are not finite.
pub(crate) fn nan_completions(generated: &Generated) -> u64 {
    let is_nan = |logprobs: &[f32]| logprobs.iter().any(|logprob| logprob.is_nan());
    generated.completions.iter().filter(|completion| is_nan(&completion.logprobs)).count() as u64
}

/// The health after a step.
pub(super) fn after(before: &Health, signs: &Signs, limits: &LimitsConfig) -> Health {
    let mut health = before.clone();
    let streak = |before: u64, goes_on: bool| if goes_on { before + 1 } else { 0 };
    if signs.applied + signs.skipped > 0 {
        let skipped = signs.was_skipped();
        health.steps += 1;
        health.skipped_steps += u64::from(skipped);
        health.skipped_streak = streak(before.skipped_streak, skipped);
        health.recently_skipped = ((before.recently_skipped << 1) | u64::from(skipped)) & ((1 << WINDOW) - 1);
        if !skipped {
            let spike = is_spike(&before.grad_norm, signs.grad_norm, limits.spike_factor)
                || is_spike(&before.loss, signs.loss.abs(), limits.spike_factor);
            health.spike_streak = streak(before.spike_streak, spike);
            if !spike {
                health.grad_norm.add(signs.grad_norm);
                if signs.loss.is_finite() {
                    health.loss.add(signs.loss.abs());
                }
            }
        }
    }
    if let Some(equal) = signs.sampled.as_ref().and_then(|sampled| sampled.equal_rewards) {
        health.equal_reward_streak = streak(before.equal_reward_streak, equal);
    }
    match signs.collapse() {
        Collapse::Unknown => {}
        Collapse::None => (health.collapsed_streak, health.collapsed_to) = (0, None),
        Collapse::Blank => {
            (health.collapsed_streak, health.collapsed_to) = (before.collapsed_streak + 1, None)
        }
        Collapse::Same(now) => match before.collapsed_to.as_ref() {
            Some(then) if then.completion == now.completion => {
                let answers_differ = then.answers_differ || now.answers_differ || then.answer != now.answer;
                health.collapsed_streak += 1;
                health.collapsed_to = Some(Collapsed { answers_differ, ..now });
            }
            _ => (health.collapsed_streak, health.collapsed_to) = (1, Some(now)),
        },
    }
    health
}

/// Means below 1 count as 1: a policy that begins to learn after steps without a gradient is no spike.
fn is_spike(mean: &RunningMean, value: f64, factor: f64) -> bool {
    mean.values >= WARM_UP && (value > factor * mean.mean.max(1.0) || value.is_nan())
}

/// Why the policy counts as dead after a step, if it does.
pub(super) fn verdict(health: &Health, signs: &Signs, limits: &LimitsConfig) -> Option<String> {
    let reached = |streak: u64, limit: u64| limit > 0 && streak >= limit;
    let broken: Vec<&NonFiniteTensor> = signs.nonfinite.iter().filter(|tensor| tensor.weights > 0).collect();
    if let Some(first) = broken.first() {
        return Some(format!(
            "the policy died: {} numbers of the weights `{}` are not finite{}; go on from an earlier checkpoint with a \
             lower learning rate",
            first.weights,
            first.name,
            if broken.len() > 1 {
                format!(", and those of {} other tensors", broken.len() - 1)
            } else {
                String::new()
            }
        ));
    }
    if let Some(Sampled { nan, completions, .. }) = &signs.sampled
        && let Some(reason) = nan_verdict(*nan, *completions)
    {
        return Some(reason);
    }
    if reached(health.skipped_streak, limits.skipped_steps) {
        return Some(format!(
            "the policy died: the last {} optimizer steps were skipped, because the gradient was not finite \
             (limits.skipped_steps = {}); lower the learning rate, or see `nonfinite` in metrics.jsonl",
            health.skipped_streak, limits.skipped_steps
        ));
    }
    let recent = u64::from(health.recently_skipped.count_ones());
    if health.steps >= WINDOW && recent as f64 > limits.skipped_fraction * WINDOW as f64 {
        return Some(format!(
            "the policy died: {recent} of the last {WINDOW} optimizer steps were skipped, because the gradient was not \
             finite (limits.skipped_fraction = {}); lower the learning rate",
            limits.skipped_fraction
        ));
    }
    if reached(health.collapsed_streak, limits.collapsed_steps) {
        return collapse_verdict(health, &format!("limits.collapsed_steps = {}", limits.collapsed_steps));
    }
    if reached(health.equal_reward_streak, limits.equal_reward_steps) {
        return Some(equal_rewards_verdict(
            health,
            &format!("limits.equal_reward_steps = {}", limits.equal_reward_steps),
        ));
    }
    reached(health.spike_streak, limits.spike_steps).then(|| {
        format!(
            "the policy died: the gradient norm or the loss was {} times its mean or more in the last {} steps \
             (limits.spike_factor, limits.spike_steps); lower the learning rate",
            limits.spike_factor, health.spike_streak
        )
    })
}

/// Why the policy counts as dead at the end of its `steps`, although no limit was reached on the way: because the limits
/// are longer than the arm.
pub(super) fn verdict_at_end(health: &Health, steps: u64, limits: &LimitsConfig) -> Option<String> {
    if health.skipped_steps as f64 > limits.skipped_fraction * health.steps as f64 {
        return Some(format!(
            "the policy died: {} of {} optimizer steps were skipped, because the gradient was not finite \
             (limits.skipped_fraction = {}); lower the learning rate, or see `nonfinite` in metrics.jsonl",
            health.skipped_steps, health.steps, limits.skipped_fraction
        ));
    }
    if steps < FEWEST_STEPS {
        return None;
    }
    let whole = "every step of the arm";
    if limits.collapsed_steps > 0 && health.collapsed_streak >= steps {
        return collapse_verdict(health, whole);
    }
    (limits.equal_reward_steps > 0 && health.equal_reward_streak >= steps)
        .then(|| equal_rewards_verdict(health, whole))
}

/// Why the policy counts as dead if so many completions have log-probabilities that are NaN.
pub(super) fn nan_verdict(nan: u64, completions: u64) -> Option<String> {
    (2 * nan > completions).then(|| {
        format!(
            "the policy died: the probabilities of {nan} of {completions} completions are NaN, so the weights are not \
             finite; check the model's files, or go on from an earlier checkpoint with a lower learning rate"
        )
    })
}

fn collapse_verdict(health: &Health, limit: &str) -> Option<String> {
    let steps = health.collapsed_streak;
    match &health.collapsed_to {
        None => Some(format!(
            "the policy died: all completions of the last {steps} steps are empty or of a single token ({limit})"
        )),
        Some(same) if same.answers_differ => Some(format!(
            "the policy died: all completions of the last {steps} steps are {:?}, whatever the question ({limit})",
            same.completion.chars().take(80).collect::<String>()
        )),
        // All questions have the same right answer.
        Some(_) => None,
    }
}

fn equal_rewards_verdict(health: &Health, limit: &str) -> String {
    format!(
        "the policy learns nothing: in the last {} steps the rewards of every group were equal ({limit}); look at the \
         rewards, or sample at a higher temperature",
        health.equal_reward_streak
    )
}

#[cfg(test)]
mod tests;
