//! Accuracy in {0, 1}: 1 if the answer is right, else 0. It is the reward of the arms GRPO and GRPO+CoT in Table 1 of
//! arXiv 2508.08039v3, together with the format reward.
//!
//! A malformed completion counts as wrong whatever its answer, see [`is_correct`](crate::is_correct). This reward has
//! no options of its own.

use serde::{Deserialize, Serialize};

use crate::{Reward, RewardBatch, RewardError, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "accuracy";

/// The options of `accuracy`: none, so that any option is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccuracyOptions {}

/// The reward that scores 1 for a right answer and 0 for any other.
#[derive(Clone, Debug, Default)]
pub struct Accuracy;

impl Accuracy {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: There is an option.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        read_options::<AccuracyOptions>(KIND, options)?;
        Ok(Self)
    }
}

impl Reward for Accuracy {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| Some(f64::from(u8::from(item.correct)))).collect())
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
        let scores = Accuracy.score(&batch(1, items)).unwrap();
        assert_eq!(scores, [1.0, 1.0, 0.0, 0.0].map(Some));
    }
}
