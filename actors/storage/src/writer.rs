//! The process that uploads a run.

use std::fmt;

use records::now;
use serde::{Deserialize, Serialize};

/// A process that uploads a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Tells the process from every other one.
    pub id: String,
    /// Name of the machine.
    pub host: String,
    /// Process on that machine.
    pub process_id: u32,
    /// When it began to upload, as in the journal.
    pub since: String,
}

impl Writer {
    /// This process, under a new id.
    pub(crate) fn of_this_process() -> Self {
        let id = format!("{:032x}", rand::random::<u128>());
        Writer { id, host: records::host(), process_id: std::process::id(), since: now() }
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}, since {}", self.process_id, self.host, self.since)
    }
}
