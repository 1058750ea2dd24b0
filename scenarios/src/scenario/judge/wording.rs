//! How a model that judges is asked, and how its grades are read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a score is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// As written.
    #[default]
    Text,
    /// The expected value over the score tokens.
    Logprobs,
}

/// Whom the prompt is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prompting {
    /// A model that follows instructions, by its chat template.
    #[default]
    Instruct,
    /// A base model, by examples.
    Base,
}
