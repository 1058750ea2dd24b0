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

pub mod failure;
pub mod guard;
pub mod logits;
pub mod prompt;
pub mod reply;
pub mod rules;
mod verdict;

pub use verdict::{Judge, JudgeRequest, Verdict};
