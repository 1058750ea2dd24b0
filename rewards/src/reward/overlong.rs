//! Overlong penalty in [−1, 0] of DAPO (arXiv 2503.14476, Eq. 13): 0 up to `max_tokens − cache` tokens, then linearly down to
//! −1 at `max_tokens`.
//!
//! Deviation: the paper adds it to the reward; here it is a component, whose weight is in the formula. Options:
//! `max_tokens`, by default `sampling.max_new_tokens`, and `cache`.

use serde::{Deserialize, Serialize};

use super::length::{beyond, check_cache};
use crate::{Reward, RewardBatch, RewardError, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "overlong";

/// The options of `overlong`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverlongOptions {
    /// Length in tokens that costs 1; 0 for the greatest length of a completion.
    pub max_tokens: usize,
    /// Number of tokens below `max_tokens` over which the penalty grows; at least 1.
    pub cache: usize,
}

impl Default for OverlongOptions {
    fn default() -> Self {
        Self { max_tokens: 0, cache: 16 }
    }
}

/// The overlong penalty.
#[derive(Clone, Debug, Default)]
pub struct Overlong {
    options: OverlongOptions,
}

impl Overlong {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let options: OverlongOptions = read_options(KIND, options)?;
        check_cache(KIND, options.cache)?;
        Ok(Self { options })
    }
}

impl Reward for Overlong {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let OverlongOptions { max_tokens, cache } = self.options;
        let most = if max_tokens == 0 { batch.max_new_tokens } else { max_tokens };
        if most == 0 {
            return Ok(vec![Some(0.0); batch.items.len()]);
        }
        Ok(batch
            .items
            .iter()
            .map(|item| Some(beyond(item.completion_tokens, most as f64 - cache as f64, cache)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RewardItem;
    use crate::fixtures::{assert_scores, batch, item};

    #[test]
    fn the_penalty_grows_over_the_last_tokens() {
        let of = |tokens| RewardItem { completion_tokens: tokens, ..item(0, "x") };
        let mut reward = Overlong::from_options(&toml::toml! { max_tokens = 100
        cache = 20 })
        .unwrap();
        let lengths = batch(1, [80, 81, 90, 100, 101, 500].map(of).to_vec());
        // TRL's example: 90 tokens of 100 with 20 to spare cost 0.5.
        let expected = [0.0, -0.05, -0.5, -1.0, -1.0, -1.0].map(Some);
        assert_scores(&reward.score(&lengths).unwrap(), &expected);
        // The default is the greatest length of the run.
        let mut reward = Overlong::from_options(&toml::Table::new()).unwrap();
        let lengths = RewardBatch { max_new_tokens: 48, ..batch(1, [32, 40, 48].map(of).to_vec()) };
        assert_scores(&reward.score(&lengths).unwrap(), &[0.0, -0.5, -1.0].map(Some));
    }

    #[test]
    fn a_cache_of_no_tokens_is_refused() {
        let error = Overlong::from_options(&toml::toml! { cache = 0 }).err().unwrap().to_string();
        assert!(error.contains("`cache = 0` cannot be used"), "{error}");
    }
}
