//! The rows of a run directory as the report reads them: lenient, since a killed run or an older recorder may
//! have left fields out. What is absent is shown as absent, never as zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    pub groups: Option<Groups>,
    pub wall_seconds: Option<f64>,
}

/// What became of the groups a run dispatched: each is trained on, or excluded for a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Groups {
    /// Groups handed to the sampler.
    pub dispatched: u64,
    /// Groups the optimizer took a step on.
    pub trained: u64,
    /// Groups left out, by reason.
    pub excluded: BTreeMap<String, u64>,
}

impl Groups {
    /// Whether every dispatched group is accounted for exactly once.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.dispatched == self.trained + self.excluded.values().sum::<u64>()
    }

    /// Adds another account to this one.
    pub(super) fn merge(&mut self, other: &Groups) {
        self.dispatched += other.dispatched;
        self.trained += other.trained;
        for (reason, count) in &other.excluded {
            *self.excluded.entry(reason.clone()).or_default() += count;
        }
    }
}

/// One line of `metrics.jsonl`, the fields that the report draws.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MetricsRow {
    pub step: u64,
    pub total_steps: Option<u64>,
    pub reward: Option<f64>,
    pub components: BTreeMap<String, Option<f64>>,
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
    pub overall: Counts,
    #[serde(default)]
    pub by_difficulty: BTreeMap<String, Counts>,
    #[serde(default)]
    pub by_kind: BTreeMap<String, Counts>,
}

/// Counts and sums over the completions of an evaluation; they add up over seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Completions scored.
    pub n: u64,
    /// Correct by exact choice match.
    pub correct: u64,
    /// Correct by the benchmark's own string match.
    pub correct_official: u64,
    /// Completions that think.
    pub think: u64,
    /// Completions in one of the two valid forms.
    pub well_formed: u64,
    /// Sum of the consistency verdicts.
    pub consistency_sum: f64,
    /// Completions with a consistency verdict.
    pub consistency_n: u64,
    /// Sum of the think-quality verdicts.
    pub think_quality_sum: f64,
    /// Completions with a think-quality verdict.
    pub think_quality_n: u64,
    /// Sum of completion lengths, in tokens.
    pub completion_tokens: u64,
}

impl Counts {
    /// Adds another evaluation's counts to these.
    pub(super) fn merge(&mut self, other: &Counts) {
        self.n += other.n;
        self.correct += other.correct;
        self.correct_official += other.correct_official;
        self.think += other.think;
        self.well_formed += other.well_formed;
        self.consistency_sum += other.consistency_sum;
        self.consistency_n += other.consistency_n;
        self.think_quality_sum += other.think_quality_sum;
        self.think_quality_n += other.think_quality_n;
        self.completion_tokens += other.completion_tokens;
    }
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

/// Whether a completion was sampled to train on or to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Train,
    Eval,
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
