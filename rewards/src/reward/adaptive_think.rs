//! Adaptive-think accuracy R_a (arXiv 2508.08039v3, Eq. 3-5): rewards a right answer, and more so without thinking.
//!
//! With λ the fraction of think completions, s the step and T the number of steps:
//!
//! ```text
//! γ_think    = exp(-λ·(1 - s/T))            γ_nothink = exp(-(1-λ)·(1 - s/T))
//! case 1  think,    correct   :  γ_think
//! case 2  think,    incorrect : -(1 - γ_think)
//! case 3  no-think, correct   :  2·γ_nothink
//! case 4  no-think, incorrect : -γ_nothink - 2·(1 - γ_nothink)
//! ```
//!
//! The factors γ lower the reward of the mode that is more frequent in the batch, so that neither mode vanishes early
//! in training. At s = T both are 1 and the base values +1, 0, +2 and -1 remain. A malformed completion counts as
//! incorrect; PARSE-2 defines its mode.
//!
//! Its options in a scenario:
//! - `scope = "step" | "group" | "microbatch"` (default `step`): the completions over which λ is computed. The paper
//!   says "batch" without defining it.
//! - `balance = true` (default): `false` sets both γ to 1 from the first step on, which is not in the paper.
//! - `reading = "strict" | "official" | "lenient"` (default `strict`): when an answer counts as right, as for `accuracy`.

use serde::{Deserialize, Serialize};

use crate::statistics::{BatchStatistics, Scope};
use crate::{Reading, Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "adaptive-think";

/// The options of `adaptive-think`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveThinkOptions {
    /// The completions over which λ is computed.
    pub scope: Scope,
    /// Whether γ lowers the reward of the more frequent mode; if not, both γ are 1.
    pub balance: bool,
    /// The reading that decides whether an answer is right.
    pub reading: Reading,
}

impl Default for AdaptiveThinkOptions {
    fn default() -> Self {
        Self { scope: Scope::default(), balance: true, reading: Reading::default() }
    }
}

/// The adaptive-think reward R_a.
#[derive(Clone, Debug, Default)]
pub struct AdaptiveThink {
    options: AdaptiveThinkOptions,
}

impl AdaptiveThink {
    /// The reward with these options.
    pub fn new(options: AdaptiveThinkOptions) -> Self {
        Self { options }
    }

    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: An option is unknown or its value does not fit.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        Ok(Self::new(read_options(KIND, options)?))
    }
}

impl Reward for AdaptiveThink {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let statistics = BatchStatistics::of(batch, self.options.scope);
        let remaining = if self.options.balance { batch.remaining() } else { 0.0 };
        let score = |item: &RewardItem| {
            let lambda = statistics.around(item).think_fraction();
            adaptive_accuracy(item.thinks(), item.readings.earns(self.options.reading), lambda, remaining)
        };
        Ok(batch.items.iter().map(|item| Some(score(item))).collect())
    }
}

