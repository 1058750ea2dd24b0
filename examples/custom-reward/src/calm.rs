//! Calm: 1 for a completion without exclamation marks, minus `per_mark` for each mark, but at least 0.

use rewards::{Reward, RewardBatch, RewardError, read_options};
use serde::{Deserialize, Serialize};

/// The reward with its options: every key of `[rewards.NAME]` except `kind`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Calm {
    /// Subtracted from the score for each exclamation mark; 0.25 by default.
    per_mark: f64,
}

impl Default for Calm {
    fn default() -> Self {
        Calm { per_mark: 0.25 }
    }
}

impl Calm {
    /// Reads the options of `[rewards.NAME]`.
    ///
    /// Errors: An option is unknown or has an unusable value; the message says what to write instead.
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
    use rewards::{Question, Readings, RewardItem, parse_completion};

    use super::*;

    #[test]
    fn each_mark_costs_a_quarter_down_to_zero() {
        let item = |text: &str| RewardItem {
            question: Question::default().into(),
            group: 0,
            completion: text.into(),
            parsed: parse_completion(text, &Default::default()),
            readings: Readings::default(),
            completion_tokens: 1,
            completion_ids: Vec::new(),
            think_tokens: 0,
            truncated: false,
            duration_seconds: None,
            verdict: None,
            graded: Vec::new(),
        };
        let items = vec![item("a dog"), item("a dog!"), item("a dog!!!!!")];
        let batch = RewardBatch { items, ..RewardBatch::default() };
        assert_eq!(Calm::default().score(&batch), Ok(vec![Some(1.0), Some(0.75), Some(0.0)]));
    }
}
