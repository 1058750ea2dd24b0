//! The rows of a run directory as the report reads them: lenient, since a killed run or an older recorder may
//! have left fields out. What is absent is shown as absent, never as zero.

use std::collections::BTreeMap;

use serde::Deserialize;

pub(super) use crate::records::Phase;
pub use crate::records::{GroupCounts, Tally};

/// `status.json` of one arm and seed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusRow {
    pub arm: Option<String>,
    pub seed: Option<u64>,
    pub method: Option<String>,
    pub status: Option<String>,
    pub reason: Option<String>,
    pub step: Option<u64>,
    pub total_steps: Option<u64>,
    pub checkpoint: Option<String>,
    pub groups: Option<GroupCounts>,
    pub wall_seconds: Option<f64>,
}

/// One line of `metrics.jsonl`, the fields that the report draws.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MetricsRow {
    pub step: u64,
    pub total_steps: Option<u64>,
    pub reward: Option<f64>,
    pub components: BTreeMap<String, Option<f64>>,
    pub missing_causes: BTreeMap<String, BTreeMap<String, u64>>,
    pub accuracy: Option<f64>,
    pub think_rate: Option<f64>,
    pub think_rate_by_difficulty: BTreeMap<String, Option<f64>>,
    pub format_rate: Option<f64>,
    pub consistency: Option<f64>,
    pub think_quality: Option<f64>,
    pub completion_tokens_mean: Option<f64>,
    pub loss: Option<f64>,
    pub kl: Option<f64>,
    pub groups_dispatched: u64,
    pub groups_trained: u64,
    pub groups_excluded: BTreeMap<String, u64>,
    pub load_seconds: Option<f64>,
    pub sample_seconds: Option<f64>,
    pub reward_seconds: Option<f64>,
    pub optimize_seconds: Option<f64>,
    pub actor_seconds: Option<f64>,
    pub step_seconds: Option<f64>,
    pub tokens_per_second: Option<f64>,
}

/// One line of `eval.jsonl`: one evaluation on one suite.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EvalRow {
    pub step: u64,
    pub suite: String,
    pub overall: Tally,
    #[serde(default)]
    pub by_difficulty: BTreeMap<String, Tally>,
    #[serde(default)]
    pub by_kind: BTreeMap<String, Tally>,
}

/// What is read of every line of `rollouts.jsonl` before deciding whether the whole of it is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct RolloutHead {
    pub phase: Phase,
    pub step: u64,
    #[serde(default)]
    pub difficulty: Option<String>,
    #[serde(default)]
    pub mode: Option<String>,
    #[serde(default)]
    pub correct: bool,
    #[serde(default)]
    pub tokens: Option<f64>,
}

/// One line of `rollouts.jsonl`: a completion with everything that scored it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rollout {
    pub phase: Phase,
    pub step: u64,
    #[serde(default)]
    pub question: String,
    #[serde(default)]
    pub choices: Vec<String>,
    #[serde(default)]
    pub answer_gold: String,
    #[serde(default)]
    pub audio_path: Option<String>,
    #[serde(default)]
    pub difficulty: Option<String>,
    #[serde(default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub completion: String,
    #[serde(default)]
    pub mode: Option<String>,
    #[serde(default)]
    pub think: Option<String>,
    #[serde(default)]
    pub answer: Option<String>,
    #[serde(default)]
    pub correct: bool,
    #[serde(default)]
    pub well_formed: bool,
    #[serde(default)]
    pub components: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    pub reward: Option<f64>,
    #[serde(default)]
    pub advantage: Option<f64>,
    #[serde(default)]
    pub tokens: Option<f64>,
    #[serde(default)]
    pub truncated: bool,
}
