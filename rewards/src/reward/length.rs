//! The penalty that the length rewards share.

use crate::RewardError;

/// 0 up to `free` tokens, then linearly down to −1 after `cache` more.
pub(super) fn beyond(tokens: usize, free: f64, cache: usize) -> f64 {
    (-(tokens as f64 - free) / cache as f64).clamp(-1.0, 0.0)
}

/// Refuses a penalty that would have to grow over no tokens.
pub(super) fn check_cache(kind: &str, cache: usize) -> Result<(), RewardError> {
    if cache > 0 {
        return Ok(());
    }
    Err(RewardError::BadOption {
        kind: kind.to_owned(),
        option: "cache".to_owned(),
        value: "0".to_owned(),
        problem: "write 1 or more".to_owned(),
    })
}
