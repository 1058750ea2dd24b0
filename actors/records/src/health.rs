//! The health of a policy in training: what a step shows of it, and what an arm remembers of the steps before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The health of the policy at one step: columns of `metrics.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct StepHealth {
    pub skipped_steps: u64,
    pub skipped_streak: u64,
    pub equal_reward_streak: u64,
    pub collapsed_streak: u64,
    pub spike_streak: u64,
    pub one_token_rate: Option<f64>,
    pub distinct_completions: Option<u64>,
    pub nan_completions: u64,
    pub nonfinite: BTreeMap<String, NonFinite>,
    pub nonfinite_tensors: u64,
    pub unusable_rows: u64,
}

/// How many numbers of a tensor are NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NonFinite {
    /// In the weights themselves.
    pub weights: u64,
    /// In their gradient.
    pub gradient: u64,
}

/// What an arm remembers of the health of its policy. It is part of every checkpoint, so that a resumed arm keeps its
/// streaks (HEALTH-2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Why the policy counts as dead, if it does: the first limit of `[limits]` that was exceeded.
    pub died: Option<String>,
    /// Steps taken.
    pub steps: u64,
    /// Steps whose optimizer steps were all skipped.
    pub skipped_steps: u64,
    /// Those at the end of the steps taken, without a gap.
    pub skipped_streak: u64,
    /// Which of the last steps were skipped: the lowest bit is the newest step.
    pub recently_skipped: u64,
    /// Steps in a row in which every group has equal rewards.
    pub equal_reward_streak: u64,
    /// Steps in a row with collapsed completions.
    pub collapsed_streak: u64,
    /// What all completions of the present streak are, if they are the same.
    pub collapsed_to: Option<Collapsed>,
    /// Steps in a row whose gradient norm or loss is a spike.
    pub spike_streak: u64,
    /// The running mean of the gradient norm, without spikes and without skipped steps.
    pub grad_norm: RunningMean,
    /// The running mean of the loss's absolute value, likewise.
    pub loss: RunningMean,
}

/// The one completion that a policy gives to every prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collapsed {
    /// The completion's text.
    pub completion: String,
    /// The right answer to one of the questions.
    pub answer: String,
    /// Whether another question had another right answer.
    pub answers_differ: bool,
}

/// An exponential mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunningMean {
    /// The mean; 0 before the first value.
    pub mean: f64,
    /// Number of values.
    pub values: u64,
}

impl RunningMean {
    /// Adds a value. The mean is that of all values at first, and then of about the last fifty.
    pub fn add(&mut self, value: f64) {
        self.values += 1;
        self.mean += (value - self.mean) / (self.values.min(50) as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_mean_starts_as_the_mean_of_its_values() {
        let mut mean = RunningMean::default();
        [1.0, 2.0, 6.0].into_iter().for_each(|value| mean.add(value));
        // (1 + 2 + 6) / 3
        assert!((mean.mean - 3.0).abs() < 1e-12 && mean.values == 3);
    }
}
