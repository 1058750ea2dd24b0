//! `policy.train`: which of the policy's weights are trained.

use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is trained of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainPart {
    /// All weights of the decoder. The reference policy is a frozen copy.
    Full,
    /// Low-rank adapters. The reference policy is the base without them, and a checkpoint is an adapter in PEFT's format.
    Lora,
    /// The projection between the audio tower and the decoder.
    Projector,
    /// The audio tower, without its projector.
    Tower,
}

impl TrainPart {
    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lora => "lora",
            Self::Projector => "projector",
            Self::Tower => "tower",
        }
    }
}

/// The parts that are trained: one name or a list of names, without `full` and `lora` together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainParts(BTreeSet<TrainPart>);

impl TrainParts {
    /// Whether this part is trained.
    pub fn has(&self, part: TrainPart) -> bool {
        self.0.contains(&part)
    }

    /// Whether an adapter is trained, alone or with other parts.
    pub fn lora(&self) -> bool {
        self.has(TrainPart::Lora)
    }

    fn checked(parts: Vec<TrainPart>) -> Result<Self, &'static str> {
        let count = parts.len();
        let parts: BTreeSet<TrainPart> = parts.into_iter().collect();
        if parts.is_empty() {
            return Err(
                "policy.train is an empty list; write at least one of full, lora, projector and tower",
            );
        }
        if parts.len() < count {
            return Err("policy.train names a part twice; write each part once");
        }
        if parts.contains(&TrainPart::Full) && parts.contains(&TrainPart::Lora) {
            return Err("policy.train has both full and lora; write one of them");
        }
        Ok(Self(parts))
    }
}

impl From<TrainPart> for TrainParts {
    fn from(part: TrainPart) -> Self {
        Self([part].into())
    }
}

impl Default for TrainParts {
    fn default() -> Self {
        TrainPart::Full.into()
    }
}

/// As in a scenario: `lora`, or `projector + lora`.
impl fmt::Display for TrainParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().rev().map(|part| part.name()).collect();
        f.write_str(&names.join(" + "))
    }
}

impl Serialize for TrainParts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(only) if self.0.len() == 1 => only.serialize(serializer),
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TrainParts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> de::Visitor<'de> for Parts {
            type Value = TrainParts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`full`, `lora`, `projector`, `tower` or a list of these")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<TrainParts, E> {
                TrainPart::deserialize(StrDeserializer::new(name)).map(TrainParts::from)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<TrainParts, A::Error> {
                let parts = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                TrainParts::checked(parts).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Parts)
    }
}

impl JsonSchema for TrainParts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TrainParts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<TrainPart>();
        json_schema!({
            "description": "The parts that are trained: one of them, or a list.",
            "anyOf": [part, { "type": "array", "items": part, "minItems": 1, "uniqueItems": true }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<TrainParts, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn one_name_and_a_list_are_read_and_one_name_is_written_as_before() {
        let lora = read("\"lora\"").unwrap();
        assert_eq!(lora, TrainPart::Lora.into());
        assert_eq!(read("[\"lora\"]").unwrap(), lora);
        assert_eq!(serde_json::to_string(&lora).unwrap(), "\"lora\"");
        let both = read("[\"projector\", \"lora\"]").unwrap();
        assert!(both.lora() && both.has(TrainPart::Projector) && !both.has(TrainPart::Tower));
        assert_eq!(read(&serde_json::to_string(&both).unwrap()).unwrap(), both);
        assert_eq!(both.to_string(), "projector + lora");
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        for (json, problem) in [
            ("[]", "policy.train is an empty list; write at least one of full, lora, projector and tower"),
            ("[\"full\", \"lora\"]", "policy.train has both full and lora; write one of them"),
            ("[\"tower\", \"tower\"]", "policy.train names a part twice; write each part once"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.starts_with(problem), "{message}");
        }
        assert!(read("\"head\"").unwrap_err().contains("unknown variant `head`"));
        assert!(read("3").unwrap_err().contains("expected `full`, `lora`, `projector`, `tower` or a list"));
    }
}
