//! Completions as the rewards see them, and as they are recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Completion, Finish};
use records::{FormatVersion, Phase, Rollout};
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

/// The row of `rollouts.jsonl` of a completion, without its place in the group, its scores and its versions,
/// which the caller sets.
pub(crate) fn rollout(phase: Phase, step: u64, item: &RewardItem) -> Rollout {
    let question = &item.question;
    Rollout {
        format_version: FormatVersion::CURRENT,
        phase,
        step,
        suite: None,
        control: None,
        group: 0,
        index: 0,
        id: question.id.clone(),
        question: question.text.clone(),
        choices: question.choices.clone(),
        answer_gold: question.answer.clone(),
        audio_path: Some(question.audio_path.clone()),
        audio_start: None,
        audio_end: question.end,
        difficulty: question.difficulty,
        kind: question.kind.clone(),
        completion: item.completion.clone(),
        mode: Some(item.parsed.mode),
        think: item.parsed.think.clone(),
        answer: item.parsed.answer.clone(),
        correct: item.readings.strict,
        correct_official: item.readings.official,
        correct_lenient: Some(item.readings.lenient),
        well_formed: item.parsed.well_formed,
        components: BTreeMap::new(),
        reward: None,
        advantage: None,
        weights_version: None,
        policy_version: 0,
        tokens: Some(item.completion_tokens as u64),
        truncated: item.truncated,
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
