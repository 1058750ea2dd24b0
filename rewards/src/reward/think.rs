//! Think R_t in {0, 0.1, …, 1} (arXiv 2508.08039v3): how good is the thinking in itself?
//!
//! The judge says, for well-formed think completions, whatever their answer; a malformed think completion gets 0. A
//! no-think completion gets the mean R_t of the think completions around it, so that it neither gains nor loses by
//! not thinking. A verdict that could not be had is `None` (REWARD-1) and left out of the mean; if completions around
//! it thought but not one verdict could be had, the no-think completion's score is `None` too.
//!
//! Options:
//! - `scope = "step" | "group" | "microbatch"` (default `step`): the completions over which the mean is taken.
//! - `all_no_think = 0.0` (default; any number): R_t where none of them thought, which the paper leaves open.

use serde::{Deserialize, Serialize};

use crate::registry::bad_option;
use crate::statistics::{BatchStatistics, Scope, think_quality};
use crate::{Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The name in a scenario.
pub const KIND: &str = "think";

/// The options of `think`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThinkOptions {
    /// The completions over which the mean R_t is taken.
    pub scope: Scope,
    /// R_t of no-think completions where none of them thought.
    pub all_no_think: f64,
}

/// R_t.
#[derive(Clone, Debug, Default)]
pub struct Think {
    options: ThinkOptions,
}

impl Think {
    /// R_t under these options.
    pub fn new(options: ThinkOptions) -> Self {
        Self { options }
    }

    /// # Errors
    /// An option is unknown or unusable.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        let read: ThinkOptions = read_options(KIND, options)?;
        if !read.all_no_think.is_finite() {
            let value = toml::Value::Float(read.all_no_think);
            return Err(bad_option(KIND, "all_no_think", &value, "expected a finite number, such as 0.5"));
        }
        Ok(Self::new(read))
    }

    fn score_item(&self, item: &RewardItem, statistics: &BatchStatistics) -> Option<f64> {
        if item.thinks() {
            return think_quality(item);
        }
        let around = statistics.around(item);
        if around.think == 0 { Some(self.options.all_no_think) } else { around.mean_quality() }
    }
}

impl Reward for Think {
    fn needs_verdict(&self) -> bool {
        true
    }

    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let statistics = BatchStatistics::of(batch, self.options.scope);
        Ok(batch.items.iter().map(|item| self.score_item(item, &statistics)).collect())
    }
}
