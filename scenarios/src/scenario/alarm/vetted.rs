//! The vetted alarms: conditions whose thresholds were tried on healthy runs and on planted failures.
//!
//! Those that compare with `first(…)` say that something was lost which was there at the beginning, so that an arm that
//! begins that way raises no alarm. docs/alarms.md has the reasons for the thresholds.

use super::super::{ArmConfig, JudgeKind, Method, PromptStyle};

/// A vetted alarm.
#[derive(Debug)]
pub struct VettedAlarm {
    /// Its name in `vetted`, and as an alarm.
    pub name: &'static str,
    /// Its condition.
    pub when: &'static str,
    /// What it means, and what to look at.
    pub message: &'static str,
    applies: fn(&ArmConfig) -> bool,
}

impl VettedAlarm {
    /// Whether an arm has what it is about.
    pub(super) fn applies_to(&self, arm: &ArmConfig) -> bool {
        arm.method == Method::Grpo && (self.applies)(arm)
    }
}

/// All vetted alarms.
pub const VETTED: [VettedAlarm; 10] = [
    VettedAlarm {
        name: "entropy-collapse",
        when: "mean(entropy, 10) < 0.02 and mean(entropy, 10) < 0.1 * first(entropy, 3)",
        message: "the policy gives nearly the same completion every time and no longer explores; raise sampling.temperature or \
                  grpo.entropy_coef, or go back to an earlier checkpoint",
        applies: |_| true,
    },
    VettedAlarm {
        name: "no-thinking",
        when: "mean(think_rate, 10) < 0.02 and first(think_rate, 3) > 0.1",
        message: "the policy has stopped thinking, whatever the question; see think_rate_by_difficulty, and what the rewards \
                  pay for thinking",
        applies: |arm| arm.prompt.style == PromptStyle::Adaptive,
    },
    VettedAlarm {
        name: "always-thinking",
        when: "mean(think_rate, 10) > 0.98 and first(think_rate, 3) < 0.9",
        message: "the policy thinks about every question; see think_rate_by_difficulty, and what the rewards pay for thinking",
        applies: |arm| arm.prompt.style == PromptStyle::Adaptive,
    },
    VettedAlarm {
        name: "length-explosion",
        when: "mean(truncated_rate, 5) > 0.5 and mean(truncated_rate, 5) > first(truncated_rate, 3) + 0.25",
        message: "most completions are cut off at sampling.max_new_tokens; add a reward for length, or look at whether the \
                  text ever ends",
        applies: |_| true,
    },
    VettedAlarm {
        name: "reward-hacking",
        when: "change({since_eval.reward}, 2) > 0.05 and change({eval.accuracy}, 2) < -0.05 - 2.5 * {eval.accuracy_se}",
        message: "the reward rises while the accuracy on held-out questions falls; read completions with a high reward, and see \
                  which component rises",
        applies: |arm| arm.eval.every > 0 && !arm.eval.suites.is_empty(),
    },
    VettedAlarm {
        name: "equal-rewards",
        when: "mean(frac_zero_std, 20) > 0.95",
        message: "in nearly all groups the rewards are equal, so that there is nothing to learn from; the questions are too easy \
                  or too hard, or the rewards do not tell completions apart",
        applies: |_| true,
    },
    VettedAlarm {
        name: "kl",
        when: "lowest(kl, 3) > 2 and lowest(kl, 3) > 5 * mean(kl, 20)",
        message: "the policy moves away from the reference at once; lower grpo.lr or raise grpo.kl_coef, from an earlier checkpoint",
        applies: |arm| arm.grpo.kl_coef > 0.0,
    },
    VettedAlarm {
        name: "repetition",
        when: "mean(repetition_rate, 5) > 0.3 and mean(repetition_rate, 5) > first(repetition_rate, 3) + 0.15",
        message: "completions repeat themselves; read the longest ones, and see which component rises with the repetition",
        applies: |_| true,
    },
    VettedAlarm {
        name: "foreign-script",
        when: "mean(foreign_script_rate, 5) > 0.2",
        message: "many letters of the completions are in a script that no prompt uses; read completions, and lower grpo.lr",
        applies: |_| true,
    },
    VettedAlarm {
        name: "judge-drift",
        when: "judge_agreement < 0.8 for 2 steps",
        message: "the judge no longer gives the verdicts on fixed completions that it gave at first; look at its server and model, \
                  and at what changed there",
        applies: |arm| !matches!(arm.judge.kind, JudgeKind::Rules),
    },
];
