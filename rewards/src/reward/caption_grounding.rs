//! Caption grounding in [0, 1]: the share of what a completion's thinking says about its clip that a caption of the clip
//! supports, as FActScore (arXiv 2305.14251) takes the share of a text's facts that a source supports.
//!
//! The judge's server reads the row's caption and the thinking, and marks each statement about the sound as supported or not.
//! Thinking without a statement about the sound scores `no_statement`. A row without a caption has no score, and neither has a
//! completion about which the judge did not answer (REWARD-1). A malformed completion scores 0, one that does not think
//! `no_think`.
//!
//! Deviation: FActScore splits the text into facts first and asks about each; here one request does both.

use crate::judge::caption::{Description, GroundingTask};
use crate::options::bad_option;
use crate::{JudgeTask, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "caption-grounding";

/// The caption-grounding reward.
#[derive(Clone, Debug)]
pub struct CaptionGrounding {
    task: JudgeTask,
    options: GroundingTask,
}

impl CaptionGrounding {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let options: GroundingTask = read_options(KIND, options)?;
        for (name, score) in [("no_statement", options.no_statement), ("no_think", options.no_think)] {
            if !score.is_finite() {
                let value = toml::Value::Float(score);
                return Err(bad_option(KIND, name, &value, "expected a finite number, such as 0.5"));
            }
        }
        if options.column.trim().is_empty() {
            let value = toml::Value::String(options.column);
            return Err(bad_option(
                KIND,
                "column",
                &value,
                "write the name of a column, such as \"caption\"",
            ));
        }
        Ok(Self { task: JudgeTask::CaptionGrounding(options.clone()), options })
    }

    fn score_item(&self, item: &RewardItem) -> Option<f64> {
        let description = Description::of(&item.parsed, &self.options.tag, self.options.no_think);
        match description.unjudged() {
            Some(score) => Some(score),
            None => item.graded_score(&self.task),
        }
    }
}

impl Reward for CaptionGrounding {
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
        let mut reward = CaptionGrounding::from_options(&toml::toml! { no_think = 0.25 }).unwrap();
        let task = Arc::new(reward.task.clone());
        let judged = |score| {
            let graded = Graded { score, ..Graded::missing(task.clone(), String::new()) };
            RewardItem { graded: vec![graded], ..thought(0, "cat", None, None) }
        };
        let items = vec![judged(Some(0.75)), judged(None), broken_thought(0), direct(0, "dog")];
        let expected = [Some(0.75), None, Some(0.0), Some(0.25)];
        assert_eq!(reward.score(&batch(1, items)).unwrap(), expected);
    }

    #[test]
    fn options_are_refused_by_name() {
        for options in
            [toml::toml! { no_think = nan }, toml::toml! { column = "" }, toml::toml! { tagg = "x" }]
        {
            assert!(CaptionGrounding::from_options(&options).is_err(), "{options}");
        }
    }
}
