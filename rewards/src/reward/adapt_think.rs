//! The reward of AdaptThink (arXiv 2505.13417): a right answer, a bonus for not thinking, less the accuracy of the reference
//! when it thinks.
//!
//! ```text
//! R = [correct] + δ·[no-think] - r_ref
//! ```
//!
//! δ is `delta`. `r_ref` is the fraction of right answers of the untrained policy in think mode on the same question, from
//! the column of the data that `reference_column` names; without the option it is 0. As it is the same for all completions of
//! a prompt, it only matters where rewards are compared over the step (`grpo.advantages = "reinforce_plus_plus"`, which is
//! nearest to the paper, where R is the advantage). The paper also draws half of the completions without thinking and weights
//! them by their probability; here both modes come from the policy itself.
//!
//! Its options in a scenario:
//! - `delta` (default 0.05), 0 or more.
//! - `reference_column`: the name of a column with a number from 0 to 1. A row without it has no score.
//! - `reading = "strict" | "official" | "lenient"` (default `strict`), as for `accuracy`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::options::bad_option;
use crate::{Reading, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "adapt-think";

/// The options of `adapt-think`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptThinkOptions {
    /// The bonus δ for not thinking.
    pub delta: f64,
    /// The column of the data with the reference's accuracy; empty for none.
    pub reference_column: String,
    /// The reading that decides whether an answer is right.
    pub reading: Reading,
}

impl Default for AdaptThinkOptions {
    fn default() -> Self {
        Self { delta: 0.05, reference_column: String::new(), reading: Reading::default() }
    }
}

/// The reward of AdaptThink.
#[derive(Clone, Debug, Default)]
pub struct AdaptThink {
    options: AdaptThinkOptions,
}

impl AdaptThink {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let read: AdaptThinkOptions = read_options(KIND, options)?;
        if !(read.delta.is_finite() && read.delta >= 0.0) {
            return Err(bad_option(KIND, "delta", &read.delta.into(), "write a number of 0 or more"));
        }
        Ok(Self { options: read })
    }

    fn reference(&self, item: &RewardItem) -> Option<f64> {
        let column = &self.options.reference_column;
        if column.is_empty() {
            return Some(0.0);
        }
        item.question.metadata.get(column).and_then(Value::as_f64).filter(|rate| (0.0..=1.0).contains(rate))
    }
}

impl Reward for AdaptThink {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let score = |item: &RewardItem| {
            let correct = f64::from(u8::from(item.readings.earns(self.options.reading)));
            let bonus = if item.thinks() { 0.0 } else { self.options.delta };
            Some(correct + bonus - self.reference(item)?)
        };
        Ok(batch.items.iter().map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixtures::{assert_scores, batch, direct, thought};

    #[test]
    fn not_thinking_earns_the_bonus_whether_right_or_wrong() {
        let items = vec![thought(0, "dog", None, None), direct(0, "dog"), direct(0, "cat")];
        let mut reward = AdaptThink::from_options(&toml::toml! { delta = 0.1 }).unwrap();
        assert_scores(&reward.score(&batch(1, items)).unwrap(), &[1.0, 1.1, 0.1].map(Some));
    }

    #[test]
    fn the_reference_is_subtracted_and_a_row_without_one_has_no_score() {
        let mut reward =
            AdaptThink::from_options(&toml::toml! { reference_column = "thinking_accuracy" }).unwrap();
        let with = |rate: Value| {
            let mut item = direct(0, "dog");
            Arc::make_mut(&mut item.question).metadata.insert("thinking_accuracy".into(), rate);
            item
        };
        let items = vec![with(0.75.into()), with("high".into()), with(2.into()), direct(0, "dog")];
        assert_scores(&reward.score(&batch(1, items)).unwrap(), &[Some(0.3), None, None, None]);
    }

    #[test]
    fn a_negative_bonus_is_refused() {
        let error = AdaptThink::from_options(&toml::toml! { delta = -0.1 }).err().unwrap().to_string();
        assert!(error.contains("`delta = -0.1`") && error.contains("0 or more"), "{error}");
    }
}
