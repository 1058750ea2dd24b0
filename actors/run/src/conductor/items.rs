//! Completions as the rewards see them.

use std::sync::Arc;

use model::{Completion, Finish};
use rewards::{Question, Readings, RewardItem, parse_completion};

use crate::context::ArmContext;

/// Decodes and parses one completion. It has no verdict yet; the clip's duration is for the caller to set.
pub(crate) fn reward_item(
    arm: &ArmContext,
    question: &Arc<Question>,
    group: usize,
    completion: &Completion,
) -> RewardItem {
    let text = arm.processor.decode(&completion.ids);
    let parsed = parse_completion(&text, &arm.parser);
    let readings = Readings::of(&text, &parsed, question);
    RewardItem {
        question: question.clone(),
        group,
        completion: text,
        parsed,
        readings,
        completion_tokens: completion.ids.len(),
        truncated: completion.finish == Finish::Length,
        duration_seconds: None,
        verdict: None,
    }
}

/// `audio_start` of `rollouts.jsonl`: clips that are heard from the beginning of their file have none.
pub(crate) fn recorded_start(audio_start: f64) -> Option<f64> {
    Some(audio_start).filter(|&start| start > 0.0)
}

/// The consistency verdict of a completion, from 0 to 1.
pub(crate) fn consistency(item: &RewardItem) -> Option<f64> {
    item.verdict.as_ref().and_then(|verdict| verdict.consistency)
}

/// The think-quality verdict of a completion, from 0 to 1.
pub(crate) fn think_quality(item: &RewardItem) -> Option<f64> {
    item.verdict.as_ref().and_then(|verdict| verdict.think_quality)
}
