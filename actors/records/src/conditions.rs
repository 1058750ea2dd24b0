//! What rewards an arm's completions, as it is kept in checkpoints.

use std::collections::BTreeMap;

use scenarios::{ArmConfig, RewardSpec, WeightConfig};
use serde::{Deserialize, Serialize};

/// The formula, its weights and the rewards of one version of an arm's conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionsRecord {
    /// 0 as the scenario has them; one more with every change.
    pub version: u64,
    /// The shaping formula as written, such as `format + w_think * think`.
    pub formula: String,
    /// By weight name, without the prefix `w_`.
    pub weights: BTreeMap<String, WeightConfig>,
    /// By the name that the formula uses.
    pub rewards: BTreeMap<String, RewardSpec>,
}

impl ConditionsRecord {
    /// Version 0: what the scenario sets.
    pub fn of(config: &ArmConfig) -> Self {
        ConditionsRecord {
            version: 0,
            formula: config.shaping.formula.clone(),
            weights: config.shaping.weights.clone(),
            rewards: config.rewards.clone(),
        }
    }
}
