//! The question a completion answers, as every room of the house sees it.
//!
//! A dataset makes [`Question`]s, the sampler answers them, the rewards and the judge read them. Nothing in
//! here is known to the policy but `text`, `choices` and the clip at `audio_path`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One question about one clip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The data set's own name of the question.
    pub id: String,
    /// The question, without its choices.
    pub text: String,
    /// The texts to choose from; empty for an open question.
    #[serde(default)]
    pub choices: Vec<String>,
    /// The text of the right choice.
    pub answer: String,
    /// Where the clip lies.
    pub audio_path: PathBuf,
    /// How hard the data set says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<Difficulty>,
    /// The data set's own kind of question: `count`, `sound`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The reasoning steps that lead to the answer, where the data knows them (soundscapes do).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<String>>,
    /// A written-out chain of thought to fine-tune on, where the data has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Every other column of the row.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// How hard a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// Answered by listening.
    Easy,
    /// In between.
    Medium,
    /// Answered by working it out.
    Hard,
}

impl Difficulty {
    /// All of them, easiest first.
    pub const ALL: [Self; 3] = [Self::Easy, Self::Medium, Self::Hard];

    /// The word used in data files, metrics and tables.
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
    fn a_question_needs_only_its_four_columns_and_keeps_the_rest() {
        let row =
            r#"{"id":"7","text":"what?","answer":"dog","audio_path":"a.wav","metadata":{"task":"sound"}}"#;
        let question: Question = serde_json::from_str(row).unwrap();
        assert_eq!(question.metadata["task"], "sound");
        assert_eq!(question.difficulty, None);
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
