//! `status.json`: the state of an arm, replaced whole whenever it changes.

use std::path::PathBuf;

use scenarios::Method;
use serde::{Deserialize, Serialize};

use crate::arm_id::ArmId;
use crate::arm_state::ArmState;
use crate::format::FormatVersion;
use crate::groups::GroupCounts;
use crate::health::Health;
use crate::record_sums::RecordSums;
use crate::sealed::seal;

/// The content of `status.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct Status {
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    #[serde(flatten)]
    pub id: ArmId,
    pub method: Method,
    #[serde(flatten)]
    pub state: ArmState,
    pub step: u64,
    pub total_steps: u64,
    pub checkpoint: Option<PathBuf>,
    pub groups: GroupCounts,
    #[serde(default)]
    pub health: Health,
    pub wall_seconds: f64,
    #[serde(default)]
    pub records: Option<RecordSums>,
}

impl Status {
    /// The text of the file, with its checksum as the last field.
    pub fn to_text(&self) -> String {
        seal(self)
    }
}
