//! Which choice does an answer name?

use crate::{ParsedCompletion, Question};

/// Whether the content of `<answer>` names the right choice.
pub fn answer_matches(answer: &str, question: &Question) -> bool {
    answer.trim().to_lowercase() == question.answer.trim().to_lowercase()
}

/// Whether a completion counts as correct: well-formed, and its answer names the right choice.
pub fn is_correct(parsed: &ParsedCompletion, question: &Question) -> bool {
    parsed.well_formed
        && parsed
            .answer
            .as_deref()
            .is_some_and(|answer| answer_matches(answer, question))
}
