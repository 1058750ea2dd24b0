//! Where the samples of a WAV or Wave64 file are.

use super::Stated;
use crate::decoder::Warning;

/// Where the samples of a file are.
pub(super) struct Place {
    /// The name of the container.
    pub container: &'static str,
    pub offset: u64,
    pub stated: Stated,
    /// Samples per channel by the `fact` chunk.
    pub fact: Option<u64>,
    pub warnings: Vec<Warning>,
}
