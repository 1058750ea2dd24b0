//! What a run writes down, line by line. `docs/metrics.md` defines every field.
//!
//! Every time and rate is in a field ending in `_seconds` or `_per_second`; all else is the same in two runs with
//! one seed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rewards::{Difficulty, FailureCause, Mode};
use serde::{Deserialize, Serialize};

use crate::reward::Cause;

/// A line of `metrics.jsonl` of a GRPO arm: one step.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct GrpoMetrics {
    pub step: u64,
    pub total_steps: u64,
    pub policy_version: u64,
    pub weights_version: u64,
    pub weights: BTreeMap<String, f64>,
    pub staleness: u64,
    pub reward: Option<f64>,
    pub reward_std: Option<f64>,
    pub components: BTreeMap<String, Option<f64>>,
    pub missing: BTreeMap<String, u64>,
    pub missing_causes: BTreeMap<String, BTreeMap<Cause, u64>>,
    pub accuracy: f64,
    pub think_rate: f64,
    pub think_rate_by_difficulty: BTreeMap<String, f64>,
    pub format_rate: f64,
    pub consistency: Option<f64>,
    pub think_quality: Option<f64>,
    pub judge_requests: u64,
    pub judge_failures: BTreeMap<FailureCause, u64>,
    pub judge_cache_hit_rate: Option<f64>,
    pub judge_retries: u64,
    pub judge_prompt_tokens: u64,
    pub judge_reply_tokens: u64,
    pub judge_disagreement: Option<f64>,
    pub completion_tokens_mean: f64,
    pub truncated_rate: f64,
    pub groups_dispatched: u64,
    pub groups_trained: u64,
    pub groups_excluded: BTreeMap<String, u64>,
    pub audio_truncated: u64,
    pub frac_zero_std: f64,
    pub loss: Option<f64>,
    pub kl: Option<f64>,
    pub clip_frac_low: Option<f64>,
    pub clip_frac_high: Option<f64>,
    pub grad_norm: Option<f64>,
    pub lr: Option<f64>,
    pub load_seconds: f64,
    pub sample_seconds: f64,
    pub judge_seconds: f64,
    pub reward_seconds: f64,
    pub optimize_seconds: f64,
    pub actor_seconds: f64,
    pub boundary_seconds: f64,
    pub step_seconds: f64,
    pub tokens_per_second: f64,
}

/// A line of `metrics.jsonl` of an SFT arm: one step.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct SftMetrics {
    pub step: u64,
    pub total_steps: u64,
    pub policy_version: u64,
    pub groups_dispatched: u64,
    pub groups_trained: u64,
    pub groups_excluded: BTreeMap<String, u64>,
    pub audio_truncated: u64,
    pub loss: Option<f64>,
    pub grad_norm: Option<f64>,
    pub lr: Option<f64>,
    pub target_tokens: u64,
    pub load_seconds: f64,
    pub optimize_seconds: f64,
    pub actor_seconds: f64,
    pub boundary_seconds: f64,
    pub step_seconds: f64,
    pub tokens_per_second: f64,
}

/// Whether a completion was sampled to train on or to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// To train on.
    Train,
    /// To evaluate.
    Eval,
}

/// A line of `rollouts.jsonl`: one completion.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct Rollout {
    pub phase: Phase,
    pub step: u64,
    pub group: u64,
    pub index: u64,
    pub id: String,
    pub question: String,
    pub choices: Vec<String>,
    pub answer_gold: String,
    pub audio_path: PathBuf,
    pub difficulty: Option<Difficulty>,
    pub kind: Option<String>,
    pub completion: String,
    pub mode: Mode,
    pub think: Option<String>,
    pub answer: Option<String>,
    pub correct: bool,
    pub well_formed: bool,
    pub components: BTreeMap<String, Option<f64>>,
    pub reward: Option<f64>,
    pub advantage: Option<f64>,
    pub weights_version: Option<u64>,
    pub policy_version: u64,
    pub tokens: u64,
    pub truncated: bool,
}

/// Counts and sums over completions, so that they pool over seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
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

impl Tally {
    /// Adds another evaluation's.
    pub fn merge(&mut self, other: &Tally) {
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

/// A line of `eval.jsonl`: one evaluation of one suite.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct Evaluation {
    pub step: u64,
    pub suite: String,
    pub policy_version: u64,
    pub overall: Tally,
    pub by_difficulty: BTreeMap<String, Tally>,
    pub by_kind: BTreeMap<String, Tally>,
    pub unreadable_clips: u64,
    pub truncated_clips: u64,
    pub eval_seconds: f64,
}

/// `status.json` of an arm under a seed.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct Status {
    pub arm: String,
    pub seed: u64,
    pub method: scenarios::Method,
    pub status: &'static str,
    pub reason: Option<String>,
    pub step: u64,
    pub total_steps: u64,
    pub checkpoint: Option<PathBuf>,
    pub groups: GroupCounts,
    pub wall_seconds: f64,
}

/// Where groups ended (CONDUCT-1): `dispatched = trained + Σ excluded`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupCounts {
    /// Groups sent out to be sampled.
    pub dispatched: u64,
    /// Groups trained on.
    pub trained: u64,
    /// Groups not trained on, by reason.
    pub excluded: BTreeMap<String, u64>,
}

impl GroupCounts {
    /// Counts one group out.
    pub fn exclude(&mut self, reason: &str) {
        *self.excluded.entry(reason.to_owned()).or_default() += 1;
    }

    /// Whether every group sent out ended exactly once.
    pub fn adds_up(&self) -> bool {
        self.dispatched == self.trained + self.excluded.values().sum::<u64>()
    }

    /// Adds the counts of a step, or of another seed.
    pub fn add(&mut self, step: &GroupCounts) {
        self.dispatched += step.dispatched;
        self.trained += step.trained;
        for (reason, count) in &step.excluded {
            *self.excluded.entry(reason.clone()).or_default() += count;
        }
    }
}
