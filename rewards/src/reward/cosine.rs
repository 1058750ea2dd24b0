//! Cosine length reward (arXiv 2502.03373): a right answer earns more if it is short, a wrong one less.
//!
//! With n the length in tokens, cut at `max_tokens` = L:
//!
//! ```text
//! R = long + ½ · (short - long) · (1 + cos(π·n/L))
//! ```
//!
//! where `short` and `long` are the values for lengths 0 and L: those of `right` or those of `wrong`. A wrong answer that is
//! short is the worst, so that the policy tries longer.
//!
//! Deviation: TRL counts tokens of the whole completion and calls an answer right by parsing mathematics; here the
//! scenario's reading decides, and `of = "think"` counts the thinking alone. Its options in a scenario:
//! - `max_tokens` (default 0, `sampling.max_new_tokens`).
//! - `right = [1.0, 0.5]`, `wrong = [-1.0, -0.5]`: the values `[short, long]`, as in TRL.
//! - `of = "completion" | "think"` (default `completion`): whose length. The thinking's is up to and including `</think>`.
//! - `reading = "strict" | "official" | "lenient"` (default `strict`), as for `accuracy`.

use serde::{Deserialize, Serialize};

use crate::{Reading, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "cosine";

/// Whose length counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthOf {
    /// All tokens of the completion.
    #[default]
    Completion,
    /// The tokens of the thinking.
    Think,
}

/// The options of `cosine`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosineOptions {
    /// Length at which the second value is reached; 0 for the greatest length of a completion.
    pub max_tokens: usize,
    /// The scores of a right answer of length 0 and of length `max_tokens`.
    pub right: [f64; 2],
    /// Likewise of a wrong answer.
    pub wrong: [f64; 2],
    /// Whose length counts.
    pub of: LengthOf,
    /// The reading that decides whether an answer is right.
    pub reading: Reading,
}

impl Default for CosineOptions {
    fn default() -> Self {
        Self {
            max_tokens: 0,
            right: [1.0, 0.5],
            wrong: [-1.0, -0.5],
            of: LengthOf::default(),
            reading: Reading::default(),
        }
    }
}

/// The cosine length reward.
#[derive(Clone, Debug, Default)]
pub struct Cosine {
    options: CosineOptions,
}

impl Cosine {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        Ok(Self { options: read_options(KIND, options)? })
    }

    fn score(&self, item: &RewardItem, most: usize) -> f64 {
        let options = &self.options;
        let [short, long] = match item.readings.earns(options.reading) {
            true => options.right,
            false => options.wrong,
        };
        let tokens = match options.of {
            LengthOf::Completion => item.completion_tokens,
            LengthOf::Think => item.think_tokens,
        };
        let fraction = if most == 0 { 0.0 } else { tokens.min(most) as f64 / most as f64 };
        long + 0.5 * (short - long) * (1.0 + (std::f64::consts::PI * fraction).cos())
    }
}

impl Reward for Cosine {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let most = if self.options.max_tokens == 0 { batch.max_new_tokens } else { self.options.max_tokens };
        Ok(batch.items.iter().map(|item| Some(Cosine::score(self, item, most))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assert_scores, batch, direct};

    #[test]
    fn short_right_answers_and_long_wrong_ones_earn_more() {
        let of = |answer: &str, tokens| RewardItem { completion_tokens: tokens, ..direct(0, answer) };
        let items =
            vec![of("dog", 0), of("dog", 50), of("dog", 100), of("dog", 400), of("cat", 0), of("cat", 25)];
        let mut reward = Cosine::from_options(&toml::toml! { max_tokens = 100 }).unwrap();
        // cos(π/4) = 0.7071067811865476: -0.5 - ¼ · 1.7071067811865476 = -0.9267766952966369
        let expected = [1.0, 0.75, 0.5, 0.5, -1.0, -0.9267766952966369].map(Some);
        assert_scores(&Reward::score(&mut reward, &batch(1, items)).unwrap(), &expected);
    }

    #[test]
    fn the_thinking_alone_can_count_up_to_the_greatest_length_of_the_run() {
        let item = RewardItem { completion_tokens: 40, think_tokens: 24, ..direct(0, "dog") };
        let mut reward = Cosine::from_options(&toml::toml! { of = "think" }).unwrap();
        let items = RewardBatch { max_new_tokens: 48, ..batch(1, vec![item]) };
        assert_scores(&Reward::score(&mut reward, &items).unwrap(), &[Some(0.75)]);
    }
}
