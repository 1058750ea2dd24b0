//! Sets of completions with known verdicts, with which `sandbox judge` measures a judge.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of completions with known verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgeSet {
    /// Right, wrong and contradictory thinking from the soundscape world.
    Soundscapes,
    /// Hand-written thinking about everyday sounds, speech and music.
    General,
    /// Thinking that addresses the judge, see [`crate::JudgedExample`].
    Attacks,
    /// A JSONL file with a set of your own.
    File(PathBuf),
}

impl JudgeSet {
    /// All built-in sets, which are embedded in the program.
    pub fn builtin() -> Vec<Self> {
        vec![Self::Soundscapes, Self::General, Self::Attacks]
    }

    /// Name of the set in a scenario: `builtin:…` or the file's path.
    pub fn name(&self) -> String {
        match self {
            Self::Soundscapes => "builtin:soundscapes".to_owned(),
            Self::General => "builtin:general".to_owned(),
            Self::Attacks => "builtin:attacks".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl Serialize for JudgeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JudgeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if let Some(known) = Self::builtin().into_iter().find(|set| set.name() == name) {
            return Ok(known);
        }
        if name.starts_with("builtin:") {
            return Err(serde::de::Error::invalid_value(
                serde::de::Unexpected::Str(&name),
                &"\"builtin:soundscapes\", \"builtin:general\", \"builtin:attacks\" or the path of a JSONL file",
            ));
        }
        Ok(Self::File(name.into()))
    }
}

impl JsonSchema for JudgeSet {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JudgeSet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A set of completions with known verdicts: a built-in one, or the path of a JSONL file.",
            "type": "string",
            "examples": ["builtin:soundscapes", "builtin:general", "builtin:attacks"]
        })
    }
}
