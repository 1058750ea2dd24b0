//! How a judge that is a model is asked, and how its grades are read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a grade is read from a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// As it is written, in steps of 0.1.
    #[default]
    Text,
    /// As the expected value over the alternatives of the grade's token, a digit from 0 to 9.
    Logprobs,
}

/// The sort of model that the judge's prompt is written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prompting {
    /// A model that follows instructions and has a chat template.
    #[default]
    Instruct,
    /// A base model, which continues graded examples.
    Base,
}
