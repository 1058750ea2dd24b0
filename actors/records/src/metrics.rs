//! The rows of `metrics.jsonl`: one per training step.
//!
//! Every time and rate is in a field ending in `_seconds` or `_per_second`, and memory in one beginning with `memory_`; all
//! other fields are equal in two runs with the same seed. To add a column, add a field here, fill it in where the step is recorded (`record.rs` of the crate
//! `run`), and define it in `docs/metrics.md`.

use std::collections::BTreeMap;
use std::fmt;

use rewards::FailureCause;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::format::FormatVersion;
use crate::health::StepHealth;

/// Why a score is missing, as counted in `missing_causes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingCause {
    /// The reward returned no score for this completion.
    Null,
    /// The score was NaN or infinite.
    NotANumber,
    /// The reward returned more or fewer scores than completions.
    WrongLength,
    /// The reward reported that it could not score the batch.
    Error,
    /// The reply could not be parsed.
    BadAnswer,
    /// No reply came within the time limit.
    TimedOut,
    /// The reward's process exited twice while it scored the batch.
    Died,
    /// The process could not be started, or the server not be reached.
    Unavailable,
}

impl fmt::Display for MissingCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Whether a metric measures the time or the memory that a step took, and so differs between two runs of one seed.
pub fn is_timing(metric: &str) -> bool {
    metric.ends_with("_seconds") || metric.ends_with("_per_second") || metric.starts_with("memory_")
}

/// A step of an arm that is trained by GRPO. In rows of older runs, fields may be absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct GrpoMetrics {
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
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
    pub missing_causes: BTreeMap<String, BTreeMap<MissingCause, u64>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reward_metrics: BTreeMap<String, BTreeMap<String, f64>>,
    pub accuracy: Option<f64>,
    pub think_rate: Option<f64>,
    pub think_rate_by_difficulty: BTreeMap<String, Option<f64>>,
    pub format_rate: Option<f64>,
    pub consistency: Option<f64>,
    pub think_quality: Option<f64>,
    pub judge_requests: u64,
    pub judge_failures: BTreeMap<FailureCause, u64>,
    pub judge_cache_hit_rate: Option<f64>,
    pub judge_retries: u64,
    pub judge_prompt_tokens: u64,
    pub judge_reply_tokens: u64,
    pub judge_disagreement: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rating_disagreement: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_spent_requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_spent_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_spent_cost: Option<f64>,
    pub completion_tokens_mean: Option<f64>,
    pub think_tokens_mean: Option<f64>,
    pub truncated_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign_script_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_agreement: Option<f64>,
    pub groups_dispatched: u64,
    pub groups_trained: u64,
    pub groups_excluded: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_rounds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded_tokens: Option<u64>,
    pub audio_truncated: u64,
    pub frac_zero_std: Option<f64>,
    pub loss: Option<f64>,
    pub kl: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_coef: Option<f64>,
    pub entropy: Option<f64>,
    pub entropy_think: Option<f64>,
    pub entropy_answer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_coef: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_kept_frac: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance_weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance_cut_frac: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_policy_frac: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_ratio_mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_ratio_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_ess: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprob_gap_mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprob_gap_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_gap: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts_retried: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts_dropped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts_continued: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts_restarted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts_moved: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_staleness: Option<f64>,
    pub clip_frac_low: Option<f64>,
    pub clip_frac_high: Option<f64>,
    pub grad_norm: Option<f64>,
    pub lr: Option<f64>,
    #[serde(flatten)]
    pub health: StepHealth,
    pub load_seconds: Option<f64>,
    pub sample_seconds: Option<f64>,
    pub judge_seconds: Option<f64>,
    pub reward_seconds: Option<f64>,
    pub optimize_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler_idle_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learner_idle_seconds: Option<f64>,
    pub actor_seconds: Option<f64>,
    pub boundary_seconds: Option<f64>,
    pub step_seconds: Option<f64>,
    pub tokens_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_sampling_bytes: Option<u64>,
    #[serde(flatten)]
    pub memory: TrainingMemory,
}

/// A step of an arm that is trained on supervised targets. In rows of older runs, fields may be absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct SftMetrics {
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    pub step: u64,
    pub total_steps: u64,
    pub policy_version: u64,
    pub groups_dispatched: u64,
    pub groups_trained: u64,
    pub groups_excluded: BTreeMap<String, u64>,
    pub audio_truncated: u64,
    pub loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align_accuracy: Option<f64>,
    pub grad_norm: Option<f64>,
    pub lr: Option<f64>,
    pub target_tokens: u64,
    #[serde(flatten)]
    pub health: StepHealth,
    pub load_seconds: Option<f64>,
    pub optimize_seconds: Option<f64>,
    pub actor_seconds: Option<f64>,
    pub boundary_seconds: Option<f64>,
    pub step_seconds: Option<f64>,
    pub tokens_per_second: Option<f64>,
    #[serde(flatten)]
    pub memory: TrainingMemory,
}

/// The memory that a training step took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct TrainingMemory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_forward_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_backward_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_optimizer_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_splits: Option<u64>,
}

/// A row of `metrics.jsonl`, whichever way the arm is trained.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "named after the training method")]
pub enum StepMetrics {
    Grpo(Box<GrpoMetrics>),
    Sft(Box<SftMetrics>),
}

