//! Accuracy in {0, 1}: 1 if the answer is right, else 0. It is the reward of the arms GRPO and GRPO+CoT in Table 1 of
//! arXiv 2508.08039v3, together with the format reward.
//!
//! Option: `reading = "strict" | "official" | "lenient"` (default `strict`), see [`readings`](crate::readings). In the strict
//! reading a malformed completion is wrong whatever its answer. A letter alone earns nothing, in any reading, if the prompt
//! showed no letters.

use serde::{Deserialize, Serialize};

use crate::{Reading, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "accuracy";

/// The options of `accuracy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccuracyOptions {
    /// The reading that decides whether an answer is right.
    pub reading: Reading,
}

/// The reward that scores 1 for a right answer and 0 for any other.
#[derive(Clone, Debug, Default)]
pub struct Accuracy {
    options: AccuracyOptions,
}

impl Accuracy {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        Ok(Self { options: read_options(KIND, options)? })
    }
}

impl Reward for Accuracy {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let score = |item: &RewardItem| f64::from(u8::from(item.readings.earns(self.options.reading)));
        Ok(batch.items.iter().map(|item| Some(score(item))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{batch, direct, item, thought};

    #[test]
    fn the_right_answer_scores_one_in_a_valid_form_only() {
        let items = vec![
            thought(0, "dog", None, None),
            direct(0, "B"),
            direct(1, "cat"),
            item(1, "<answer>dog</answer> I think"),
        ];
        let scores = Accuracy::default().score(&batch(1, items)).unwrap();
        assert_eq!(scores, [1.0, 1.0, 0.0, 0.0].map(Some));
    }
}
