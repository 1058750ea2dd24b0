//! The numbers that a condition may name: those of a step, and those of an evaluation.

use rewards::FailureCause;

use super::super::{ArmConfig, Method};

/// The columns of `metrics.jsonl` that are single numbers, in arms that are trained by GRPO.
pub const GRPO_NUMBERS: [&str; 85] = [
    "accuracy",
    "actor_seconds",
    "audio_truncated",
    "boundary_seconds",
    "canary_gap",
    "clip_frac_high",
    "clip_frac_low",
    "collapsed_streak",
    "completion_tokens_mean",
    "consistency",
    "discarded_tokens",
    "distinct_completions",
    "entropy",
    "entropy_answer",
    "entropy_coef",
    "entropy_kept_frac",
    "entropy_think",
    "equal_reward_streak",
    "extra_rounds",
    "foreign_script_rate",
    "format_rate",
    "frac_zero_std",
    "grad_norm",
    "groups_dispatched",
    "groups_trained",
    "importance_cut_frac",
    "importance_weight",
    "judge_agreement",
    "judge_cache_hit_rate",
    "judge_disagreement",
    "judge_prompt_tokens",
    "judge_reply_tokens",
    "judge_requests",
    "judge_retries",
    "judge_seconds",
    "judge_spent_cost",
    "judge_spent_requests",
    "judge_spent_tokens",
    "kl",
    "kl_coef",
    "kl_penalty",
    "learner_idle_seconds",
    "load_seconds",
    "logprob_gap_max",
    "logprob_gap_mean",
    "loss",
    "lr",
    "memory_backward_bytes",
    "memory_forward_bytes",
    "memory_optimizer_bytes",
    "memory_sampling_bytes",
    "memory_splits",
    "nan_completions",
    "nonfinite_tensors",
    "off_policy_frac",
    "one_token_rate",
    "optimize_seconds",
    "repetition_rate",
    "restarted_tokens",
    "reward",
    "reward_seconds",
    "reward_std",
    "rollouts_continued",
    "rollouts_dropped",
    "rollouts_moved",
    "rollouts_restarted",
    "rollouts_retried",
    "sample_seconds",
    "sampler_idle_seconds",
    "sampling_ess",
    "sampling_ratio_max",
    "sampling_ratio_mean",
    "skipped_steps",
    "skipped_streak",
    "spike_streak",
    "staleness",
    "step",
    "step_seconds",
    "think_quality",
    "think_rate",
    "think_tokens_mean",
    "token_staleness",
    "tokens_per_second",
    "truncated_rate",
    "unusable_rows",
];

/// The columns that are single numbers, in supervised arms.
pub const SFT_NUMBERS: [&str; 23] = [
    "align_accuracy",
    "audio_truncated",
    "actor_seconds",
    "boundary_seconds",
    "grad_norm",
    "groups_dispatched",
    "groups_trained",
    "load_seconds",
    "loss",
    "lr",
    "memory_backward_bytes",
    "memory_forward_bytes",
    "memory_optimizer_bytes",
    "memory_splits",
    "nonfinite_tensors",
    "optimize_seconds",
    "skipped_steps",
    "skipped_streak",
    "spike_streak",
    "step",
    "step_seconds",
    "target_tokens",
    "tokens_per_second",
];

/// The numbers of an evaluation of a suite.
pub(crate) const EVALUATION_NUMBERS: [&str; 10] = [
    "accuracy",
    "accuracy_se",
    "accuracy_official",
    "accuracy_lenient",
    "think_rate",
    "format_rate",
    "truncated_rate",
    "consistency",
    "think_quality",
    "completion_tokens_mean",
];

const REASONS: [&str; 8] = [
    "audio_unreadable",
    "audio_silent",
    "prompt_too_long",
    "prompt_unusable",
    "rollouts_unusable",
    "too_few_scored",
    "equal_rewards",
    "step_skipped",
];

/// The names that the conditions of an arm may use.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    all: Vec<String>,
    rewards: Vec<String>,
}

impl Names {
    /// Those of an arm.
    pub(crate) fn of(arm: &ArmConfig) -> Self {
        let rewards: Vec<String> = arm.rewards.keys().cloned().collect();
        let mut row: Vec<String> = match arm.method {
            Method::Grpo => GRPO_NUMBERS.map(str::to_owned).to_vec(),
            Method::Sft => SFT_NUMBERS.map(str::to_owned).to_vec(),
            Method::None => Vec::new(),
        };
        let under = |prefix: &str, names: &mut dyn Iterator<Item = String>| -> Vec<String> {
            names.map(|name| format!("{prefix}.{name}")).collect()
        };
        row.extend(under("groups_excluded", &mut REASONS.iter().map(ToString::to_string)));
        if arm.method == Method::Grpo {
            for prefix in ["components", "missing", "rating_disagreement"] {
                row.extend(under(prefix, &mut rewards.iter().cloned()));
            }
            row.extend(under("weights", &mut arm.shaping.weights.keys().cloned()));
            row.extend(under(
                "think_rate_by_difficulty",
                &mut ["easy", "medium", "hard"].map(str::to_owned).into_iter(),
            ));
            row.extend(under("judge_failures", &mut FailureCause::ALL.iter().map(ToString::to_string)));
        }
        let mut all = row.clone();
        if arm.eval.every > 0 {
            all.extend(under("since_eval", &mut row.into_iter()));
            let numbers = || EVALUATION_NUMBERS.iter().map(ToString::to_string);
            all.extend(under("eval", &mut numbers()));
            for suite in &arm.eval.suites {
                all.extend(under(&format!("eval.{}", suite.name()), &mut numbers()));
            }
        }
        Names { all, rewards }
    }

    #[cfg(test)]
    pub(crate) fn of_list(all: Vec<String>) -> Self {
        Names { all, rewards: Vec::new() }
    }

    /// All names, without those that a reward's own code reports.
    pub(crate) fn all(&self) -> &[String] {
        &self.all
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|known| known == name) || self.is_reported(name)
    }

    /// Whether it is a number that a reward's own code reports, of which only the reward's name is known beforehand.
    fn is_reported(&self, name: &str) -> bool {
        let name = name.strip_prefix("since_eval.").unwrap_or(name);
        let Some(rest) = name.strip_prefix("reward_metrics.") else { return false };
        let metric =
            |reward: &String| rest.strip_prefix(reward.as_str()).and_then(|rest| rest.strip_prefix('.'));
        self.rewards.iter().any(|reward| metric(reward).is_some_and(|metric| !metric.is_empty()))
    }

    /// The names in braces of a text that a reward's own code reports.
    pub(crate) fn open_in(&self, text: &str) -> Vec<String> {
        let braced = text.split('{').skip(1).filter_map(|part| part.split_once('}'));
        braced.map(|(name, _)| name.trim().to_owned()).filter(|name| self.is_reported(name)).collect()
    }
}
