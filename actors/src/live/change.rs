//! A change of what rewards an arm's completions: what can be asked for, and what is wrong with what can't be had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rewards::{Formula, did_you_mean};
use scenarios::{RewardSpec, WeightConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::{Conditions, Rewards};

/// The longest name of a reward or weight, in characters.
const LONGEST_NAME: usize = 100;

/// What is to be other than it is. All of it takes effect at one step boundary, or none of it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// New values of weights; one that followed a course follows it no longer. A name that the new formula brings along
    /// may be new too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// Another formula.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// Rewards to put in place of those of the same name, or beside those there are; `None` takes one out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rewards: BTreeMap<String, Option<RewardSpec>>,
}

/// Since when a change is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The version of the conditions it made.
    pub version: u64,
    /// The first step made under it, counted from 1.
    pub step: u64,
}

/// Why a change was not made; nothing of it was. Each is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It can't be made of what there is.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what to write instead.
        message: String,
        /// Where in the formula, in characters from 0.
        place: Option<usize>,
    },
    /// A new reward did not stand its trial.
    #[error("`{reward}` is not let in, and what was in force stays: {message}")]
    Probe {
        /// The reward.
        reward: String,
        /// What it did.
        message: String,
    },
    /// The arm has ended, or ended before the change could take effect.
    #[error("arm `{arm}` (seed {seed}) has ended; the change was not made")]
    Ended {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
    },
    /// An arm that is not trained by rewards.
    #[error("arm `{arm}` is not trained by rewards; there is nothing to change")]
    NoRewards {
        /// The arm.
        arm: String,
    },
    /// It could not be written down, or something failed on our side.
    #[error("{0}")]
    Failed(String),
}

impl ChangeError {
    pub(super) fn invalid(message: String) -> Self {
        ChangeError::Invalid { message, place: None }
    }
}

/// A change that fits the conditions it was drafted on.
pub(super) struct Draft {
    formula: Arc<Formula>,
    weights: BTreeMap<String, WeightConfig>,
}

impl Change {
    /// The same with paths that do not hang on where they are read: relative ones start from `folder`.
    pub(super) fn anchored(mut self, folder: &Path) -> Self {
        for spec in self.rewards.values_mut() {
            *spec = spec.take().map(|spec| spec.anchored(folder));
        }
        self
    }

    /// Looks whether the change can be made of `now`.
    pub(super) fn draft(&self, now: &Conditions) -> Result<Draft, ChangeError> {
        if *self == Change::default() {
            return Err(ChangeError::invalid(
                "the change is empty; give weights, a formula or rewards".into(),
            ));
        }
        let components = self.components(now)?;
        let mut weights = now.weights.clone();
        for (name, value) in &self.weights {
            if !value.is_finite() {
                return Err(ChangeError::invalid(format!(
                    "the weight `{name}` is {value}; give a number such as 0.5"
                )));
            }
            weights.insert(name.clone(), WeightConfig::Constant(*value));
        }
        let formula = if self.formula.is_none() && self.rewards.is_empty() {
            now.formula.clone()
        } else {
            self.parse(now, &components, &weights)?
        };
        // A weight that was there may be without use for a while; a new one without use is a misspelt one.
        let unused = |name: &&String| {
            !now.weights.contains_key(*name) && !formula.weight_names().any(|used| used == name.as_str())
        };
        if let Some(name) = self.weights.keys().find(unused) {
            let hint = did_you_mean(name, now.weights.keys().map(String::as_str));
            return Err(ChangeError::invalid(format!("no formula uses the weight `{name}`{hint}")));
        }
        Ok(Draft { formula, weights })
    }

    /// The names of the components there will be.
    fn components(&self, now: &Conditions) -> Result<BTreeSet<String>, ChangeError> {
        let mut components: BTreeSet<String> = now.rewards.keys().cloned().collect();
        for (name, spec) in &self.rewards {
            if spec.is_some() {
                check_name(name)?;
                components.insert(name.clone());
            } else if !components.remove(name) {
                let hint = did_you_mean(name, now.rewards.keys().map(String::as_str));
                return Err(ChangeError::invalid(format!("there is no reward `{name}` to take out{hint}")));
            }
        }
        Ok(components)
    }

    fn parse(
        &self,
        now: &Conditions,
        components: &BTreeSet<String>,
        weights: &BTreeMap<String, WeightConfig>,
    ) -> Result<Arc<Formula>, ChangeError> {
        if self.formula.is_none()
            && let Some(used) = now.formula.component_names().find(|name| !components.contains(*name))
        {
            return Err(ChangeError::invalid(format!(
                "`{used}` can't be taken out, for the formula `{}` uses it; give a formula without it in the same change",
                now.formula.text()
            )));
        }
        let text = self.formula.as_deref().unwrap_or(now.formula.text());
        Formula::parse(text, components, weights.keys()).map(Arc::new).map_err(|error| ChangeError::Invalid {
            message: error.to_string(),
            place: self.formula.as_ref().and(error.column()).map(|column| column - 1),
        })
    }
}

impl Draft {
    /// The conditions that come of it, with the rewards that were made for it.
    pub(super) fn conditions(
        self,
        version: u64,
        now: &Conditions,
        change: &Change,
        made: &Rewards,
    ) -> Conditions {
        let mut rewards = now.rewards.clone();
        rewards.retain(|name, _| change.rewards.get(name) != Some(&None));
        rewards.extend(made.iter().map(|(name, reward)| (name.clone(), reward.clone())));
        Conditions { version, formula: self.formula, weights: self.weights, rewards }
    }
}

fn check_name(name: &str) -> Result<(), ChangeError> {
    let good = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    if name.trim() == name && (1..=LONGEST_NAME).contains(&name.chars().count()) && name.chars().all(good) {
        return Ok(());
    }
    let shown: String = name.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    Err(ChangeError::invalid(format!(
        "`{shown}` is no name for a reward; use letters, digits, - and _, {LONGEST_NAME} at the most"
    )))
}
