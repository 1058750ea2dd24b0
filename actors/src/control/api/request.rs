//! A change as a request has it: like [`Change`], and a reward may be the text that a person would write in a scenario.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use scenarios::{Place, RewardSpec, ScenarioError};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::control::error::ApiError;
use crate::live::Change;

/// A reward: its table, or that table as TOML in a string.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum WantedReward {
    /// What stands in a scenario's `[rewards.NAME]`, or that table itself.
    Toml(String),
    Table(RewardSpec),
}

impl<'de> Deserialize<'de> for WantedReward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted;
        impl<'de> de::Visitor<'de> for Wanted {
            type Value = WantedReward;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a reward such as {"kind": "accuracy"}, or its TOML in a string"#)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WantedReward, E> {
                Ok(WantedReward::Toml(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<WantedReward, A::Error> {
                RewardSpec::deserialize(de::value::MapAccessDeserializer::new(map)).map(WantedReward::Table)
            }
        }
        deserializer.deserialize_any(Wanted)
    }
}

impl WantedReward {
    /// The reward that is to be called `name`.
    pub fn read(self, name: &str) -> Result<RewardSpec, ApiError> {
        let text = match self {
            WantedReward::Table(spec) => return Ok(spec),
            WantedReward::Toml(text) => text,
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

/// A [`Change`] that is asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WantedChange {
    /// New values of weights; one that followed a course follows it no longer. A name that the new formula brings along
    /// may be new too.
    weights: BTreeMap<String, f64>,
    /// Another formula.
    formula: Option<String>,
    /// Rewards to put in place of those of the same name, or beside those there are; `null` takes one out.
    rewards: BTreeMap<String, Option<WantedReward>>,
}

impl WantedChange {
    /// The change itself.
    pub fn read(self) -> Result<Change, ApiError> {
        let rewards = self.rewards.into_iter().map(|(name, wanted)| {
            let spec = wanted.map(|wanted| wanted.read(&name)).transpose()?;
            Ok((name, spec))
        });
        Ok(Change {
            weights: self.weights,
            formula: self.formula,
            rewards: rewards.collect::<Result<_, ApiError>>()?,
        })
    }
}
