//! `[rewards.NAME]` and `[shaping]`: the reward components, and how they are combined.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{secret, tree, weights::WeightConfig};
use crate::error::ScenarioError;

/// `[rewards.NAME]`: a reward component. NAME is its name in the formula.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RewardSpec {
    /// The reward: the name that it is registered under, or one of [`PLUGIN_KINDS`](super::PLUGIN_KINDS).
    pub kind: String,
    /// The options of the reward: every other key of the table.
    #[serde(flatten)]
    pub options: toml::Table,
}

impl RewardSpec {
    /// Reads a reward from a text of its own: either the content of `[rewards.NAME]` or that table itself. `path` is
    /// used in errors only.
    ///
    /// Errors: The text is not TOML, has no `kind`, or contains a secret; the error has the line and column.
    pub fn from_toml(text: &str, name: &str, path: &Path) -> Result<Self, ScenarioError> {
        let whole = tree::parse(text, path).map_err(|error| match error {
            ScenarioError::Invalid { place, problem, .. } => ScenarioError::at(
                &place,
                problem,
                "write `key = value` lines, text in quotes, such as file = \"brevity.py\"",
            ),
            other => other,
        })?;
        secret::refuse(&whole)?;
        let node = whole.entry(&["rewards", name]).map_or(&whole, |entry| &entry.node);
        let toml::Value::Table(mut options) = node.to_value() else {
            let problem = format!("`{name}` is not a table");
            return Err(ScenarioError::at(&node.place, problem, "write one such as { kind = \"accuracy\" }"));
        };
        match options.remove("kind") {
            Some(toml::Value::String(kind)) => Ok(RewardSpec { kind, options }),
            Some(_) => {
                let place = node.place_of(&["kind"]);
                Err(ScenarioError::at(place, "`kind` is not a text", "write one such as kind = \"python\""))
            }
            None => {
                let instead =
                    format!("write kind = \"…\" and its options, or a table [rewards.{name}] with them");
                Err(ScenarioError::at(&node.place, "there is no `kind`", instead))
            }
        }
    }

    /// The content of `[rewards.NAME]` as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a table of TOML values, with text as keys")
    }
}

impl<'de> Deserialize<'de> for RewardSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spec;
        impl<'de> de::Visitor<'de> for Spec {
            type Value = RewardSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a table such as { kind = "accuracy" }"#)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<RewardSpec, A::Error> {
                let (mut kind, mut options) = (None, toml::Table::new());
                while let Some(key) = map.next_key::<String>()? {
                    if key == "kind" {
                        kind = Some(map.next_value()?);
                    } else {
                        options.insert(key, map.next_value()?);
                    }
                }
                Ok(RewardSpec { kind: kind.ok_or_else(|| de::Error::missing_field("kind"))?, options })
            }
        }
        deserializer.deserialize_map(Spec)
    }
}

impl JsonSchema for RewardSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RewardSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A reward component: its `kind`, and the options of that reward as further keys. In an arm, `false` removes the component.",
            "anyOf": [
                { "const": false },
                {
                    "type": "object",
                    "properties": {
                        "kind": {
                            "description": "The reward: the name that it is registered under, or `python`, `process` or `http` for one of your own (docs/plugins.md); must be set.",
                            "type": "string",
                            "examples": ["format", "accuracy", "adaptive-think", "consistency", "think", "overlong", "repetition", "think-budget", "cosine", "ada-grpo", "adapt-think", "thinkless", "rubric", "listwise", "pairwise", "caption-grounding", "answer-from-caption", "python", "process", "http"]
                        }
                    },
                    "if": { "properties": { "kind": { "const": "python" } }, "required": ["kind"] },
                    "then": {
                        "properties": {
                            "file": {
                                "description": "`kind = \"python\"`: the file, relative to the scenario's folder; must be set.",
                                "type": "string"
                            },
                            "function": {
                                "description": "`kind = \"python\"`: the function, class or object in the file. Default: `reward`, or the one reward that the file defines.",
                                "type": "string"
                            },
                            "python": {
                                "description": "`kind = \"python\"`: the interpreter, for example that of a virtual environment.",
                                "type": "string"
                            },
                            "convention": {
                                "description": "`kind = \"python\"`: how the function is called, this project's way or that of another trainer; `auto` decides by what the file defines (docs/plugins.md).",
                                "enum": ["auto", "native", "trl", "verl", "swift", "verifiers", "evaluate"]
                            },
                            "conversational": {
                                "description": "`kind = \"python\"`: whether completions and prompts are lists of messages. Default: by the convention.",
                                "type": "boolean"
                            },
                            "entry": {
                                "description": "`kind = \"python\"`, convention `evaluate`: the entry that is the score, if `compute` returns several.",
                                "type": "string"
                            },
                            "processes": {
                                "description": "`kind = \"python\"`: number of child processes that share the groups of a batch.",
                                "type": "integer", "minimum": 1, "maximum": 64
                            }
                        }
                    }
                }
            ]
        })
    }
}

/// `[shaping]`: the formula that combines the components of a completion into its reward.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShapingConfig {
    /// The formula, an arithmetic expression of the components' names and of `w_NAME` for each weight,
    /// such as `accuracy + w_format * format`. It may use `+ - * / ^`, `min`, `max`, `abs`, `exp`, `ln`,
    /// `sqrt`, `tanh`, `floor`, `ceil` and `round`. Default: Eq. 7 of the paper, if the scenario has
    /// neither `[rewards]` nor `[shaping]`.
    pub formula: String,
    /// `[shaping.weights]`: the values of the weights, `w_NAME` in the formula; each a number or a schedule over the
    /// steps. They can be changed while the run is in progress.
    pub weights: BTreeMap<String, WeightConfig>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RewardSpec, ScenarioError> {
        RewardSpec::from_toml(text, "brevity", Path::new("b.toml"))
    }

    #[test]
    fn a_reward_is_a_document_or_a_table_in_one_and_is_written_and_read_back() {
        let alone =
            "kind = \"python\"\nfile = \"b.py\"\ntimeout_seconds = 2.5\n\n[options]\nn = 3\nof = [1, 2]\n";
        let spec = read(alone).unwrap();
        assert_eq!((spec.kind.as_str(), spec.options["options"]["n"].as_integer()), ("python", Some(3)));
        let nested = "[rewards.brevity]\nkind = \"python\"\nfile = \"b.py\"\ntimeout_seconds = 2.5\noptions = { n = 3, of = [1, 2] }";
        assert_eq!(read(nested).unwrap(), spec);
        assert!(spec.to_toml().starts_with("kind = \"python\"\n"), "{}", spec.to_toml());
        assert_eq!(read(&spec.to_toml()).unwrap(), spec);
    }

    #[test]
    fn a_wrong_reward_is_refused_at_its_place_with_what_to_write_instead() {
        for (text, place, instead) in [
            ("kind = \"python\"\nfile = b.py", "b.toml:2:8: ", "file = \"brevity.py\""),
            ("kind = \"a\"\nkind = \"b\"", "b.toml:2:1: ", "duplicate key"),
            ("file = \"b.py\"", "b.toml:1:1: there is no `kind`; ", "[rewards.brevity]"),
            ("[rewards.other]\nkind = \"format\"", "b.toml:1:1: there is no `kind`; ", "[rewards.brevity]"),
            ("\nkind = 3", "b.toml:2:8: `kind` is not a text; ", "kind = \"python\""),
            ("rewards.brevity = 3", "b.toml:1:19: `brevity` is not a table; ", "{ kind = \"accuracy\" }"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(place) && error.contains(instead), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
