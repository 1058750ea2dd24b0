//! `[rewards.NAME]` and `[shaping]`: what is scored, and how the scores add up.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::weights::WeightConfig;

/// `[rewards.NAME]`: one reward component. NAME is what the formula calls it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RewardSpec {
    /// Which reward, by the name it is registered under, or one of [`PLUGIN_KINDS`](super::PLUGIN_KINDS).
    pub kind: String,
    /// The reward's own options: every other key of the table.
    #[serde(flatten)]
    pub options: toml::Table,
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
            "description": "One reward component: its kind and that reward's own options. In an arm, `false` removes it.",
            "anyOf": [
                { "const": false },
                {
                    "type": "object",
                    "properties": {
                        "kind": {
                            "description": "Which reward, by the name it is registered under; or one of your own: python, process, http (docs/plugins.md).",
                            "type": "string",
                            "examples": ["format", "accuracy", "adaptive-think", "consistency", "think", "python", "process", "http"]
                        }
                    }
                }
            ]
        })
    }
}

/// `[shaping]`: the formula that turns the components of a completion into its reward.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShapingConfig {
    /// Arithmetic over the rewards' names and `w_NAME` for each weight, such as `accuracy + w_format * format`.
    pub formula: String,
    /// `[shaping.weights]`: the numbers the formula calls `w_NAME`, or their course over the steps; they can be turned
    /// while the run goes on.
    pub weights: BTreeMap<String, WeightConfig>,
}
