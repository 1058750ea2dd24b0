//! Sets of completions with known verdicts, with which `sandbox judge SCENARIO` measures a judge.
//!
//! A set is a JSONL file; the built-in ones are in `scenarios/judge/`. Each line has a question with its choices,
//! thinking, an answer, and the verdict that a careful reader gives. In a set of attacks `think` addresses the judge,
//! and `plain` is the same thinking without the attack; an attack succeeds if `think` gets a higher grade than `plain`.

use std::path::Path;
use std::sync::Arc;

use rewards::{JudgeRequest, Question};
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;
use crate::scenario::JudgeSet;

/// A completion whose verdict is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgedExample {
    /// Id of the completion, unique within its set.
    pub id: String,
    /// The wording of the question.
    pub question: String,
    /// The texts of the choices.
    #[serde(default)]
    pub choices: Vec<String>,
    /// The reasoning steps that lead to the answer, if they are known; `rules` needs them to grade quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<String>>,
    /// The content of `<think>`.
    pub think: String,
    /// The content of `<answer>`.
    pub answer: String,
    /// The known R_c: 0 or 1.
    pub consistency: f64,
    /// The known R_t: 0 to 1.
    pub quality: f64,
    /// The kind of attack in `think`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<String>,
    /// The thinking without the attack. It is given exactly if `attack` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<String>,
}

impl JudgedExample {
    /// The request to the judge about this completion.
    pub fn request(&self) -> JudgeRequest {
        self.request_with(&self.think)
    }

    /// The request about the same completion without the attack.
    pub fn plain_request(&self) -> Option<JudgeRequest> {
        self.plain.as_deref().map(|think| self.request_with(think))
    }

    fn request_with(&self, think: &str) -> JudgeRequest {
        let question = Question {
            id: self.id.clone(),
            text: self.question.clone(),
            choices: self.choices.clone(),
            steps: self.steps.clone(),
            ..Question::default()
        };
        JudgeRequest { question: Arc::new(question), think: think.to_owned(), answer: self.answer.clone() }
    }
}

/// Reads the completions of a set.
///
/// Errors: The file cannot be read, or a line is not such a completion.
pub fn open_judge_set(set: &JudgeSet) -> Result<Vec<JudgedExample>, ScenarioError> {
    match set {
        JudgeSet::Soundscapes => {
            read(Path::new("scenarios/judge/soundscapes.jsonl"), include_str!("../judge/soundscapes.jsonl"))
        }
        JudgeSet::General => {
            read(Path::new("scenarios/judge/general.jsonl"), include_str!("../judge/general.jsonl"))
        }
        JudgeSet::Attacks => {
            read(Path::new("scenarios/judge/attacks.jsonl"), include_str!("../judge/attacks.jsonl"))
        }
        JudgeSet::File(path) => {
            let instead = "write the path of a JSONL file in judge.calibration";
            let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
                path: path.clone(),
                source,
                instead,
            })?;
            read(path, &text)
        }
    }
}

fn read(path: &Path, text: &str) -> Result<Vec<JudgedExample>, ScenarioError> {
    let mut examples = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |problem: String, instead: &str| ScenarioError::value(problem, instead).in_row(path, index + 1);
        let example: JudgedExample = serde_json::from_str(line).map_err(|error| {
            wrong(format!("not a judged completion ({error})"), "see scenarios/judge/general.jsonl")
        })?;
        if example.consistency != 0.0 && example.consistency != 1.0 {
            return Err(wrong(format!("consistency is {}", example.consistency), "write 0 or 1"));
        }
        if !(0.0..=1.0).contains(&example.quality) {
            return Err(wrong(format!("quality is {}", example.quality), "write a number from 0 to 1"));
        }
        if example.attack.is_some() != example.plain.is_some() {
            let problem = "it has only one of `attack` and `plain`".to_owned();
            return Err(wrong(problem, "write both: `plain` is the thinking without the attack"));
        }
        examples.push(example);
    }
    if examples.is_empty() {
        let problem = "it has no judged completions".to_owned();
        let instead = "write one JSON object per line, as in scenarios/judge/general.jsonl".to_owned();
        return Err(ScenarioError::File { path: path.into(), problem, instead });
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rewards::{Judge, RulesJudge};

    use super::*;

    #[test]
    fn every_built_in_set_is_valid() {
        for set in JudgeSet::builtin() {
            let examples = open_judge_set(&set).unwrap();
            let ids: BTreeSet<&str> = examples.iter().map(|example| example.id.as_str()).collect();
            assert_eq!(ids.len(), examples.len(), "{}: ids are unique", set.name());
            assert!(examples.len() >= 20, "{}", set.name());
            for example in &examples {
                assert!(example.choices.contains(&example.answer), "{}", example.id);
                assert_eq!(example.attack.is_some(), set == JudgeSet::Attacks, "{}", example.id);
            }
        }
    }

    #[test]
    fn on_soundscapes_the_rules_give_the_known_verdicts() {
        for example in open_judge_set(&JudgeSet::Soundscapes).unwrap() {
            let verdict = RulesJudge.judge(&example.request());
            let known = (Some(example.consistency), Some(example.quality));
            assert_eq!((verdict.consistency, verdict.think_quality), known, "{}", example.id);
        }
    }

    #[test]
    fn a_wrong_line_is_reported_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.jsonl");
        let line =
            r#"{"id": "a", "question": "?", "think": "", "answer": "b", "consistency": 1, "quality": 0.5}"#;
        std::fs::write(&path, format!("{line}\n\n{}", line.replace("0.5", "7"))).unwrap();
        let error = open_judge_set(&JudgeSet::File(path)).unwrap_err().to_string();
        assert!(error.ends_with("mine.jsonl:3: quality is 7; write a number from 0 to 1"), "{error}");
    }
}
