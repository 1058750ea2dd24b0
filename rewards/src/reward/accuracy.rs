//! Accuracy in {0, 1}: 1 if the answer is right, else 0. The reward of the plain-GRPO arms.
//!
//! A malformed completion is wrong whatever it says, see [`is_correct`](crate::is_correct). No options.

use serde::{Deserialize, Serialize};

use crate::{Reward, RewardBatch, RewardError, read_options};

/// The name in a scenario.
pub const KIND: &str = "accuracy";

/// `accuracy` takes no options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccuracyOptions {}

/// Whether the answer is right.
#[derive(Clone, Debug, Default)]
pub struct Accuracy;

impl Accuracy {
    /// # Errors
    /// There is an option: it takes none.
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
