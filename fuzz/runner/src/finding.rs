//! What a run of the fuzzer reports.

use serde::{Deserialize, Serialize};

/// What an input did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The target panicked: the parser did, or it broke a promise that the target asserts.
    Panic,
    /// The process ended by a signal or an exit, as it does when the stack overflows.
    Died,
    /// More than a gigabyte was allocated at once.
    Memory,
    /// The input took longer than the limit, and again when it was repeated.
    Slow,
    /// The input was not done after ten times the limit.
    Hung,
}

impl FindingKind {
    /// The kind as files and tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Died => "died",
            Self::Memory => "memory",
            Self::Slow => "slow",
            Self::Hung => "hung",
        }
    }
}

/// An input on which a target fails.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What happened.
    pub kind: FindingKind,
    /// The number of the input; with the seed it determines the input.
    pub index: u64,
    /// The panic's place and message, the signal, or the time.
    pub detail: String,
}
