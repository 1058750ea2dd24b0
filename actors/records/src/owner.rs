//! Who owns a run directory.

use serde::{Deserialize, Serialize};

/// The content of `lock`: who owns the run directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Name of the machine.
    pub host: String,
    /// Process on that machine.
    pub process_id: u32,
    /// When it took the lock, as in the journal.
    pub since: String,
    /// When the process began, in the kernel's clock ticks since boot; tells it from a later one with the same id.
    pub process_began: Option<u64>,
}
