//! A change as a client requests it. It is [`Change`] and more: a reward may be given as TOML, and a reward may join or
//! leave whatever formula an arm has, which is resolved here, for each arm by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use rewards::{Formula, did_you_mean};
use scenarios::{Place, RewardSpec, ScenarioError};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::error::ApiError;
use records::{Change, ConditionsRecord};
use run::Requires;

/// A reward: its table, or that table as TOML in a string.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum RewardRequest {
    /// The content of `[rewards.NAME]` in a scenario, with or without that heading.
    Toml(String),
    Table(RewardSpec),
}

impl<'de> Deserialize<'de> for RewardRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RewardRequest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a reward such as {"kind": "accuracy"}, or its TOML in a string"#)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RewardRequest, E> {
                Ok(RewardRequest::Toml(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RewardRequest, A::Error> {
                RewardSpec::deserialize(de::value::MapAccessDeserializer::new(map)).map(RewardRequest::Table)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl RewardRequest {
    /// The reward, parsed as the one called `name`.
    pub fn read(self, name: &str) -> Result<RewardSpec, ApiError> {
        let text = match self {
            RewardRequest::Table(spec) => return Ok(spec),
            RewardRequest::Toml(text) => text,
        };
        RewardSpec::from_toml(&text, name, Path::new("")).map_err(|error| match error {
            ScenarioError::Invalid { place: Place::File { line, column, .. }, problem, instead } => {
                ApiError::bad(format!("[rewards.{name}], line {line}, column {column}: {problem}; {instead}"))
                    .at_line(line)
            }
            error => ApiError::bad(error.to_string()),
        })
    }
}

/// How a reward joins the formula.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Join {
    /// The value of its weight. The weight is set also where the formula uses the reward already.
    weight: Option<f64>,
    /// The name of its weight. Default with `weight`: the reward's name; without either, the reward has no weight.
    weight_name: Option<String>,
}

/// A change of the conditions of an arm. All of it takes effect at one step boundary, or none of it does.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChangeRequest {
    /// New values of weights, which end their schedules. A new weight needs a formula that uses it.
    weights: BTreeMap<String, f64>,
    /// A new formula. Not together with `join_formula` and `leave_formula`, which edit the one in force.
    formula: Option<String>,
    /// Rewards to add, by name; refused if there is a reward of that name.
    add: BTreeMap<String, RewardRequest>,
    /// Rewards that replace those of the same name; refused if there is none.
    swap: BTreeMap<String, RewardRequest>,
    /// New rewards by name, whether there is one of that name or not; `null` removes a reward.
    rewards: BTreeMap<String, Option<RewardRequest>>,
    /// Rewards that join the formula of each arm as the term `+ w_WEIGHT * NAME`, or `+ NAME` without a weight, unless
    /// it uses them already.
    join_formula: BTreeMap<String, Join>,
    /// Rewards whose terms are removed from the formula of each arm.
    leave_formula: BTreeSet<String>,
    /// New values of settings that may be changed while an arm is trained, such as `grpo.lr`, by their dotted names.
    settings: BTreeMap<String, Value>,
}

impl ChangeRequest {
    /// Reads the TOML of its rewards.
    pub fn read(self) -> Result<RequestedChange, ApiError> {
        if self.formula.is_some() && !(self.join_formula.is_empty() && self.leave_formula.is_empty()) {
            return Err(ApiError::bad(
                "give either `formula` or `join_formula` and `leave_formula`, not both",
            ));
        }
        let (added, swapped): (BTreeSet<String>, BTreeSet<String>) =
            (self.add.keys().cloned().collect(), self.swap.keys().cloned().collect());
        let asked = self.add.into_iter().chain(self.swap).map(|(name, reward)| (name, Some(reward)));
        let mut rewards = BTreeMap::new();
        for (name, reward) in asked.chain(self.rewards) {
            let spec = reward.map(|reward| reward.read(&name)).transpose()?;
            if rewards.insert(name.clone(), spec).is_some() {
                return Err(ApiError::bad(format!(
                    "give `{name}` in one of `add`, `swap` and `rewards`, not in several"
                )));
            }
        }
        Ok(RequestedChange {
            change: Change { weights: self.weights, formula: self.formula, rewards, settings: self.settings },
            requires: Requires { version: None, added, swapped },
            join: self.join_formula,
            leave: self.leave_formula,
        })
    }
}

/// A [`ChangeRequest`] whose rewards have been read.
#[derive(Clone, Debug)]
pub(super) struct RequestedChange {
    change: Change,
    /// What it adds and what it swaps; the version comes from `If-Match`.
    requires: Requires,
    join: BTreeMap<String, Join>,
    leave: BTreeSet<String>,
}

impl From<Change> for RequestedChange {
    fn from(change: Change) -> Self {
        let requires = Requires::default();
        RequestedChange { change, requires, join: BTreeMap::new(), leave: BTreeSet::new() }
    }
}

impl RequestedChange {
    /// Whether it depends on the formula in force.
    pub fn edits_formula(&self) -> bool {
        !(self.join.is_empty() && self.leave.is_empty())
    }

    /// The addition of one reward.
    pub fn adding(name: String, spec: RewardSpec) -> Self {
        let requires = Requires { added: [name.clone()].into(), ..Requires::default() };
        let change = Change { rewards: [(name, Some(spec))].into(), ..Change::default() };
        RequestedChange { requires, ..change.into() }
    }

    /// What it requires, with the version from which the client made it.
    pub fn requires(&self, version: Option<u64>) -> Requires {
        Requires { version, ..self.requires.clone() }
    }

    /// The change of an arm with these conditions.
    ///
    /// Errors: A reward that is to join or leave does not exist, or the formula that results is not valid.
    pub fn resolve(&self, now: &ConditionsRecord) -> Result<Change, ApiError> {
        let mut change = self.change.clone();
        if !self.edits_formula() {
            return Ok(change);
        }
        for (name, join) in &self.join {
            let (Some(value), weight) = (join.weight, join.weight_name.as_ref().unwrap_or(name)) else {
                continue;
            };
            if change.weights.insert(weight.clone(), value).is_some_and(|other| other != value) {
                return Err(ApiError::bad(format!("the weight `{weight}` has two values; give one")));
            }
        }
        let mut components: BTreeSet<&String> = now.rewards.keys().collect();
        components.extend(change.rewards.iter().filter(|(_, spec)| spec.is_some()).map(|(name, _)| name));
        let known = |name: &String| {
            let hint = || did_you_mean(name, components.iter().map(|name| name.as_str()));
            let missing = || ApiError::bad(format!("there is no reward `{name}`{}", hint()));
            if components.contains(name) { Ok(()) } else { Err(missing()) }
        };
        let parse = |text: &str| {
            let weights = now.weights.keys().chain(change.weights.keys());
            Formula::parse(text, &components, weights).map_err(|error| ApiError::bad(error.to_string()))
        };
        let mut formula = Formula::parse(&now.formula, now.rewards.keys(), now.weights.keys())
            .map_err(|error| ApiError::bad(error.to_string()))?;
        for name in &self.leave {
            known(name)?;
            formula = parse(&formula.without_component(name))?;
        }
        for (name, join) in &self.join {
            known(name)?;
            let weight = join.weight_name.as_ref().or(join.weight.map(|_| name));
            formula = parse(&formula.with_component(name, weight.map(String::as_str)))?;
        }
        change.formula = (formula.text() != now.formula).then(|| formula.text().to_owned());
        Ok(change)
    }
}

#[cfg(test)]
mod tests;
