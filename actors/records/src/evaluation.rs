//! The rows of `eval.jsonl`: one per evaluation of a suite.

use std::collections::BTreeMap;

use scenarios::RowCause;
use serde::{Deserialize, Serialize};

use crate::format::FormatVersion;

/// One evaluation of one suite. In rows of older runs, fields may be absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct Evaluation {
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    pub step: u64,
    pub suite: String,
    #[serde(default)]
    pub policy_version: u64,
    pub overall: Tally,
    /// Questions of the suite, those that could not be asked included; 0 in rows of older runs, which do not say.
    #[serde(default)]
    pub questions: u64,
    /// Questions that could not be asked, by cause.
    #[serde(default)]
    pub unusable: BTreeMap<RowCause, u64>,
    /// Completions with a log-probability that is NaN.
    #[serde(default)]
    pub nan_completions: u64,
    #[serde(default)]
    pub by_difficulty: BTreeMap<String, Tally>,
    #[serde(default)]
    pub by_kind: BTreeMap<String, Tally>,
    #[serde(default)]
    pub unreadable_clips: u64,
    #[serde(default)]
    pub truncated_clips: u64,
    #[serde(default)]
    pub eval_seconds: f64,
}

/// Counts and sums over completions, so that they can be pooled over seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Number of completions that were scored.
    pub n: u64,
    /// Completions whose answer matches the right choice exactly.
    pub correct: u64,
    /// Completions that the benchmark's own script accepts.
    pub correct_official: u64,
    /// Completions that the benchmark's own script scores at all; 0 in rows of older runs, which do not say.
    pub official_n: u64,
    /// Completions whose answer mentions the right choice and no other; 0 in rows of older runs.
    pub correct_lenient: u64,
    /// Completions that think before they answer.
    pub think: u64,
    /// Completions in one of the two valid forms, with and without thinking.
    pub well_formed: u64,
    /// Sum of the consistency verdicts, each from 0 to 1.
    pub consistency_sum: f64,
    /// Completions with a consistency verdict.
    pub consistency_n: u64,
    /// Sum of the think-quality verdicts, each from 0 to 1.
    pub think_quality_sum: f64,
    /// Completions with a think-quality verdict.
    pub think_quality_n: u64,
    /// Sum of completion lengths, in tokens.
    pub completion_tokens: u64,
}

impl Tally {
    /// Pools the counts of another evaluation into this one.
    pub fn merge(&mut self, other: &Tally) {
        self.n += other.n;
        self.correct += other.correct;
        self.correct_official += other.correct_official;
        self.official_n += other.official_n;
        self.correct_lenient += other.correct_lenient;
        self.think += other.think;
        self.well_formed += other.well_formed;
        self.consistency_sum += other.consistency_sum;
        self.consistency_n += other.consistency_n;
        self.think_quality_sum += other.think_quality_sum;
        self.think_quality_n += other.think_quality_n;
        self.completion_tokens += other.completion_tokens;
    }
}
