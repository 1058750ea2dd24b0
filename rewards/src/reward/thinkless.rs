//! The reward of Thinkless (arXiv 2505.13379): a right answer earns less if it took thinking.
//!
//! ```text
//! R = 1 for a right answer without thinking, 1 - γ for one with thinking, -1 for a wrong one
//! ```
//!
//! γ is `gamma`. The paper also weights the loss of the token that chooses the mode (DeGRPO); here the mode is chosen by
//! ordinary tokens, which have the weight of all others.
//!
//! Its options in a scenario:
//! - `gamma` (default 0.5), above 0 and below 1.
//! - `reading = "strict" | "official" | "lenient"` (default `strict`), as for `accuracy`.

use serde::{Deserialize, Serialize};

use crate::options::bad_option;
use crate::{Reading, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "thinkless";

/// The options of `thinkless`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThinklessOptions {
    /// What thinking costs a right answer.
    pub gamma: f64,
    /// The reading that decides whether an answer is right.
    pub reading: Reading,
}

impl Default for ThinklessOptions {
    fn default() -> Self {
        Self { gamma: 0.5, reading: Reading::default() }
    }
}

/// The reward of Thinkless.
#[derive(Clone, Debug, Default)]
pub struct Thinkless {
    options: ThinklessOptions,
}

impl Thinkless {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let read: ThinklessOptions = read_options(KIND, options)?;
        if !(read.gamma > 0.0 && read.gamma < 1.0) {
            return Err(bad_option(KIND, "gamma", &read.gamma.into(), "write a number above 0, below 1"));
        }
        Ok(Self { options: read })
    }
}

impl Reward for Thinkless {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let score = |item: &RewardItem| match (item.readings.earns(self.options.reading), item.thinks()) {
            (true, false) => 1.0,
            (true, true) => 1.0 - self.options.gamma,
            (false, _) => -1.0,
        };
        Ok(batch.items.iter().map(|item| Some(score(item))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assert_scores, batch, broken_thought, direct, thought};

    #[test]
    fn the_four_cases() {
        let items = vec![
            direct(0, "dog"),
            thought(0, "dog", None, None),
            direct(0, "cat"),
            thought(0, "cat", None, None),
            broken_thought(0),
        ];
        let mut reward = Thinkless::from_options(&toml::toml! { gamma = 0.2 }).unwrap();
        assert_scores(&reward.score(&batch(1, items)).unwrap(), &[1.0, 0.8, -1.0, -1.0, -1.0].map(Some));
    }

    #[test]
    fn a_gamma_that_turns_the_order_around_is_refused() {
        for gamma in [0.0, 1.0, f64::NAN] {
            let options = toml::Table::from_iter([("gamma".to_owned(), gamma.into())]);
            let error = Thinkless::from_options(&options).err().unwrap().to_string();
            assert!(error.contains("above 0, below 1"), "{error}");
        }
    }
}
