//! The judge's request and verdict.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Question;

/// A think completion to be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeRequest {
    /// The question that the completion answers.
    pub question: Arc<Question>,
    /// The content of `<think>`, trimmed.
    pub think: String,
    /// The content of `<answer>`, trimmed.
    pub answer: String,
}

/// The grades of one completion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// R_c: 1 if the thinking supports the given answer, else 0; in between if scores are weighted by probability or a
    /// panel disagrees. `None` if the judge gave no grade.
    pub consistency: Option<f64>,
    /// R_t, the quality of the thinking regardless of the answer, in 0..=1; the paper's scale has steps of 0.1. `None`
    /// if the judge gave no grade.
    pub think_quality: Option<f64>,
    /// The reason for a missing grade, or a remark of the judge.
    pub note: Option<String>,
}

/// Judges think completions. It may be called from any thread.
pub trait Judge: Send + Sync {
    /// Judges one completion. It must not panic on any text.
    fn judge(&self, request: &JudgeRequest) -> Verdict;
}
