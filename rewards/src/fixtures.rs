//! Completions and batches for the tests of this crate.

use std::sync::Arc;

use crate::{ParserOptions, Question, Readings, RewardBatch, RewardItem, Verdict, parse_completion};

/// A completion of a question with the choices `cat` and `dog`, of which `dog` is right.
pub(crate) fn item(group: usize, completion: &str) -> RewardItem {
    let question = Question {
        choices: vec!["cat".to_owned(), "dog".to_owned()],
        answer: "dog".to_owned(),
        letters_shown: true,
        ..Question::default()
    };
    let parsed = parse_completion(completion, &ParserOptions::default());
    RewardItem {
        readings: Readings::of(completion, &parsed, &question),
        question: Arc::new(question),
        group,
        completion: completion.to_owned(),
        parsed,
        completion_tokens: 5,
        completion_ids: Vec::new(),
        think_tokens: 0,
        truncated: false,
        duration_seconds: None,
        verdict: None,
        graded: Vec::new(),
    }
}

/// A well-formed think completion with the judge's verdict.
pub(crate) fn thought(
    group: usize,
    answer: &str,
    consistency: Option<f64>,
    quality: Option<f64>,
) -> RewardItem {
    let verdict = Verdict { consistency, think_quality: quality, note: None };
    let completion = format!("<think>hm</think><answer>{answer}</answer>");
    RewardItem { verdict: Some(verdict), ..item(group, &completion) }
}

/// A well-formed no-think completion.
pub(crate) fn direct(group: usize, answer: &str) -> RewardItem {
    item(group, &format!("<answer>{answer}</answer>"))
}

/// A malformed think completion.
pub(crate) fn broken_thought(group: usize) -> RewardItem {
    item(group, "<think>hm")
}

/// A batch at step `step` of 100.
pub(crate) fn batch(step: u64, items: Vec<RewardItem>) -> RewardBatch {
    RewardBatch { step, total_steps: 100, group_size: 2, microbatch: 2, max_new_tokens: 0, items }
}

/// Asserts that scores are equal up to rounding.
#[track_caller]
pub(crate) fn assert_scores(found: &[Option<f64>], expected: &[Option<f64>]) {
    assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
    for (index, pair) in found.iter().zip(expected).enumerate() {
        match pair {
            (Some(found), Some(expected)) => {
                assert!((found - expected).abs() < 1e-9, "score {index}: {found} is not {expected}");
            }
            (found, expected) => assert_eq!(found, expected, "score {index}"),
        }
    }
}
