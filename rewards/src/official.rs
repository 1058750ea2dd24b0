//! The rules by which the benchmarks' own scripts score a prediction, reproduced exactly, so that our figures are comparable
//! with published ones. One rule per file; a question says which of them is its own.
//!
//! Training uses the strict reading instead ([`matching`](crate::matching)), because these rules have gaps that a policy
//! would learn to use: the string match of MMAU and MMAR ignores the order of words, and the scorers of AIR-Bench and
//! MMSU take any word that begins with A-D for a letter.

use crate::{OfficialRule, Question};

mod air_bench;
mod choice_embedding;
mod letter;
mod mmsu;
mod string_match;

pub use air_bench::air_bench_letter;
pub use choice_embedding::choice_embedding;
pub use mmsu::mmsu_letter;
pub use string_match::string_match;

impl OfficialRule {
    /// Whether the official script counts `prediction` as right; `None` if it excludes the question from the
    /// denominator, or if only a model that the script calls could tell.
    pub fn score(self, prediction: &str, question: &Question) -> Option<bool> {
        match self {
            OfficialRule::StringMatch => Some(string_match(prediction, &question.answer, &question.choices)),
            OfficialRule::AirBenchLetter => air_bench_letter(prediction, question),
            OfficialRule::MmsuLetter => mmsu_letter(prediction, question),
            OfficialRule::ChoiceEmbedding => choice_embedding(prediction, question),
        }
    }
}

#[cfg(test)]
mod tests;
