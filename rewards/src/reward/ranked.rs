//! What the rewards that rank a group share: a malformed completion scores 0, and the others what the judge's comparisons
//! gave. A comparison that could not be had leaves the score `None` (REWARD-1).

use crate::{JudgeTask, RewardBatch, RewardItem};

pub(super) fn scores(task: &JudgeTask, batch: &RewardBatch) -> Vec<Option<f64>> {
    let score = |item: &RewardItem| match item.parsed.well_formed {
        false => Some(0.0),
        true => item.graded_score(task),
    };
    batch.items.iter().map(score).collect()
}
