//! `[selection]`: which prompts and completions a GRPO step trains on. `docs/algorithms.md` compares it with other systems.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[selection]`: which prompts and completions a step of an arm with `method = "grpo"` trains on. Everything is drawn from
/// the seed, so a run can be repeated and resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionConfig {
    /// Dynamic sampling: how many times a step samples further prompts in place of those whose rewards are all equal, from
    /// which nothing is learned. These groups are then discarded. 0 trains on the step's own prompts.
    pub extra_rounds: u64,
    /// Number of completions of each group that are trained on, those whose rewards have the greatest variance; 2 to
    /// `sampling.group_size`. 0 keeps all.
    pub keep_completions: usize,
    /// Range of pass rates. A question whose last answers were right less or more often than this is not asked again: another
    /// one is drawn in its place. Two fractions, both ends included.
    pub pass_rate: [f64; 2],
    /// Fraction of a step's prompts, 0 to 1, that are questions asked before, preferably such with a pass rate near
    /// `revisit_target`.
    pub revisit_share: f64,
    /// The pass rate that is preferred in the first step and in the last; between them it changes linearly. Two fractions:
    /// `[0.0, 0.0]` asks the hardest questions again, `[0.8, 0.2]` begins with easy ones.
    pub revisit_target: [f64; 2],
}

impl Default for SelectionConfig {
    fn default() -> Self {
        Self {
            extra_rounds: 0,
            keep_completions: 0,
            pass_rate: [0.0, 1.0],
            revisit_share: 0.0,
            revisit_target: [0.5, 0.5],
        }
    }
}

impl SelectionConfig {
    /// Whether nothing of it is used.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the pass rates of questions decide what is asked.
    pub fn uses_pass_rates(&self) -> bool {
        self.revisit_share > 0.0 || self.pass_rate != Self::default().pass_rate
    }
}
