//! `[limits]`: the health of a policy in training, and what happens when it has died.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[limits]`: when the policy of an arm counts as dead, and what happens then. Weights that are not finite are always
/// beyond the limits. A limit of 0 is none. An arm with fewer steps than a limit is measured by all of its steps, if they
/// are 20 or more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// What happens to an arm beyond a limit: it ends with the reason (`fail`), it pauses until it is resumed (`pause`;
    /// without a control channel it ends), or it goes on with a warning (`ignore`). The report marks it in any case.
    pub action: LimitAction,
    /// Number of steps in a row without an optimizer step, because the gradient was not finite.
    pub skipped_steps: u64,
    /// Largest fraction of the last 20 steps without an optimizer step, 0 to 1. 1 never stops the arm. An arm with fewer
    /// steps is measured by all of them, when it ends.
    pub skipped_fraction: f64,
    /// Number of steps in a row in which every group has equal rewards, so that there is nothing to learn from.
    pub equal_reward_steps: u64,
    /// Number of steps in a row with collapsed completions: all are empty or of a single token, or all are the same
    /// although the questions have different answers.
    pub collapsed_steps: u64,
    /// A step is a spike if its gradient norm or its loss is this many times the mean of the steps before it; above 1.
    pub spike_factor: f64,
    /// Number of spikes in a row.
    pub spike_steps: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            action: LimitAction::Fail,
            skipped_steps: 10,
            skipped_fraction: 0.5,
            equal_reward_steps: 50,
            collapsed_steps: 20,
            spike_factor: 100.0,
            spike_steps: 10,
        }
    }
}

/// What happens to an arm whose policy has died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitAction {
    /// The arm pauses until it is resumed; without a control channel it ends.
    Pause,
    /// The arm ends with the reason.
    #[default]
    Fail,
    /// The arm goes on with a warning.
    Ignore,
}
