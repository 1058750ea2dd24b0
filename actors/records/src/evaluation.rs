//! The rows of `eval.jsonl`: one per evaluation of a suite.

use std::collections::BTreeMap;

use scenarios::{Control, RowCause};
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
    /// How the suite was changed; `None` if it was asked as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    #[serde(default)]
    pub policy_version: u64,
    pub overall: Tally,
    /// Questions of the suite, those that could not be asked included; 0 in rows of older runs, which do not say.
    #[serde(default)]
    pub questions: u64,
    /// Questions that were asked; 0 in rows of older runs, which asked each once.
    #[serde(default)]
    pub asked: u64,
    /// Completions per question; 0 in rows of older runs, for 1.
    #[serde(default)]
    pub samples: u64,
    /// Questions of which at least one of several completions is right.
    #[serde(default)]
    pub pass_at_k: u64,
    /// Questions whose most frequent answer of several is right; answers that share the first place count by their share.
    #[serde(default)]
    pub majority_at_k: f64,
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
    /// By column of the data (`eval.by`), then by its value.
    #[serde(default)]
    pub by_column: BTreeMap<String, BTreeMap<String, Tally>>,
    #[serde(default)]
    pub unreadable_clips: u64,
    #[serde(default)]
    pub truncated_clips: u64,
    #[serde(default)]
    pub eval_seconds: f64,
}

impl Evaluation {
    /// The suite as tables name it: `mmau`, or `mmau (silence)` for a control.
    pub fn label(&self) -> String {
        self.control.map_or_else(|| self.suite.clone(), |control| format!("{} ({control})", self.suite))
    }

    /// Number of questions that were asked, also for rows of older runs.
    pub fn questions_asked(&self) -> u64 {
        if self.asked > 0 { self.asked } else { self.overall.n / self.samples.max(1) }
    }

    /// Adds the counts of a later part of the same evaluation.
    pub fn merge(&mut self, later: Evaluation) {
        self.policy_version = later.policy_version;
        self.overall.merge(&later.overall);
        self.asked += later.asked;
        self.pass_at_k += later.pass_at_k;
        self.majority_at_k += later.majority_at_k;
        self.nan_completions += later.nan_completions;
        self.unreadable_clips += later.unreadable_clips;
        self.truncated_clips += later.truncated_clips;
        self.eval_seconds += later.eval_seconds;
        for (cause, count) in later.unusable {
            *self.unusable.entry(cause).or_default() += count;
        }
        merge_groups(&mut self.by_difficulty, later.by_difficulty);
        merge_groups(&mut self.by_kind, later.by_kind);
        for (column, groups) in later.by_column {
            merge_groups(self.by_column.entry(column).or_default(), groups);
        }
    }
}

fn merge_groups(all: &mut BTreeMap<String, Tally>, later: BTreeMap<String, Tally>) {
    for (name, tally) in later {
        all.entry(name).or_default().merge(&tally);
    }
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
    /// Completions that were cut off at the longest length allowed; 0 in rows of older runs.
    pub truncated: u64,
    /// Completions whose answer names a choice, right or wrong; 0 in rows of older runs.
    pub named_choice: u64,
    /// Sum over these completions of one over the number of choices: how many would be right if the choices were guessed.
    pub chance_sum: f64,
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
        self.truncated += other.truncated;
        self.named_choice += other.named_choice;
        self.chance_sum += other.chance_sum;
        self.consistency_sum += other.consistency_sum;
        self.consistency_n += other.consistency_n;
        self.think_quality_sum += other.think_quality_sum;
        self.think_quality_n += other.think_quality_n;
        self.completion_tokens += other.completion_tokens;
    }
}
