//! `control.jsonl`: who changed what in a run, when, from what to what, and from which step on.

use std::collections::BTreeMap;
use std::path::Path;

use scenarios::RewardSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alarms::AlarmFiring;
use crate::arm_id::ArmId;
use crate::format::FormatVersion;

/// A change of an arm's conditions. All of it takes effect at one step boundary, or none of it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// New values of weights, by name without the prefix `w_`. A weight that followed a schedule becomes constant. A
    /// name may be new if the new formula uses it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// The new formula; none if it stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// Rewards to add or to replace, by name; null removes one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rewards: BTreeMap<String, Option<RewardSpec>>,
    /// New values of settings that may be changed while an arm is trained, such as `grpo.lr`, by their dotted names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Value>,
}

impl Change {
    /// The same change with the relative paths of its rewards made absolute, starting from `folder`.
    pub fn anchored(mut self, folder: &Path) -> Self {
        for spec in self.rewards.values_mut() {
            *spec = spec.take().map(|spec| spec.anchored(folder));
        }
        self
    }
}

/// From when on a change is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The version of the conditions that it made.
    pub version: u64,
    /// The first step under these conditions, counted from 1.
    pub step: u64,
}

/// What was done to an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Its conditions were changed.
    Change,
    /// The arm takes no step until it is resumed.
    Pause,
    /// The paused arm takes steps again.
    Resume,
    /// It was resumed for a number of steps.
    Step,
    /// A checkpoint was requested.
    Checkpoint,
    /// The arm ended before its last step, on request.
    Stop,
    /// The arm began as a copy of another one.
    Fork,
    /// An alarm of the scenario went off.
    Alarm,
    /// Something happened to a server that samples; the note says what.
    Server,
}

/// A row of `control.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JournalEntry {
    /// The format of the row.
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    /// When it took effect, RFC 3339.
    pub time: String,
    /// Who asked for it: `page`, `ctl`, `api`, `replay`, `engine` for an arm that pauses itself, `sampler` for
    /// its servers, or `alarm` and the name of an alarm.
    pub by: String,
    /// The arm and its seed.
    #[serde(flatten)]
    pub id: ArmId,
    /// What was done to the arm.
    pub action: Action,
    /// Of a change: what was asked for.
    pub change: Option<Change>,
    /// Of a change: the values that it replaced; null for a name that did not exist.
    pub from: Option<Value>,
    /// The reason of a pause, what happened to a server, the number of steps, the arm that a fork was copied from, or why a change is written a second
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Version of the conditions from then on.
    pub version: u64,
    /// Of a change: the first step under the new conditions. Of anything else: the steps taken by then.
    pub step: u64,
    /// The alarm that went off, or that did this, with its evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmFiring>,
}

/// The present time as the journal writes it: RFC 3339 in UTC, to the millisecond.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now).to_string()
}
