//! A line of the journal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::Change;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The conditions were changed.
    Change,
    /// The arm stopped taking steps.
    Pause,
    /// It went on.
    Resume,
    /// It went on for some steps.
    Step,
    /// A checkpoint was written.
    Checkpoint,
    /// It was ended.
    Stop,
}

/// A line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// When it took effect, RFC 3339.
    pub time: String,
    /// Who did it: `page`, `ctl`, `api`, `replay`, `engine`, …
    pub by: String,
    /// The arm.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// What.
    pub action: Action,
    /// What was changed, of a change.
    pub change: Option<Change>,
    /// What stood there before, of a change; a name that was not there is null.
    pub from: Option<Value>,
    /// Why, of a pause; how many, of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Version of the conditions from then on.
    pub version: u64,
    /// Of a change, the first step made under it; of all else, the steps taken by then.
    pub step: u64,
}
