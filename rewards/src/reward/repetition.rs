//! Repetition penalty in [−1, 0]: minus the share of n-grams that are repeated (arXiv 2502.03373, Appendix C.2), as in TRL's
//! `get_repetition_penalty_reward` with `max_penalty = −1`.
//!
//! Deviation: the n-grams are of words, lower case, as in ms-swift; TRL takes those of tokens. Option: `ngram`. Tags count as
//! spaces.

use serde::{Deserialize, Serialize};

use crate::degeneracy::repeated_share;
use crate::{Reward, RewardBatch, RewardError, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "repetition";

/// The options of `repetition`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepetitionOptions {
    /// Number of words in an n-gram; at least 1.
    pub ngram: usize,
}

impl Default for RepetitionOptions {
    fn default() -> Self {
        Self { ngram: 3 }
    }
}

/// The repetition penalty.
#[derive(Clone, Debug, Default)]
pub struct Repetition {
    options: RepetitionOptions,
}

impl Repetition {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let options: RepetitionOptions = read_options(KIND, options)?;
        if options.ngram == 0 {
            return Err(RewardError::BadOption {
                kind: KIND.to_owned(),
                option: "ngram".to_owned(),
                value: "0".to_owned(),
                problem: "write 1 or more".to_owned(),
            });
        }
        Ok(Self { options })
    }

    fn penalty(&self, completion: &str) -> f64 {
        match repeated_share(completion, self.options.ngram) {
            0.0 => 0.0,
            share => -share,
        }
    }
}

impl Reward for Repetition {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| Some(self.penalty(&item.completion))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assert_scores, batch, item};

    #[test]
    fn the_share_of_repeated_n_grams_is_subtracted() {
        let mut reward = Repetition::from_options(&toml::toml! { ngram = 2 }).unwrap();
        let items = vec![
            item(0, "<think>a b c d</think><answer>e</answer>"),
            // TRL's example, as words: one different pair of four.
            item(0, "five five Five five five"),
            item(0, "one"),
            item(0, ""),
            // Pairs: a b, b a, a b.
            item(0, "<think>a b a</think> b"),
        ];
        let expected = [0.0, -0.75, 0.0, 0.0, -1.0 / 3.0].map(Some);
        assert_scores(&reward.score(&batch(1, items)).unwrap(), &expected);
    }
}
