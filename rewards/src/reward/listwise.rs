//! Listwise reward in [0, 1]: the judge's server puts the completions of a group in order, best first, and the score is the
//! normalised rank, (n − rank) / (n − 1). Equal completions share a rank, and malformed ones come last
//! ([`ranking`](crate::judge::ranking)).
//!
//! With `orders` above 1, the group is put in order several times, each time shown in another one, and the score is the mean.
//! A reply that does not name each completion once is no order; without any order the well-formed completions have no score.

use crate::judge::ranking::ListwiseTask;
use crate::options::bad_option;
use crate::{JudgeTask, Reward, RewardBatch, RewardError, read_options};

use super::ranked::scores;

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "listwise";

/// Most orders of a group.
const MOST_ORDERS: usize = 99;

/// The listwise reward.
#[derive(Clone, Debug)]
pub struct Listwise {
    task: JudgeTask,
}

impl Listwise {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let task: ListwiseTask = read_options(KIND, options)?;
        if !(1..=MOST_ORDERS).contains(&task.orders) {
            let value = toml::Value::Integer(task.orders as i64);
            let instead = format!("write a number from 1 to {MOST_ORDERS}");
            return Err(bad_option(KIND, "orders", &value, &instead));
        }
        Ok(Self { task: JudgeTask::Listwise(task) })
    }
}

impl Reward for Listwise {
    fn judge_task(&self) -> Option<JudgeTask> {
        Some(self.task.clone())
    }

    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(scores(&self.task, batch))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixtures::{batch, broken_thought, direct};
    use crate::{Graded, RewardItem};

    #[test]
    fn a_malformed_completion_scores_zero_and_a_missing_order_is_none() {
        let mut reward = Listwise::from_options(&toml::Table::new()).unwrap();
        let task = Arc::new(reward.task.clone());
        let graded = |score| Graded { score, ..Graded::missing(task.clone(), String::new()) };
        let ranked = |score| RewardItem { graded: vec![graded(score)], ..direct(0, "dog") };
        let items = vec![ranked(Some(1.0)), ranked(None), direct(0, "dog"), broken_thought(0)];
        assert_eq!(reward.score(&batch(1, items)).unwrap(), [Some(1.0), None, None, Some(0.0)]);
    }

    #[test]
    fn options_are_read_and_refused_by_name() {
        assert!(Listwise::from_options(&toml::toml! { orders = 3 show_answer = true }).is_ok());
        let error = Listwise::from_options(&toml::toml! { orders = 0 }).unwrap_err().to_string();
        assert_eq!(error, "reward kind `listwise`: `orders = 0` cannot be used: write a number from 1 to 99");
    }
}
