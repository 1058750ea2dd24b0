//! Consistency R_c in {0, 1} (arXiv 2508.08039v3, Eq. 6): 1 if the thinking supports the given answer, else 0.
//!
//! For a well-formed think completion the score is the judge's. A no-think completion has no thinking that could
//! contradict its answer and scores 1. A malformed think completion scores 0. If the verdict is missing, the score is
//! `None`, as REWARD-1 demands.
//!
//! The shaping formula uses the score as a factor, `adaptive_think * (1 + w_consistency * consistency)` (Eq. 7), so a
//! score of 0 makes the factor 1 and leaves R_a unchanged.
//!
//! Options: `reading = "strict" | "official" | "lenient"` (default `strict`), when an answer counts as right, as for
//! `accuracy`; and `when_wrong`, the score of a completion with a wrong answer, about which the paper contradicts itself:
//! - `"correct_only"` (default) follows the text, "only when the final answer is correct": the score is 0, which makes
//!   the factor 1. The verdict is not used, so a missing one does no harm.
//! - `"always"` follows Eq. 7: the score is R_c as for right answers. Since R_a of a wrong answer is negative, a wrong
//!   answer that follows from its thinking is then punished harder than one that contradicts it.

use serde::{Deserialize, Serialize};

use crate::{Reading, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "consistency";

/// How completions with a wrong answer are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenWrong {
    /// They score 0, which makes the factor of Eq. 7 equal to 1.
    #[default]
    CorrectOnly,
    /// They score R_c as completions with a right answer do.
    Always,
}

/// The options of `consistency`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsistencyOptions {
    /// How completions with a wrong answer are scored.
    pub when_wrong: WhenWrong,
    /// The reading that decides whether an answer is wrong.
    pub reading: Reading,
}

/// The consistency reward R_c.
#[derive(Clone, Debug, Default)]
pub struct Consistency {
    options: ConsistencyOptions,
}

impl Consistency {
    /// The reward with these options.
    pub fn new(options: ConsistencyOptions) -> Self {
        Self { options }
    }

    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        Ok(Self::new(read_options(KIND, options)?))
    }

    fn score_item(&self, item: &RewardItem) -> Option<f64> {
        if self.options.when_wrong == WhenWrong::CorrectOnly && !item.readings.earns(self.options.reading) {
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
        Consistency::new(ConsistencyOptions { when_wrong, ..ConsistencyOptions::default() })
            .score(&batch(1, items))
            .unwrap()
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
    fn correct_only_scores_every_wrong_answer_zero() {
        let expected = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(Some);
        assert_eq!(scores(WhenWrong::CorrectOnly, all_cases()), expected);
    }

    #[test]
    fn always_follows_equation_7() {
        let expected = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0].map(Some);
        assert_eq!(scores(WhenWrong::Always, all_cases()), expected);
    }

    #[test]
    fn a_missing_verdict_is_none_and_never_zero() {
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
