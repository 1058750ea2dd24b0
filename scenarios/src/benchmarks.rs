//! What the published benchmarks report and read: their averages, and files of predictions for their own scripts.
//!
//! A question's own rule is [`rewards::OfficialRule`]; here its verdicts become the figures of the benchmark's table
//! ([`averages()`]), and the predictions become a file in which the published script finds them ([`write_predictions`]), so
//! that anybody can check our figures with it. `docs/data.md` describes both for each format.
//!
//! - BENCH-1 the averages are those that the published script computes of the file that [`write_predictions`] writes.

mod averages;
mod predictions;

use std::sync::Arc;

use rewards::Question;
use serde::Serialize;

pub use averages::{AUDIO_THINKER_TASKS, averages};
pub use predictions::write_predictions;

/// A question of a benchmark and what was said of the prediction for it.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The question.
    pub question: Arc<Question>,
    /// The verdict of the benchmark's own rule; `None` if it leaves the question out.
    pub official: Option<bool>,
    /// Whether the prediction is right in the strict reading.
    pub strict: bool,
}

/// A figure of a benchmark's table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Average {
    /// What is averaged, such as `task sound` or `total`.
    pub name: String,
    /// Number of questions in the denominators. Questions that the official rule leaves out do not count, except in
    /// `strict`.
    pub n: usize,
    /// The average, from 0 to 1.
    pub value: f64,
}

#[cfg(test)]
mod tests;