/// Eq. 3-5 for one completion. `lambda` is λ, and `remaining` is `1 - s/T`, both in 0..=1.
fn adaptive_accuracy(thinks: bool, correct: bool, lambda: f64, remaining: f64) -> f64 {
    let gamma_think = (-lambda * remaining).exp();
    let gamma_no_think = (-(1.0 - lambda) * remaining).exp();
    match (thinks, correct) {
        (true, true) => gamma_think,
        (true, false) => -(1.0 - gamma_think),
        (false, true) => 2.0 * gamma_no_think,
        (false, false) => -gamma_no_think - 2.0 * (1.0 - gamma_no_think),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assert_scores, batch, broken_thought, direct, item, thought};

    fn scores(options: AdaptiveThinkOptions, batch: &RewardBatch) -> Vec<Option<f64>> {
        AdaptiveThink::new(options).score(batch).unwrap()
    }

    fn four_cases(group: usize) -> Vec<RewardItem> {
        vec![
            thought(group, "dog", None, None),
            thought(group, "cat", None, None),
            direct(group, "dog"),
            direct(group, "cat"),
        ]
    }

    #[test]
    fn all_four_cases_at_half_thinking_halfway_through() {
        // λ = 1/2, 1 - s/T = 1/2: both γ = exp(-1/4) = 0.7788007830714049
        // think: γ; -(1 - γ) = -0.2211992169285951
        // no-think: 2γ = 1.5576015661428098; -γ - 2(1 - γ) = γ - 2 = -1.221199216928595
        let expected = [0.7788007830714049, -0.2211992169285951, 1.5576015661428098, -1.221199216928595];
        assert_scores(
            &scores(AdaptiveThinkOptions::default(), &batch(50, four_cases(0))),
            &expected.map(Some),
        );
    }

    #[test]
    fn without_balance_the_base_values_stand_from_the_first_step() {
        let options = AdaptiveThinkOptions { balance: false, ..AdaptiveThinkOptions::default() };
        assert_scores(&scores(options, &batch(1, four_cases(0))), &[1.0, 0.0, 2.0, -1.0].map(Some));
    }

    #[test]
    fn the_mode_that_fills_the_batch_is_paid_less() {
        // Three of four think, at 1 - s/T = 4/5: λ = 3/4,
        // γ_think = exp(-0.6) = 0.5488116360940264, γ_nothink = exp(-0.2) = 0.8187307530779818
        // case 1: 0.5488116360940264; case 2: -0.4511883639059736; case 4:
        // γ_nothink - 2 = -1.1812692469220182
        let items = vec![
            thought(0, "dog", None, None),
            thought(0, "cat", None, None),
            thought(0, "cat", None, None),
            direct(0, "cat"),
        ];
        let expected = [0.5488116360940264, -0.4511883639059736, -0.4511883639059736, -1.1812692469220182];
        assert_scores(&scores(AdaptiveThinkOptions::default(), &batch(20, items)), &expected.map(Some));
    }

    #[test]
    fn one_mode_alone_in_the_batch() {
        // λ = 0 at 1 - s/T = 1/2: γ_nothink = exp(-1/2) = 0.6065306597126334
        // case 3: 1.2130613194252668; case 4: γ - 2 = -1.3934693402873666
        let no_think =
            scores(AdaptiveThinkOptions::default(), &batch(50, vec![direct(0, "dog"), direct(0, "cat")]));
        assert_scores(&no_think, &[Some(1.2130613194252668), Some(-1.3934693402873666)]);
        // λ = 1: γ_think = exp(-1/2); case 1: 0.6065306597126334; case 2: -0.3934693402873666
        let items = vec![thought(0, "dog", None, None), thought(0, "cat", None, None)];
        let think = scores(AdaptiveThinkOptions::default(), &batch(50, items));
        assert_scores(&think, &[Some(0.6065306597126334), Some(-0.3934693402873666)]);
    }

    #[test]
    fn at_the_last_step_the_base_values_stand() {
        let expected = [1.0, 0.0, 2.0, -1.0].map(Some);
        assert_scores(&scores(AdaptiveThinkOptions::default(), &batch(100, four_cases(0))), &expected);
        // A step past the last one, or a run of unknown length, counts as the last step.
        assert_scores(&scores(AdaptiveThinkOptions::default(), &batch(101, four_cases(0))), &expected);
        let endless = RewardBatch { total_steps: 0, ..batch(7, four_cases(0)) };
        assert_scores(&scores(AdaptiveThinkOptions::default(), &endless), &expected);
    }

    #[test]
    fn malformed_completions_are_incorrect_and_count_in_lambda_by_whether_they_opened_a_think() {
        // λ = 1/2 at s = T/2: as in all_four_cases
        let items = vec![broken_thought(0), item(0, "dog")];
        let expected = [-0.2211992169285951, -1.221199216928595].map(Some);
        assert_scores(&scores(AdaptiveThinkOptions::default(), &batch(50, items)), &expected);
    }

    #[test]
    fn with_scope_group_each_prompt_has_its_own_lambda() {
        // λ is 1 in group 0 and 0 in group 1; at s = T/2 each γ is exp(-1/2).
        let items = vec![
            thought(0, "dog", None, None),
            thought(0, "dog", None, None),
            direct(1, "dog"),
            direct(1, "dog"),
        ];
        let by_group = scores(
            AdaptiveThinkOptions { scope: Scope::Group, ..AdaptiveThinkOptions::default() },
            &batch(50, items.clone()),
        );
        let (think, no_think) = (Some(0.6065306597126334), Some(1.2130613194252668));
        assert_scores(&by_group, &[think, think, no_think, no_think]);
        // Over the step, λ = 1/2: γ = exp(-1/4).
        let by_step = scores(AdaptiveThinkOptions::default(), &batch(50, items));
        let (think, no_think) = (Some(0.7788007830714049), Some(1.5576015661428098));
        assert_scores(&by_step, &[think, think, no_think, no_think]);
    }
}
