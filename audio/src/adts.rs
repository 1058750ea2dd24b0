//! AAC in ADTS frames.

use super::error::Problem;
use super::input::Input;

/// Whether ADTS frames begin at `start`.
pub(crate) fn starts(_input: &Input, _start: u64) -> Result<bool, Problem> {
    Ok(false)
}
