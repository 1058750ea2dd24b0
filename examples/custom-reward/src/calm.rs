//! Calm: 1 for a completion without exclamation marks, falling by `per_mark` with each, never below 0.

use rewards::{Reward, RewardBatch, RewardError, read_options};
use serde::{Deserialize, Serialize};

/// The reward and its options: every key of `[rewards.NAME]` but `kind`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Calm {
    /// What a mark costs.
    per_mark: f64,
}

impl Default for Calm {
    fn default() -> Self {
        Calm { per_mark: 0.25 }
    }
}

impl Calm {
    /// # Errors
    /// An option is unknown or unusable; the message says what to write instead.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        read_options("calm", options)
    }
}

impl Reward for Calm {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let score = |text: &str| (1.0 - self.per_mark * text.matches('!').count() as f64).max(0.0);
        Ok(batch.items.iter().map(|item| Some(score(&item.completion))).collect())
    }
}

#[cfg(test)]
mod tests {
    use rewards::{Question, RewardItem, parse_completion};

    use super::*;

    #[test]
    fn a_mark_costs_a_quarter_and_no_more_than_there_is() {
        let item = |text: &str| RewardItem {
            question: Question::default().into(),
            group: 0,
            completion: text.into(),
            parsed: parse_completion(text, &Default::default()),
            correct: false,
            completion_tokens: 1,
            truncated: false,
            duration_seconds: None,
            verdict: None,
        };
        let items = vec![item("a dog"), item("a dog!"), item("a dog!!!!!")];
        let batch = RewardBatch { items, ..RewardBatch::default() };
        assert_eq!(Calm::default().score(&batch), Ok(vec![Some(1.0), Some(0.75), Some(0.0)]));
    }
}
