//! The judge that goes by rules.

use crate::{Judge, JudgeRequest, Verdict};

/// Judges by rules alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct RulesJudge;

impl Judge for RulesJudge {
    fn judge(&self, _request: &JudgeRequest) -> Verdict {
        Verdict::default()
    }
}
