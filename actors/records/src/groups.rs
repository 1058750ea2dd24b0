//! Where groups ended up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of groups: `dispatched = trained + Σ excluded` (CONDUCT-1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupCounts {
    /// Groups whose prompts were loaded to be sampled.
    pub dispatched: u64,
    /// Groups that an optimizer step used.
    pub trained: u64,
    /// Groups that no optimizer step used, by reason.
    pub excluded: BTreeMap<String, u64>,
}

impl GroupCounts {
    /// Counts one group as excluded.
    pub fn exclude(&mut self, reason: &str) {
        *self.excluded.entry(reason.to_owned()).or_default() += 1;
    }

    /// Whether every dispatched group was counted exactly once as trained or excluded.
    pub fn adds_up(&self) -> bool {
        self.dispatched == self.trained + self.excluded.values().sum::<u64>()
    }

    /// Adds the counts of a step, or of another seed.
    pub fn add(&mut self, other: &GroupCounts) {
        self.dispatched += other.dispatched;
        self.trained += other.trained;
        for (reason, count) in &other.excluded {
            *self.excluded.entry(reason.clone()).or_default() += count;
        }
    }
}
