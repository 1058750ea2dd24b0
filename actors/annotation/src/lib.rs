//! Chains of thought for supervised fine-tuning, asked from servers with OpenAI's API.
//!
//! The paper's SFT+CoT arm trains on chains that a language model writes from a caption of the clip, the question, its
//! choices and the right answer (arXiv 2508.08039v3, Section 4). [`annotate`] asks for them: first for a caption, from a
//! server that takes audio ([`caption`]), then for a chain in four parts, planning, caption, reasoning and summary
//! ([`chain`]). It keeps a chain only if its own conclusion is the right answer. The rows that it writes are AVQA rows with
//! the column `reasoning`, which `sft.target = "reasoning"` reads ([`row`]).
//!
//! - `ANNOTATE-1` each answer of a server is on the disk before it is used ([`journal`]), and an annotation that goes on reads
//!   it from there: no row is asked twice, however often the process is killed.
//! - `ANNOTATE-2` a row is written with its chain or counted under one cause for which it has none; none is dropped silently.
//! - `ANNOTATE-3` no request is sent beyond the budget.
//!
//! Deviation from the paper, which does not say how it filters: a chain is dropped if it does not conclude the right answer,
//! lacks a part, or says that it was told the answer.

#![warn(missing_docs)]

pub mod budget;
pub mod caption;
pub mod chain;
mod error;
pub mod journal;
pub mod row;
mod work;

pub use budget::Budget;
pub use caption::CaptionSource;
pub use error::AnnotationError;
pub use work::{AnnotationArgs, AnnotationEvent, AnnotationSummary, Stopped, annotate};
