//! Rubric reward in [0, 1], as MMAR-Rubrics scores (arXiv 2602.14224): `s = 1[the answer is right] · m`, where `m` is the
//! trimmed mean over R raters of Σ points / Σ max over the criteria of the row's rubric.
//!
//! The judge's server rates each completion R times under different seeds ([`RubricTask`]); of the ratings, the lowest and
//! the highest are dropped. A rating that could not be had is left out, and the trim stays the same: with fewer than
//! `2 · trim + 1` ratings the score is `None` (REWARD-1). A wrong answer and a malformed completion score 0 without being
//! rated, and a completion that does not think scores `no_think`.
//!
//! Deviations: MMAR-Rubrics grades with GPT-4o; here the server is that of `[judge]`, or the reward's own. Rows without a
//! rubric get one that the server makes. MMAR-Rubrics grades the thinking of every completion; what scores 0 anyway is not
//! asked about here.

use serde::Serialize;

use crate::judge::rubric::{MOST_CRITERIA, RubricTask};
use crate::options::bad_option;
use crate::{JudgeTask, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "rubric";

/// Most ratings of a completion.
const MOST_RATERS: usize = 99;

/// The rubric reward.
#[derive(Clone, Debug)]
pub struct RubricReward {
    task: JudgeTask,
    options: RubricTask,
}

impl RubricReward {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let options: RubricTask = read_options(KIND, options)?;
        let least = options.trim.saturating_mul(2).saturating_add(1);
        check("raters", options.raters, (least..=MOST_RATERS).contains(&options.raters), || {
            format!("with `trim = {}` it takes {least} to {MOST_RATERS} ratings", options.trim)
        })?;
        check("criteria", options.criteria, (1..=MOST_CRITERIA).contains(&options.criteria), || {
            format!("write a number from 1 to {MOST_CRITERIA}")
        })?;
        check("temperature", options.temperature, (0.0..=5.0).contains(&options.temperature), || {
            "write a number from 0 to 5".to_owned()
        })?;
        check("no_think", options.no_think, options.no_think.is_finite(), || {
            "expected a finite number, such as 0.5".to_owned()
        })?;
        check("column", &options.column, !options.column.trim().is_empty(), || {
            "write the name of a column of the data, such as \"rubric\"".to_owned()
        })?;
        Ok(Self { task: JudgeTask::Rubric(options.clone()), options })
    }

    fn score_item(&self, item: &RewardItem) -> Option<f64> {
        match self.options.unrated(&item.readings, &item.parsed) {
            Some(score) => Some(score),
            None => item.graded_score(&self.task),
        }
    }
}

fn check(
    option: &str,
    value: impl Serialize,
    good: bool,
    instead: impl FnOnce() -> String,
) -> Result<(), RewardError> {
    if good {
        return Ok(());
    }
    let value = toml::Value::try_from(value).unwrap_or(toml::Value::Boolean(false));
    Err(bad_option(KIND, option, &value, &instead()))
}

impl Reward for RubricReward {
    fn judge_task(&self) -> Option<JudgeTask> {
        Some(self.task.clone())
    }

    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| self.score_item(item)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Graded;
    use crate::fixtures::{batch, broken_thought, direct, thought};

    fn reward(options: toml::Table) -> RubricReward {
        RubricReward::from_options(&options).unwrap()
    }

    /// A completion that thinks, with the score that the judge gave for `task`.
    fn rated(reward: &RubricReward, answer: &str, score: Option<f64>) -> RewardItem {
        let task = Arc::new(reward.task.clone());
        let graded = Graded { score, ..Graded::missing(task, "no rating".to_owned()) };
        RewardItem { graded: vec![graded], ..thought(0, answer, None, None) }
    }

    #[test]
    fn a_right_answer_scores_its_ratings_and_the_others_are_not_rated() {
        let mut reward = reward(toml::toml! { no_think = 0.25 });
        let items = vec![
            rated(&reward, "dog", Some(0.6)),
            rated(&reward, "dog", None),
            thought(0, "dog", None, None),
            rated(&reward, "cat", Some(0.9)),
            broken_thought(0),
            direct(0, "dog"),
            direct(0, "cat"),
        ];
        let expected = [Some(0.6), None, None, Some(0.0), Some(0.0), Some(0.25), Some(0.0)];
        assert_eq!(reward.score(&batch(1, items)).unwrap(), expected, "a missing rating is None and never 0");
    }

    #[test]
    fn without_only_correct_wrong_answers_are_rated_too() {
        let mut reward = reward(toml::toml! { only_correct = false });
        let items = vec![rated(&reward, "cat", Some(0.9)), broken_thought(0), direct(0, "cat")];
        assert_eq!(reward.score(&batch(1, items)).unwrap(), [Some(0.9), Some(0.0), Some(0.0)]);
    }

    #[test]
    fn the_result_of_another_task_is_not_used() {
        let (mut one, other) = (reward(toml::toml! { raters = 3 }), reward(toml::toml! { raters = 5 }));
        let items = vec![rated(&other, "dog", Some(0.6))];
        assert_eq!(one.score(&batch(1, items)).unwrap(), [None]);
    }

    #[test]
    fn options_that_leave_no_rating_are_refused() {
        let error = |options: toml::Table| RubricReward::from_options(&options).unwrap_err().to_string();
        assert_eq!(
            error(toml::toml! { raters = 2 }),
            "reward kind `rubric`: `raters = 2` cannot be used: with `trim = 1` it takes 3 to 99 ratings"
        );
        assert!(RubricReward::from_options(&toml::toml! { raters = 1 trim = 0 }).is_ok());
        for options in [
            toml::toml! { criteria = 0 },
            toml::toml! { temperature = -1.0 },
            toml::toml! { no_think = nan },
            toml::toml! { column = " " },
            toml::toml! { raters = 1000 },
            toml::toml! { judge = 3 },
        ] {
            assert!(error(options.clone()).contains("cannot be used"), "{options}");
        }
        assert!(error(toml::toml! { rater = 3 }).contains("did you mean `raters`?"));
    }
}
