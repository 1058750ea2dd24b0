//! Judges: they read the thinking of completions and grade whether it supports the answer and how good it is.
//!
//! A step's completions are judged as one batch by the [`JudgePool`] actor. Its [`AsyncJudge`] answers each request with a
//! [`Judgement`]: a verdict, or the cause for which there is none. `[judge] kind` selects the judge; [`Judges`] creates
//! each one once per run, however many arms share it. [`calibration`] measures how far a judge can be trusted.

#![warn(missing_docs)]

mod cached;
pub mod calibration;
mod error;
mod judgement;
mod judges;
mod local;
mod openai;
mod panel;
mod pool;
mod prompting;
mod rules;
mod store;

pub use error::JudgeError;
pub use judgement::{AsyncJudge, JudgeTally, Judgement, Usage};
pub use judges::Judges;
pub use pool::{JudgeArgs, JudgeMsg, JudgePool, Judged};
pub use store::VerdictStore;
