//! `fork` of an `[[arm]]`: an arm that begins as a copy of another one after some of its steps.
//!
//! - FORK-1 a fork has every setting of its parent that it does not set itself, in a written scenario and in a resolved
//!   one.
//! - FORK-2 a fork has the policy and the method of its parent, as it goes on with its weights and its optimizer state.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table as Values, Value};

use super::tree::{Content, Node};
use super::{ArmConfig, Experiment, Method};
use crate::error::ScenarioError;

/// `fork` of an arm: which arm it begins as a copy of, and after which of its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkConfig {
    /// The name of the arm that is copied, which must be above this one. The fork has all of its settings that it does not
    /// set itself.
    pub arm: String,
    /// Number of steps after which it is copied: weights, optimizer state, position in the data and records.
    pub step: u64,
    /// The seeds of `run.seeds` under which there is a fork. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
}

impl ForkConfig {
    /// Whether there is a fork under this seed.
    pub fn has_seed(&self, seed: u64) -> bool {
        self.seeds.is_empty() || self.seeds.contains(&seed)
    }
}

impl Experiment {
    /// The forks of an arm under a seed.
    pub fn forks_of(&self, arm: &str, seed: u64) -> impl Iterator<Item = &ArmConfig> {
        let of = move |fork: &ForkConfig| fork.arm == arm && fork.has_seed(seed);
        self.arms.iter().filter(move |config| config.fork.as_ref().is_some_and(of))
    }
}

impl ArmConfig {
    /// The settings in which an arm differs from another, such as `shaping.weights.think = 0 instead of 0.5`.
    pub fn settings_unlike(&self, other: &ArmConfig) -> Vec<String> {
        let (mine, others) = (settings(self), settings(other));
        let names: BTreeSet<&String> = mine.keys().chain(others.keys()).collect();
        let differs = names.into_iter().filter(|name| mine.get(*name) != others.get(*name));
        let told = |name: &String| match (mine.get(name), others.get(name)) {
            (Some(value), Some(other)) => format!("{name} = {value} instead of {other}"),
            (Some(value), None) => format!("{name} = {value}"),
            (None, _) => format!("no {name}"),
        };
        differs.map(told).collect()
    }
}

/// The settings of an arm by their dotted names, without those that name it.
fn settings(arm: &ArmConfig) -> BTreeMap<String, String> {
    let mut values = Values::try_from(arm).unwrap_or_default();
    for key in ["name", "fork"] {
        values.remove(key);
    }
    let mut settings = BTreeMap::new();
    flatten("", &Value::Table(values), &mut settings);
    settings
}

fn flatten(name: &str, value: &Value, settings: &mut BTreeMap<String, String>) {
    let Value::Table(table) = value else {
        settings.insert(name.to_owned(), value.to_string());
        return;
    };
    for (key, value) in table {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        flatten(&name, value, settings);
    }
}

/// The tree of a fork before its own settings: its parent's, without the keys that are the parent's alone.
///
/// Errors: The parent is not above it.
pub(super) fn inherited(over: &Node, above: &[Node]) -> Result<Option<Node>, ScenarioError> {
    let Some(parent) = over.at(&["fork"]).and_then(|fork| fork.text("arm")) else { return Ok(None) };
    let named = |node: &&Node| node.text("name") == Some(parent);
    let Some(found) = above.iter().find(named) else {
        let names: Vec<String> =
            above.iter().filter_map(|node| node.text("name").map(str::to_owned)).collect();
        let instead = match names.is_empty() {
            true => "write the [[arm]] that is copied above this one".to_owned(),
            false => format!("the arms above it are {}", names.join(", ")),
        };
        let problem = format!("`fork` names the arm `{parent}`, which is not above this one");
        return Err(ScenarioError::at(over.place_of(&["fork", "arm"]), problem, instead));
    };
    let mut tree = found.clone();
    if let Content::Table(table) = &mut tree.content {
        table.remove("fork");
    }
    Ok(Some(tree))
}

/// What a fork has to write in a resolved scenario, since it is read over its parent (FORK-1): the rewards of the parent that
/// it lacks.
pub(super) fn without_rewards(values: &mut Values, fork: &ArmConfig, arms: &[ArmConfig]) {
    let parent = fork.fork.as_ref().and_then(|fork| arms.iter().find(|arm| arm.name == fork.arm));
    let Some(parent) = parent else { return };
    let lacks = parent.rewards.keys().filter(|name| !fork.rewards.contains_key(*name));
    let Some(Value::Table(rewards)) = values.get_mut("rewards") else { return };
    rewards.extend(lacks.map(|name| (name.clone(), Value::Boolean(false))));
}

/// Checks that every fork can go on with what its parent has learned (FORK-2).
///
/// Errors: The first mistake, at its place.
pub(super) fn check(arms: &[ArmConfig], places: &[Node], seeds: &[u64]) -> Result<(), ScenarioError> {
    for (arm, tree) in arms.iter().zip(places) {
        let Some(fork) = &arm.fork else { continue };
        let wrong = |key: &str, problem: String, instead: &str| {
            Err(ScenarioError::at(tree.place_of(&["fork", key]), problem, instead))
        };
        let Some(parent) = arms.iter().find(|other| other.name == fork.arm) else {
            let problem = format!("`{}` is a fork of `{}`, which is not among the arms", arm.name, fork.arm);
            return wrong("arm", problem, "choose both with --arm, or neither");
        };
        if parent.method == Method::None || parent.method != arm.method {
            let problem =
                format!("`{}` is a fork of an arm with another method, or without training", arm.name);
            return wrong("arm", problem, "name an arm that is trained, and leave `method` out");
        }
        if parent.policy != arm.policy {
            let problem =
                format!("`{}` has another [policy] than `{}`, of which it is a fork", arm.name, fork.arm);
            return wrong(
                "arm",
                problem,
                "leave [policy] out, as a fork goes on with the weights of its parent",
            );
        }
        let first = parent.fork.as_ref().map_or(0, |fork| fork.step);
        let last = parent.steps.min(arm.steps - 1);
        if !(first..=last).contains(&fork.step) {
            let problem = format!("`step` of the fork `{}` is {}", arm.name, fork.step);
            let instead = format!("write a step from {first} to {last}, after which both have steps to take");
            return wrong("step", problem, &instead);
        }
        let known = |seed: &&u64| seeds.contains(seed) && parent.has_seed(**seed);
        if let Some(seed) = fork.seeds.iter().find(|seed| !known(seed)) {
            let problem = format!("`{}` is not trained under the seed {seed}", fork.arm);
            return wrong("seeds", problem, "write seeds of `run.seeds` under which it is");
        }
    }
    Ok(())
}
