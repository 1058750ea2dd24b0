//! The reward of Ada-GRPO (arXiv 2505.20258, ARM): a right answer earns more in the mode that is rarer in its group, and less
//! so as training goes on.
//!
//! With G the completions of the group, F those of them in the completion's own mode, s the step and T the steps:
//!
//! ```text
//! R = α · [correct]        α = 1 + ½ · (G/F - 1) · (1 + cos(π·s/T))
//! ```
//!
//! This is the paper's `G/F · decay` with `decay = F/G + ½ · (1 - F/G) · (1 + cos(π·s/T))`. The paper has four modes of
//! reasoning; here there are two, thinking and not. A malformed completion counts in its mode and is not correct.
//!
//! Its option in a scenario: `reading = "strict" | "official" | "lenient"` (default `strict`), as for `accuracy`.

use serde::{Deserialize, Serialize};

use crate::statistics::{BatchStatistics, Scope};
use crate::{Reading, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "ada-grpo";

/// The options of `ada-grpo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaGrpoOptions {
    /// The reading that decides whether an answer is right.
    pub reading: Reading,
}

/// The reward of Ada-GRPO.
#[derive(Clone, Debug, Default)]
pub struct AdaGrpo {
    options: AdaGrpoOptions,
}

impl AdaGrpo {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        Ok(Self { options: read_options(KIND, options)? })
    }
}

impl Reward for AdaGrpo {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let statistics = BatchStatistics::of(batch, Scope::Group);
        let done = std::f64::consts::PI * (1.0 - batch.remaining());
        let score = |item: &RewardItem| {
            if !item.readings.earns(self.options.reading) {
                return Some(0.0);
            }
            let group = statistics.around(item);
            let own = if item.thinks() { group.think } else { group.completions - group.think };
            let rarity = group.completions as f64 / own as f64;
            Some(1.0 + 0.5 * (rarity - 1.0) * (1.0 + done.cos()))
        };
        Ok(batch.items.iter().map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assert_scores, batch, broken_thought, direct, thought};

    #[test]
    fn the_rarer_mode_earns_more_and_less_so_later() {
        // Group 0: one of four thinks, so α is 1 + ½·3·(1 + cos) and 1 + ½·⅓·(1 + cos).
        let items = vec![
            thought(0, "dog", None, None),
            direct(0, "dog"),
            direct(0, "cat"),
            direct(0, "dog"),
            thought(1, "dog", None, None),
            broken_thought(1),
        ];
        let mut reward = AdaGrpo::default();
        // Step 50 of 100: cos = 0.
        let half = reward.score(&batch(50, items.clone())).unwrap();
        let direct = 1.0 + 0.5 / 3.0;
        assert_scores(&half, &[2.5, direct, 0.0, direct, 1.0, 0.0].map(Some));
        // The last step: cos = -1.
        assert_scores(&reward.score(&batch(100, items)).unwrap(), &[1.0, 1.0, 0.0, 1.0, 1.0, 0.0].map(Some));
    }
}
