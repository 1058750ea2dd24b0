//! The judge of a completion's thinking.
//!
//! A judge grades a well-formed think completion: whether the thinking supports the given answer (R_c of arXiv
//! 2508.08039v3, Eq. 6) and how good the thinking is (R_t). The conductor asks it before the rewards are computed and
//! puts its verdicts into [`RewardItem::verdict`](crate::RewardItem::verdict), where the rewards `consistency` and
//! `think` find their scores.
//!
//! [`RulesJudge`](rules::RulesJudge) works without a model. For judges that are models, this module has everything
//! but the model itself: [`guard`] cleans the texts, [`prompt`] words the request, [`json`], [`reply`] and [`logits`]
//! read the reply, and [`failure`] lists the causes of a missing verdict. Other things than these two grades are asked for
//! by [`task`]s, such as ratings by a [`rubric`] and a [`ranking`] of a group.
//!
//! Invariants, which the tests check:
//! - JUDGE-1 a missing score is `None`, never 0, and `note` has the reason.
//! - JUDGE-2 the completion is treated as data: it cannot close its fence, contain a special token of the judge's
//!   template, or be mistaken for the judge's reply.

pub mod caption;
pub mod failure;
pub mod guard;
pub mod json;
pub mod logits;
pub mod numbered;
pub mod prompt;
pub mod ranking;
pub mod reply;
pub mod rubric;
pub mod rules;
mod special_tokens;
pub mod task;
mod verdict;

pub use verdict::{Judge, JudgeRequest, Verdict};
