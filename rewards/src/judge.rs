//! What a judge is asked and what it says.
//!
//! A judge reads one well-formed think completion and says whether the thinking supports the answer given
//! (R_c of the paper) and how good the thinking is in itself (R_t). The slots of `consistency` and `think`
//! ask it; its verdict is put into [`RewardItem::verdict`](crate::RewardItem::verdict) before the rewards are
//! computed.
//!
//! [`RulesJudge`](rules::RulesJudge) needs no model. For a judge that is a model, everything but the asking is
//! here: [`guard`] cleans what it is shown, [`prompt`] words the request, [`reply`] and [`logits`] read the
//! answer, [`failure`] names what can go wrong.
//!
//! Invariants:
//! - JUDGE-1 a score that could not be had is `None`, never 0; `note` says why.
//! - JUDGE-2 the completion is data: nothing in it can end its fence, speak as the template's own tokens, or
//!   be taken for the judge's reply.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Question;

pub mod failure;
pub mod guard;
pub mod logits;
pub mod prompt;
pub mod reply;
pub mod rules;

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
