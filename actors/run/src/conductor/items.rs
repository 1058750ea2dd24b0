//! Completions as the rewards see them.

use std::sync::Arc;

use model::{Completion, Finish, Processor};
use rewards::{Mode, Question, Readings, RewardItem, parse_completion};

use crate::context::ArmContext;

const THINK_CLOSE: &str = "</think>";
const ANSWER_OPEN: &str = "<answer>";

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
    let think_tokens = match parsed.mode {
        Mode::Think => think_tokens(&arm.processor, &text, &completion.ids),
        Mode::NoThink => 0,
    };
    RewardItem {
        question: question.clone(),
        group,
        completion: text,
        parsed,
        readings,
        completion_tokens: completion.ids.len(),
        completion_ids: completion.ids.clone(),
        think_tokens,
        truncated: completion.finish == Finish::Length,
        duration_seconds: None,
        verdict: None,
        graded: Vec::new(),
    }
}

/// Number of tokens up to and including `</think>`, or of those before `<answer>` if thinking is not closed, or of all.
fn think_tokens(processor: &Processor, text: &str, ids: &[i64]) -> usize {
    let closed = text.find(THINK_CLOSE).map(|at| at + THINK_CLOSE.len());
    let Some(end) = closed.or_else(|| text.find(ANSWER_OPEN)) else { return ids.len() };
    // The text of a beginning grows with its length, so the place is found by halving.
    let (mut least, mut most) = (0, ids.len());
    while least < most {
        let middle = (least + most) / 2;
        match processor.decode(&ids[..middle]).len() < end {
            true => least = middle + 1,
            false => most = middle,
        }
    }
    least
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
