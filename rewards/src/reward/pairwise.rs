//! Pairwise reward in [0, 1]: the judge's server says which of two completions of a group is better, for all pairs or for some,
//! and each pair in both orders. The score is the share of the pairs that a completion wins, or the share of the others that
//! it is expected to beat by a Bradley-Terry model (Bradley and Terry 1952). Equal completions tie, and malformed ones lose
//! ([`ranking`](crate::judge::ranking)).
//!
//! A pair of which one order could not be had is left out, since its position bias would not cancel; a completion without any
//! pair has no score.

use crate::judge::ranking::PairwiseTask;
use crate::{JudgeTask, Reward, RewardBatch, RewardError, read_options};

use super::ranked::scores;

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "pairwise";

/// The pairwise reward.
#[derive(Clone, Debug)]
pub struct Pairwise {
    task: JudgeTask,
}

impl Pairwise {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let task: PairwiseTask = read_options(KIND, options)?;
        Ok(Self { task: JudgeTask::Pairwise(task) })
    }
}

impl Reward for Pairwise {
    fn judge_task(&self) -> Option<JudgeTask> {
        Some(self.task.clone())
    }

    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(scores(&self.task, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_refused_by_name() {
        let options = toml::toml! { pairs = 4 both_orders = false score = "bradley_terry" };
        assert!(Pairwise::from_options(&options).is_ok());
        let error = Pairwise::from_options(&toml::toml! { score = "elo" }).unwrap_err().to_string();
        assert!(error.contains("expected `win_rate` or `bradley_terry`"), "{error}");
    }
}
