//! Consistency R_c in {0, 1} (arXiv 2508.08039v3, Eq. 6): does the thinking support the answer given?
//!
//! The judge says, for well-formed think completions; a no-think completion has nothing to contradict and
//! gets 1; a malformed think completion gives no answer in the form asked for and gets 0. A verdict that
//! could not be had is `None` (REWARD-1).
//!
//! The score stands in the shaping formula as `adaptive_think * (1 + w_consistency * consistency)`, so 0
//! means that the multiplier is 1 and the accuracy stays as it is.
//!
//! Option: `when_wrong`, for the paper contradicts itself about completions whose answer is wrong:
//! - `"correct_only"` (default, the text: "only when the final answer is correct"): 0, that is a multiplier
//!   of 1. The verdict does not matter there, so a judge that fails costs nothing.
//! - `"always"` (Eq. 7 to the letter): R_c multiplies whatever the answer, so that a wrong answer that
//!   follows from its thinking is punished harder than one that does not.

use serde::{Deserialize, Serialize};

use crate::{Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The name in a scenario.
pub const KIND: &str = "consistency";

/// What becomes of completions whose answer is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenWrong {
    /// They score 0: the multiplier is 1.
    #[default]
    CorrectOnly,
    /// They score R_c like any other.
    Always,
}

/// The options of `consistency`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsistencyOptions {
    /// What becomes of completions whose answer is wrong.
    pub when_wrong: WhenWrong,
}

/// R_c.
#[derive(Clone, Debug, Default)]
pub struct Consistency {
    options: ConsistencyOptions,
}

impl Consistency {
    /// R_c under these options.
    pub fn new(options: ConsistencyOptions) -> Self {
        Self { options }
    }

    /// # Errors
    /// An option is unknown or unusable.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        Ok(Self::new(read_options(KIND, options)?))
    }

    fn score_item(&self, item: &RewardItem) -> Option<f64> {
        if self.options.when_wrong == WhenWrong::CorrectOnly && !item.correct {
            return Some(0.0);
        }
        match (item.thinks(), item.parsed.well_formed) {
            (false, _) => Some(1.0),
            (true, false) => Some(0.0),
            (true, true) => item.verdict.as_ref()?.consistency.filter(|score| score.is_finite()),
        }
    }
}

impl Reward for Consistency {
    fn needs_verdict(&self) -> bool {
        true
    }

    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| self.score_item(item)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{batch, broken_thought, direct, item, thought};

    fn scores(when_wrong: WhenWrong, items: Vec<RewardItem>) -> Vec<Option<f64>> {
        Consistency::new(ConsistencyOptions { when_wrong }).score(&batch(1, items)).unwrap()
    }

    fn all_cases() -> Vec<RewardItem> {
        vec![
            thought(0, "dog", Some(1.0), None),
            thought(0, "dog", Some(0.0), None),
            direct(0, "dog"),
            thought(1, "cat", Some(1.0), None),
            thought(1, "cat", Some(0.0), None),
            direct(1, "cat"),
            broken_thought(2),
            item(2, "dog"),
        ]
    }

    #[test]
    fn correct_only_leaves_wrong_answers_alone() {
        let expected = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(Some);
        assert_eq!(scores(WhenWrong::CorrectOnly, all_cases()), expected);
    }

    #[test]
    fn always_is_the_equation_to_the_letter() {
        let expected = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0].map(Some);
        assert_eq!(scores(WhenWrong::Always, all_cases()), expected);
    }

    #[test]
    fn a_verdict_that_could_not_be_had_is_none_and_never_zero() {
        let failed = || vec![thought(0, "dog", None, Some(0.5)), thought(0, "cat", None, None)];
        assert_eq!(scores(WhenWrong::Always, failed()), [None, None]);
        assert_eq!(
            scores(WhenWrong::CorrectOnly, failed()),
            [None, Some(0.0)],
            "not needed where the answer is wrong"
        );
        let unasked = RewardItem { verdict: None, ..thought(0, "dog", None, None) };
        let not_a_number = thought(0, "dog", Some(f64::NAN), None);
        assert_eq!(scores(WhenWrong::CorrectOnly, vec![unasked, not_a_number]), [None, None]);
    }

    #[test]
    fn it_needs_the_judge() {
        assert!(Consistency::default().needs_verdict());
    }
}
