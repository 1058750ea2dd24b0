//! What a judge is asked and what it answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Question;

/// One think completion to be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeRequest {
    /// The question that was answered.
    pub question: Arc<Question>,
    /// The content of `<think>`.
    pub think: String,
    /// The content of `<answer>`.
    pub answer: String,
}

/// What a judge says of one completion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// R_c: 1 if the thinking supports the answer given, else 0. `None`: it could not be told.
    pub consistency: Option<f64>,
    /// R_t in 0, 0.1, …, 1: how good the thinking is, whatever the answer. `None`: it could not be told.
    pub think_quality: Option<f64>,
    /// Why a score is missing, or what the judge had to say.
    pub note: Option<String>,
}

/// Judges think completions, from any thread.
pub trait Judge: Send + Sync {
    /// Judges one completion. May take long (a model behind a network); must not panic on any text.
    fn judge(&self, request: &JudgeRequest) -> Verdict;
}
