//! A text or a list of texts, as `then` and `vetted` are written.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::super::OneOrMore;

/// A text or a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMore", into = "OneOrMore")]
pub struct AlarmTexts(pub Vec<String>);

impl AlarmTexts {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<OneOrMore> for AlarmTexts {
    fn from(texts: OneOrMore) -> Self {
        AlarmTexts(texts.0)
    }
}

impl From<AlarmTexts> for OneOrMore {
    fn from(texts: AlarmTexts) -> Self {
        OneOrMore(texts.0)
    }
}

impl JsonSchema for AlarmTexts {
    fn schema_name() -> Cow<'static, str> {
        "AlarmTexts".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}