impl StepMetrics {
    /// The row of an arm that is trained by GRPO.
    pub fn grpo(&self) -> Option<&GrpoMetrics> {
        match self {
            StepMetrics::Grpo(row) => Some(row),
            StepMetrics::Sft(_) => None,
        }
    }
}

/// Accessors of the fields that both kinds of row have.
macro_rules! in_both {
    ($($field:ident: $type:ty),+ $(,)?) => {
        impl StepMetrics {
            $(
                #[doc = concat!("The row's `", stringify!($field), "`; `docs/metrics.md` defines it.")]
                pub fn $field(&self) -> $type {
                    match self {
                        StepMetrics::Grpo(row) => row.$field,
                        StepMetrics::Sft(row) => row.$field,
                    }
                }
            )+
        }
    };
}

in_both! {
    step: u64,
    total_steps: u64,
    groups_dispatched: u64,
    groups_trained: u64,
    loss: Option<f64>,
    load_seconds: Option<f64>,
    optimize_seconds: Option<f64>,
    actor_seconds: Option<f64>,
    step_seconds: Option<f64>,
    tokens_per_second: Option<f64>,
}

impl StepMetrics {
    /// The health of the policy at this step.
    pub fn health(&self) -> &StepHealth {
        match self {
            StepMetrics::Grpo(row) => &row.health,
            StepMetrics::Sft(row) => &row.health,
        }
    }

    /// Groups that the step did not train on, by reason.
    pub fn groups_excluded(&self) -> &BTreeMap<String, u64> {
        match self {
            StepMetrics::Grpo(row) => &row.groups_excluded,
            StepMetrics::Sft(row) => &row.groups_excluded,
        }
    }
}

impl<'de> Deserialize<'de> for StepMetrics {
    /// Only GRPO rows have rewards; the two kinds are told apart by the field `components`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kind {
            components: Option<IgnoredAny>,
        }
        let row = serde_json::Value::deserialize(deserializer)?;
        let kind = Kind::deserialize(&row).map_err(de::Error::custom)?;
        match kind.components {
            Some(_) => GrpoMetrics::deserialize(row).map(|row| StepMetrics::Grpo(Box::new(row))),
            None => SftMetrics::deserialize(row).map(|row| StepMetrics::Sft(Box::new(row))),
        }
        .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_kinds_come_back_as_they_were_written() {
        let grpo = GrpoMetrics { step: 3, reward: Some(0.5), ..GrpoMetrics::default() };
        let sft = SftMetrics { step: 4, target_tokens: 9, ..SftMetrics::default() };
        let [grpo, sft] = [serde_json::to_string(&grpo).unwrap(), serde_json::to_string(&sft).unwrap()];
        assert!(grpo.starts_with(r#"{"format_version":1,"step":3,"#), "{grpo}");
        for (line, step, reward) in [(grpo, 3, Some(0.5)), (sft, 4, None)] {
            let row: StepMetrics = serde_json::from_str(&line).unwrap();
            assert_eq!((row.step(), row.grpo().and_then(|row| row.reward)), (step, reward));
            assert_eq!(serde_json::to_string(&row).unwrap(), line);
        }
    }

    /// The names that conditions of alarms may use are those of columns, and all single numbers have one.
    #[test]
    fn every_number_that_an_alarm_may_name_is_a_column() {
        let names = |row: &serde_json::Value| -> Vec<String> {
            let other = ["format_version", "total_steps", "policy_version", "weights_version"];
            let row = row.as_object().unwrap().iter();
            let numbers = row.filter(|(name, value)| !value.is_object() && !other.contains(&name.as_str()));
            numbers.map(|(name, _)| name.clone()).collect()
        };
        let filled = |known: &[&str]| -> serde_json::Value {
            let numbers = known.iter().map(|name| ((*name).to_owned(), serde_json::json!(1)));
            numbers.collect::<serde_json::Map<_, _>>().into()
        };
        let sorted = |known: &[&str]| -> Vec<String> {
            let mut names: Vec<String> = known.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let grpo: GrpoMetrics = serde_json::from_value(filled(&scenarios::GRPO_NUMBERS)).unwrap();
        let mut found = names(&serde_json::to_value(grpo).unwrap());
        found.sort();
        assert_eq!(found, sorted(&scenarios::GRPO_NUMBERS));
        let sft: SftMetrics = serde_json::from_value(filled(&scenarios::SFT_NUMBERS)).unwrap();
        let mut found = names(&serde_json::to_value(sft).unwrap());
        found.sort();
        let missing = [
            "collapsed_streak",
            "distinct_completions",
            "equal_reward_streak",
            "nan_completions",
            "one_token_rate",
            "unusable_rows",
        ];
        found.retain(|name| !missing.contains(&name.as_str()));
        assert_eq!(found, sorted(&scenarios::SFT_NUMBERS));
    }

    #[test]
    fn a_row_from_before_format_versions_is_read_and_what_it_lacks_is_absent() {
        let row: StepMetrics = serde_json::from_str(r#"{"step": 1, "components": {"think": null}}"#).unwrap();
        let row = row.grpo().unwrap();
        assert_eq!(row.format_version, FormatVersion::unnamed());
        assert_eq!((row.accuracy, row.components["think"]), (None, None));
    }
}
