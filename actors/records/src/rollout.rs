//! The rows of `rollouts.jsonl`: one per completion.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rewards::{Difficulty, Graded, Mode, RewardItem, Rubric};
use scenarios::Control;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::FormatVersion;

/// What a completion was sampled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named after training and evaluation")]
pub enum Phase {
    Train,
    Eval,
}

/// A completion with its question, its scores and what was trained on. In rows of older runs, fields may be absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct Rollout {
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    pub phase: Phase,
    pub step: u64,
    /// The evaluation suite; `None` in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// How the suite was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    #[serde(default)]
    pub group: u64,
    #[serde(default)]
    pub index: u64,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub question: String,
    #[serde(default)]
    pub choices: Vec<String>,
    #[serde(default)]
    pub answer_gold: String,
    #[serde(default)]
    pub audio_path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_start: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_end: Option<f64>,
    #[serde(default)]
    pub difficulty: Option<Difficulty>,
    #[serde(default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub completion: String,
    #[serde(default)]
    pub mode: Option<Mode>,
    #[serde(default)]
    pub think: Option<String>,
    #[serde(default)]
    pub answer: Option<String>,
    #[serde(default)]
    pub correct: bool,
    #[serde(default)]
    pub correct_official: Option<bool>,
    #[serde(default)]
    pub correct_lenient: Option<bool>,
    #[serde(default)]
    pub well_formed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_quality: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_disagreement: Option<f64>,
    #[serde(default)]
    pub components: BTreeMap<String, Option<f64>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extras: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub graded: BTreeMap<String, GradedCompletion>,
    #[serde(default)]
    pub reward: Option<f64>,
    #[serde(default)]
    pub advantage: Option<f64>,
    #[serde(default)]
    pub weights_version: Option<u64>,
    #[serde(default)]
    pub policy_version: u64,
    /// Version and number of tokens of each part, if several versions drew the completion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_versions: Vec<[u64; 2]>,
    #[serde(default)]
    pub tokens: Option<u64>,
    #[serde(default)]
    pub truncated: bool,
}

/// What a judge gave a completion for one reward.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct GradedCompletion {
    #[serde(default)]
    pub score: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ratings: Vec<Option<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rubric: Option<Arc<Rubric>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl GradedCompletion {
    /// The record of a result.
    pub fn of(graded: &Graded) -> Self {
        Self {
            score: graded.score,
            ratings: graded.ratings.clone(),
            disagreement: graded.disagreement(),
            rubric: graded.made.clone(),
            note: graded.note.clone(),
        }
    }
}

impl Rollout {
    /// The row of a completion, without its place in the group, its scores and its versions, which the caller sets.
    pub fn of(phase: Phase, step: u64, item: &RewardItem) -> Self {
        let question = &item.question;
        Rollout {
            format_version: FormatVersion::CURRENT,
            phase,
            step,
            suite: None,
            control: None,
            group: 0,
            index: 0,
            id: question.id.clone(),
            question: question.text.clone(),
            choices: question.choices.clone(),
            answer_gold: question.answer.clone(),
            audio_path: Some(question.audio_path.clone()),
            audio_start: None,
            audio_end: question.end,
            difficulty: question.difficulty,
            kind: question.kind.clone(),
            completion: item.completion.clone(),
            mode: Some(item.parsed.mode),
            think: item.parsed.think.clone(),
            answer: item.parsed.answer.clone(),
            correct: item.readings.strict,
            correct_official: item.readings.official,
            correct_lenient: Some(item.readings.lenient),
            well_formed: item.parsed.well_formed,
            consistency: item.verdict.as_ref().and_then(|verdict| verdict.consistency),
            think_quality: item.verdict.as_ref().and_then(|verdict| verdict.think_quality),
            judge_disagreement: None,
            components: BTreeMap::new(),
            extras: BTreeMap::new(),
            graded: BTreeMap::new(),
            reward: None,
            advantage: None,
            weights_version: None,
            policy_version: 0,
            policy_versions: Vec::new(),
            tokens: Some(item.completion_tokens as u64),
            truncated: item.truncated,
        }
    }
}
