//! Whether a completion is right, in three readings that are recorded apart.
//!
//! - *strict*: the completion is well-formed, and the content of `<answer>` is the right choice or its letter
//!   ([`matching`](crate::matching)). The rewards use this one unless told otherwise.
//! - *official*: what the benchmark's own script would say of the answer ([`official`](crate::official)).
//! - *lenient*: the answer mentions the right choice and no other, as in `Option B` or `the dog`.
//!
//! The official and the lenient reading also take completions without tags: the whole text after the thinking is then the
//! answer. READ-1: a completion that the strict reading accepts is accepted by the lenient reading too.

use serde::{Deserialize, Serialize};

use crate::lenient::mentioned_choice;
use crate::matching::{answer_matches, is_correct};
use crate::{ParsedCompletion, Question};

/// One of the three readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The content of `<answer>` is the right choice or its letter.
    #[default]
    Strict,
    /// The benchmark's own rule.
    Official,
    /// The answer mentions the right choice and no other.
    Lenient,
}

/// The three readings of a completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Readings {
    /// The strict reading.
    #[serde(rename = "correct")]
    pub strict: bool,
    /// The official reading; `None` if the benchmark's script leaves the question out.
    #[serde(rename = "correct_official")]
    pub official: Option<bool>,
    /// The lenient reading.
    #[serde(rename = "correct_lenient")]
    pub lenient: bool,
    /// Whether the answer names its choice by a letter alone although the prompt showed none. Such an answer is right by chance, so
    /// no reading of it earns a reward.
    pub unseen_letter: bool,
}

impl Readings {
    /// Reads a completion, of which `parsed` are the parts.
    pub fn of(completion: &str, parsed: &ParsedCompletion, question: &Question) -> Self {
        let answer = answer_of(completion, parsed);
        let mention = mentioned_choice(answer, question);
        let choice = mention.and_then(|mention| question.choices.get(mention.choice));
        Readings {
            strict: is_correct(parsed, question),
            official: question.official.score(answer, question),
            lenient: choice.is_some_and(|choice| question.is_answer(choice))
                || answer_matches(answer, question),
            unseen_letter: !question.letters_shown && mention.is_some_and(|mention| !mention.spelled),
        }
    }

    /// Whether a completion counts as right for a reward that uses this reading.
    pub fn earns(&self, reading: Reading) -> bool {
        let right = match reading {
            Reading::Strict => self.strict,
            Reading::Official => self.official == Some(true),
            Reading::Lenient => self.lenient,
        };
        right && !self.unseen_letter
    }
}

/// The text that a completion gives as its answer: the content of `<answer>`, or what follows the thinking.
pub fn answer_of<'a>(completion: &'a str, parsed: &'a ParsedCompletion) -> &'a str {
    if let Some(answer) = &parsed.answer {
        return answer;
    }
    match completion.rsplit_once("</think>") {
        Some((_, answer)) => answer.trim(),
        // The thinking was never closed, so no answer was given.
        None if completion.contains("<think>") => "",
        None => completion.trim(),
    }
}

#[cfg(test)]
mod tests;
