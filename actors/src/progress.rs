//! How far an arm has come, and how its steps ended.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::event::ArmStatus;
use crate::records::GroupCounts;

/// How far an arm has come; kept in every checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// The step after which it was last evaluated; an evaluation that a stop cut off is made on resuming.
    pub evaluated: Option<u64>,
    /// Where all groups so far ended.
    pub groups: GroupCounts,
}

/// How an arm's steps ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Done, stopped, or failed with a reason.
    pub status: ArmStatus,
    /// How far it came.
    pub progress: Progress,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
}
