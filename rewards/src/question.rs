//! The question that a completion answers, as all crates use it.
//!
//! Datasets produce [`Question`]s, the sampler has the policy answer them, and rewards and judges read them. The policy
//! is shown `text`, `choices` and the clip at `audio_path` only.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::official_rule::OfficialRule;

/// A question about an audio clip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The id that the dataset gives the question; unique within the dataset.
    pub id: String,
    /// The wording of the question, without its choices.
    pub text: String,
    /// The texts of the choices; empty for an open question.
    #[serde(default)]
    pub choices: Vec<String>,
    /// The letter of each choice, if the data file skips some: `ABD` for a row whose third choice is empty. Empty for A, B,
    /// C and so on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub letters: String,
    /// Whether the prompt shows the letters, so that a letter alone is an answer. The prompt's maker sets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub letters_shown: bool,
    /// The text of the right choice.
    pub answer: String,
    /// Further answers that are right too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_answers: Vec<String>,
    /// How far a number may be from the right one, if the answer is a number; 0 for the same number. `None` if the answer
    /// is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The rule of the dataset's own script.
    #[serde(default, skip_serializing_if = "OfficialRule::is_default")]
    pub official: OfficialRule,
    /// Where the clip lies: the path of an audio file, of a member of a tar archive (`ARCHIVE.tar!MEMBER`), or of a cell of
    /// a Parquet file (`FILE.parquet#COLUMN=ROW`). Only the crate `audio` tells these apart.
    pub audio_path: PathBuf,
    /// Where the part of the clip that the question is about begins, in seconds; `None` for the clip's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// Where that part ends, in seconds from the beginning of the clip; `None` for the clip's end. Greater than `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// The difficulty, if the dataset states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<Difficulty>,
    /// The dataset's category of the question, such as `count` or `sound`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The reasoning steps that lead to the answer, if the dataset states them, as the soundscape world does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<String>>,
    /// A chain of thought to fine-tune on, if the dataset has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The columns of the row that no other field takes.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Question {
    /// Whether this text is a right answer, letter for letter.
    pub fn is_answer(&self, text: &str) -> bool {
        self.answer == text || self.other_answers.iter().any(|answer| answer == text)
    }

    /// The letter of the choice with this index, in upper case; `None` beyond the 26th choice.
    pub fn letter(&self, index: usize) -> Option<char> {
        if self.letters.is_empty() {
            return u8::try_from(index)
                .ok()
                .filter(|&index| index < 26)
                .map(|index| char::from(b'A' + index));
        }
        self.letters.chars().nth(index)
    }

    /// The index of the choice with this letter, in either case.
    pub fn choice_of_letter(&self, letter: char) -> Option<usize> {
        let letter = letter.to_ascii_uppercase();
        (0..self.choices.len()).find(|&index| self.letter(index) == Some(letter))
    }
}

/// How hard a question is, according to its dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// Can be answered by listening alone.
    Easy,
    /// Between easy and hard.
    Medium,
    /// Needs several steps of reasoning.
    Hard,
}

impl Difficulty {
    /// All difficulties, from easy to hard.
    pub const ALL: [Self; 3] = [Self::Easy, Self::Medium, Self::Hard];

    /// The word for it in data files, metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        }
    }
}

impl std::fmt::Display for Difficulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_needs_four_columns_only_and_keeps_its_metadata() {
        let row =
            r#"{"id":"7","text":"what?","answer":"dog","audio_path":"a.wav","metadata":{"task":"sound"}}"#;
        let question: Question = serde_json::from_str(row).unwrap();
        assert_eq!(question.metadata["task"], "sound");
        assert_eq!((question.difficulty, question.start, question.end), (None, None, None));
        let again: Question = serde_json::from_str(&serde_json::to_string(&question).unwrap()).unwrap();
        assert_eq!(again, question);
    }

    #[test]
    fn difficulty_is_written_in_lower_case() {
        for difficulty in Difficulty::ALL {
            assert_eq!(serde_json::to_string(&difficulty).unwrap(), format!("\"{difficulty}\""));
        }
    }
}
