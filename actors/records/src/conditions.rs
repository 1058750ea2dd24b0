//! What rewards an arm's completions, as it is kept in checkpoints.

use std::collections::BTreeMap;

use scenarios::{ArmConfig, RewardSpec, WeightConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::journal::Change;

/// The formula, its weights and the rewards of one version of an arm's conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConditionsRecord {
    /// 0 as the scenario has them; one more with every change.
    pub version: u64,
    /// The shaping formula as written, such as `format + w_think * think`.
    pub formula: String,
    /// By weight name, without the prefix `w_`.
    pub weights: BTreeMap<String, WeightConfig>,
    /// By the name that the formula uses.
    pub rewards: BTreeMap<String, RewardSpec>,
    /// Settings with other values than the scenario's, by their dotted names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Value>,
}

impl ConditionsRecord {
    /// Version 0: what the scenario sets.
    pub fn of(config: &ArmConfig) -> Self {
        ConditionsRecord {
            version: 0,
            formula: config.shaping.formula.clone(),
            weights: config.shaping.weights.clone(),
            rewards: config.rewards.clone(),
            settings: BTreeMap::new(),
        }
    }

    /// Puts a change on top, which makes `version`. Whether it fits is checked when it is ordered, not here.
    pub fn apply(&mut self, change: &Change, version: u64) {
        self.version = version;
        let constant = |(name, value): (&String, &f64)| (name.clone(), WeightConfig::Constant(*value));
        self.weights.extend(change.weights.iter().map(constant));
        if let Some(formula) = &change.formula {
            self.formula.clone_from(formula);
        }
        for (name, spec) in &change.rewards {
            match spec {
                Some(spec) => drop(self.rewards.insert(name.clone(), spec.clone())),
                None => drop(self.rewards.remove(name)),
            }
        }
        self.settings.extend(change.settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// The values that a change of the arm `config` replaces, as the journal has them in `from`.
    pub fn replaced_by(&self, change: &Change, config: &ArmConfig) -> Value {
        let mut replaced = Map::new();
        if !change.weights.is_empty() {
            let old = |name: &String| (name.clone(), json!(self.weights.get(name)));
            replaced.insert("weights".into(), Value::Object(change.weights.keys().map(old).collect()));
        }
        if change.formula.is_some() {
            replaced.insert("formula".into(), json!(self.formula));
        }
        if !change.rewards.is_empty() {
            let old = |name: &String| (name.clone(), json!(self.rewards.get(name)));
            replaced.insert("rewards".into(), Value::Object(change.rewards.keys().map(old).collect()));
        }
        if !change.settings.is_empty() {
            let began = config.live_settings();
            let old =
                |name: &String| (name.clone(), json!(self.settings.get(name).or_else(|| began.get(name))));
            replaced.insert("settings".into(), Value::Object(change.settings.keys().map(old).collect()));
        }
        Value::Object(replaced)
    }
}
