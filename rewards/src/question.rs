//! The question that a completion answers, as all crates use it.
//!
//! Datasets produce [`Question`]s, the sampler has the policy answer them, and rewards and judges read them. The policy
//! is shown `text`, `choices` and the clip at `audio_path` only.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// The text of the right choice.
    pub answer: String,
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
