//! Think reward R_t in {0, 0.1, …, 1} (arXiv 2508.08039v3, a summand of Eq. 7): the quality of the thinking itself.
//!
//! For a well-formed think completion the score is the judge's, whether or not the answer is right. A malformed think
//! completion scores 0. A no-think completion scores the mean R_t of the think completions in its scope, so that it
//! neither gains nor loses by not thinking. A missing verdict makes the score `None` (REWARD-1) and is left out of the
//! mean. If the scope has think completions but none of them has a score, the no-think completions score `None` too.
//!
//! Its options in a scenario:
//! - `scope = "step" | "group" | "microbatch"` (default `step`): the completions over which the mean is computed. The
//!   paper says "batch" without defining it.
//! - `all_no_think = 0.0` (default; any finite number): the score of no-think completions in a scope without think
//!   completions, which the paper does not define.

use serde::{Deserialize, Serialize};

use crate::options::bad_option;
use crate::statistics::{BatchStatistics, Scope, think_quality};
use crate::{Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "think";

/// The options of `think`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThinkOptions {
    /// The completions over which the mean R_t is computed.
    pub scope: Scope,
    /// R_t of no-think completions in a scope without think completions; finite.
    pub all_no_think: f64,
}

/// The think reward R_t.
#[derive(Clone, Debug, Default)]
pub struct Think {
    options: ThinkOptions,
}

impl Think {
    /// The reward with these options.
    pub fn new(options: ThinkOptions) -> Self {
        Self { options }
    }

    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assert_scores, batch, broken_thought, direct, item, thought};

    fn scores(options: ThinkOptions, items: Vec<RewardItem>) -> Vec<Option<f64>> {
        Think::new(options).score(&batch(1, items)).unwrap()
    }

    #[test]
    fn no_think_completions_score_the_mean_of_the_think_completions() {
        // (0.9 + 0.4 + 0.2) / 3 = 0.5, whatever the answers
        let items = vec![
            thought(0, "dog", None, Some(0.9)),
            thought(0, "cat", None, Some(0.4)),
            direct(1, "dog"),
            thought(1, "dog", None, Some(0.2)),
            direct(2, "cat"),
            item(2, "dog"),
        ];
        assert_scores(&scores(ThinkOptions::default(), items), &[0.9, 0.4, 0.5, 0.2, 0.5, 0.5].map(Some));
    }

    #[test]
    fn with_scope_group_the_mean_is_over_the_group() {
        let items = vec![
            thought(0, "dog", None, Some(0.9)),
            direct(0, "dog"),
            thought(1, "dog", None, Some(0.3)),
            direct(1, "dog"),
            direct(2, "dog"),
        ];
        let options = ThinkOptions { scope: Scope::Group, all_no_think: 0.25 };
        assert_scores(&scores(options, items), &[0.9, 0.9, 0.3, 0.3, 0.25].map(Some));
    }

    #[test]
    fn without_think_completions_the_constant_is_the_score() {
        let no_think = || vec![direct(0, "dog"), direct(0, "cat")];
        assert_eq!(scores(ThinkOptions::default(), no_think()), [Some(0.0); 2]);
        let options = ThinkOptions { all_no_think: 0.5, ..ThinkOptions::default() };
        assert_eq!(scores(options, no_think()), [Some(0.5); 2]);
    }

    #[test]
    fn malformed_thinking_scores_zero_and_counts_in_the_mean() {
        // (0.8 + 0) / 2 = 0.4
        let items = vec![thought(0, "dog", None, Some(0.8)), broken_thought(0), direct(0, "dog")];
        assert_scores(&scores(ThinkOptions::default(), items), &[0.8, 0.0, 0.4].map(Some));
    }

    #[test]
    fn a_missing_verdict_is_none_and_left_out_of_the_mean() {
        let items = vec![thought(0, "dog", None, Some(0.6)), thought(0, "dog", None, None), direct(0, "dog")];
        assert_scores(&scores(ThinkOptions::default(), items), &[Some(0.6), None, Some(0.6)]);
        let judge_is_down = vec![thought(0, "dog", None, None), direct(0, "dog")];
        assert_eq!(scores(ThinkOptions::default(), judge_is_down), [None, None], "an unknown mean is not 0");
    }

    #[test]
    fn options_are_read_and_refused_by_name() {
        assert!(Think::from_options(&toml::toml! { all_no_think = 1 scope = "group" }).is_ok());
        let error = |options: toml::Table| Think::from_options(&options).unwrap_err().to_string();
        assert_eq!(
            error(toml::toml! { scop = "step" }),
            "reward kind `think` has no option `scop`; did you mean `scope`? (known: all_no_think, scope)",
        );
        assert_eq!(
            error(toml::toml! { scope = "batch" }),
            "reward kind `think`: `scope = \"batch\"` cannot be used: \
             unknown variant `batch`, expected one of `step`, `group`, `microbatch`",
        );
        assert_eq!(
            error(toml::toml! { all_no_think = "half" }),
            "reward kind `think`: `all_no_think = \"half\"` cannot be used: \
             invalid type: string \"half\", expected f64",
        );
        assert_eq!(
            error(toml::toml! { all_no_think = nan }),
            "reward kind `think`: `all_no_think = nan` cannot be used: expected a finite number, such as 0.5",
        );
    }
}
