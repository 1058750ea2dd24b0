//! Answer from the caption, 0 or 1: can the answer that was given be found from the completion's thinking alone? The judge's
//! server answers the question from the thinking, or from the caption in it, without hearing the clip and without being shown
//! the answer. The score is 1 if both answers are the same, as CapRL (arXiv 2509.22647) rewards captions by what a model
//! answers from them.
//!
//! `consistency` shows the judge the answer and asks whether the thinking supports it; here the judge does not know it, so
//! that it can't be led by it. A completion that does not think scores `no_think`, a malformed one 0; a reply that could not
//! be had is `None` (REWARD-1).
//!
//! Deviations: CapRL compares with the right answer (`target = "gold"`), for captions of images, and averages several
//! questions per caption.

use crate::judge::caption::{AnswerTask, Description};
use crate::options::bad_option;
use crate::{JudgeTask, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "answer-from-caption";

/// The answer-from-caption reward.
#[derive(Clone, Debug)]
pub struct AnswerFromCaption {
    task: JudgeTask,
    options: AnswerTask,
}

impl AnswerFromCaption {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let options: AnswerTask = read_options(KIND, options)?;
        if !options.no_think.is_finite() {
            let value = toml::Value::Float(options.no_think);
            return Err(bad_option(KIND, "no_think", &value, "expected a finite number, such as 0.5"));
        }
        Ok(Self { task: JudgeTask::AnswerFromCaption(options.clone()), options })
    }

    fn score_item(&self, item: &RewardItem) -> Option<f64> {
        let description = Description::of(&item.parsed, &self.options.tag, self.options.no_think);
        match description.unjudged() {
            Some(score) => Some(score),
            None => item.graded_score(&self.task),
        }
    }
}

impl Reward for AnswerFromCaption {
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

    #[test]
    fn what_is_not_judged_has_its_own_score_and_a_missing_one_is_none() {
        let mut reward = AnswerFromCaption::from_options(&toml::Table::new()).unwrap();
        let task = Arc::new(reward.task.clone());
        let judged = |score| {
            let graded = Graded { score, ..Graded::missing(task.clone(), String::new()) };
            RewardItem { graded: vec![graded], ..thought(0, "cat", None, None) }
        };
        let items = vec![judged(Some(1.0)), judged(None), broken_thought(0), direct(0, "dog")];
        assert_eq!(reward.score(&batch(1, items)).unwrap(), [Some(1.0), None, Some(0.0), Some(1.0)]);
        let error =
            AnswerFromCaption::from_options(&toml::toml! { target = "truth" }).unwrap_err().to_string();
        assert!(error.contains("expected `completion` or `gold`"), "{error}");
    }
}
