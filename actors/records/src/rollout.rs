//! The rows of `rollouts.jsonl`: one per completion.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rewards::{Difficulty, Mode};
use scenarios::Control;
use serde::{Deserialize, Serialize};

use crate::format::FormatVersion;

/// What a completion was sampled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    #[serde(default)]
    pub components: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    pub reward: Option<f64>,
    #[serde(default)]
    pub advantage: Option<f64>,
    #[serde(default)]
    pub weights_version: Option<u64>,
    #[serde(default)]
    pub policy_version: u64,
    #[serde(default)]
    pub tokens: Option<u64>,
    #[serde(default)]
    pub truncated: bool,
}
