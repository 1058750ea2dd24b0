//! Think-budget penalty in [−1, 0]: 0 for thinking of up to `budget` tokens, then linearly down to −1 after `cache` more.
//!
//! It is DAPO's overlong penalty (arXiv 2503.14476, Eq. 13), applied to the tokens of the thinking alone; the answer may be of
//! any length. `sampling.max_think_tokens` enforces a budget instead of rewarding one.

use serde::{Deserialize, Serialize};

use super::length::{beyond, check_cache};
use crate::{Reward, RewardBatch, RewardError, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "think-budget";

/// The options of `think-budget`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThinkBudgetOptions {
    /// Number of tokens of thinking, tags included, that cost nothing.
    pub budget: usize,
    /// Number of further tokens over which the penalty grows; at least 1.
    pub cache: usize,
}

impl Default for ThinkBudgetOptions {
    fn default() -> Self {
        Self { budget: 32, cache: 16 }
    }
}

/// The think-budget penalty.
#[derive(Clone, Debug, Default)]
pub struct ThinkBudget {
    options: ThinkBudgetOptions,
}

impl ThinkBudget {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let options: ThinkBudgetOptions = read_options(KIND, options)?;
        check_cache(KIND, options.cache)?;
        Ok(Self { options })
    }
}

impl Reward for ThinkBudget {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let ThinkBudgetOptions { budget, cache } = self.options;
        Ok(batch.items.iter().map(|item| Some(beyond(item.think_tokens, budget as f64, cache))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RewardItem;
    use crate::fixtures::{assert_scores, batch, item};

    #[test]
    fn only_thinking_beyond_the_budget_costs() {
        let of = |tokens| RewardItem { think_tokens: tokens, completion_tokens: 900, ..item(0, "x") };
        let lengths = batch(1, [0, 10, 12, 14, 15].map(of).to_vec());
        let mut reward = ThinkBudget::from_options(&toml::toml! { budget = 10
        cache = 4 })
        .unwrap();
        assert_scores(&reward.score(&lengths).unwrap(), &[0.0, 0.0, -0.5, -1.0, -1.0].map(Some));
    }
}
