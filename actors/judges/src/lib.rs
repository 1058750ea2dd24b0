//! Judges grade the thinking of completions: consistency, whether it supports the answer, and quality.
//!
//! The conductor sends the completions of a step that think to the [`JudgePool`] actor as one batch. Its [`AsyncJudge`]
//! answers each request with a [`Judgement`]: a verdict, or the cause for which there is none. `[judge] kind` selects
//! the judge: rules, a server with OpenAI's API, a local model, or a panel of these. Verdicts of models are cached in
//! memory and in an SQLite file. What rewards ask for besides these verdicts ([`JudgeTask`](rewards::JudgeTask)) is carried
//! out by the servers of the judge, or by a reward's own. [`Judges`] creates each judge once per run, and arms with equal settings share it.
//! [`calibration`] measures how reliable a judge is, [`calibrated`] keeps the result, and [`simulation`] says what it means for
//! the rewards.

#![warn(missing_docs)]

mod account;
mod cached;
pub mod calibrated;
pub mod calibration;
mod clip;
mod error;
mod judgement;
mod judges;
mod local;
mod openai;
mod panel;
mod pool;
mod prompting;
mod rules;
pub mod simulation;
mod store;
mod tasks;

pub use account::{Ledger, Spent};
pub use clip::{JudgeClip, JudgeClips};
pub use error::JudgeError;
pub use judgement::{AsyncJudge, JudgeTally, Judgement, Usage};
pub use judges::Judges;
pub use pool::{GradeQuery, GradedItems, JudgeArgs, JudgeMsg, JudgePool, JudgeQuery, Judged};
