//! `[[alarm]]`: conditions on the numbers of an arm, and what is done when one of them holds.
//!
//! `[limits]` says when the policy counts as dead, which ends the arm. An alarm is the researcher's own condition, and
//! what it does is the researcher's choice.
//!
//! - ALARM-1 the alarms of a resolved scenario are complete: those of `vetted` are written out with their conditions.
//! - ALARM-2 a condition or an action that can't be used is refused when the scenario is read, at its line and column.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod action;
mod condition;
mod mistake;
mod names;
mod read;
mod series;
mod texts;
mod vetted;

pub use action::{AlarmAction, AlarmEdit};
pub use condition::{AlarmCondition, Truth};
pub use names::{GRPO_NUMBERS, SFT_NUMBERS};
pub(super) use read::{settle, with_empty_list};
pub use series::{Series, Window};
pub use texts::AlarmTexts;
pub use vetted::{VETTED, VettedAlarm};

/// `[[alarm]]`: a condition on the numbers of an arm, and what is done when it holds. [alarms.md](alarms.md) describes the
/// conditions, the actions and the vetted alarms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmConfig {
    /// What the journal, the page and the report call it. It must be set, except beside `vetted`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// In place of `name` and `when`: `"all"`, or the names of some vetted alarms, such as `["entropy-collapse", "kl"]`;
    /// `"!kl"` leaves one out. Those that do not apply to an arm are left out there.
    #[serde(skip_serializing_if = "AlarmTexts::is_empty")]
    pub vetted: AlarmTexts,
    /// The condition, such as `"mean(think_rate, 10) < 0.02 and reward > 0.5 for 5 steps"`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub when: String,
    /// What is done at the step boundary after the condition held: `"pause"`, `"checkpoint"`, `"stop"`, `"fork"`,
    /// `"webhook"`, or a change such as `"weights.format=1.0"`, `"weights.think*=0.5"`, `"grpo.lr=1e-5"` or
    /// `"formula=accuracy"`; one or a list. Without any, the alarm is journaled and shown only.
    #[serde(skip_serializing_if = "AlarmTexts::is_empty")]
    pub then: AlarmTexts,
    /// The arms that it watches: names, or patterns such as `"grpo*"` and `"!grpo+cot"`. Default: all that have the numbers
    /// it asks for, forks included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<String>,
    /// Number of steps in a row in which the condition must not hold before the alarm can go off again. Default: 0, it goes
    /// off once in an arm.
    #[serde(skip_serializing_if = "is_zero")]
    pub rearm_steps: u64,
    /// What the journal and the page say beside the numbers: why it matters, or what to look at.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// With `"fork"`: the name of the new arm. Default: the arm's name, a hyphen and the alarm's name; with several seeds also
    /// `-seed-` and the seed.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub fork_name: Option<String>,
    /// With `"fork"`: what is other in the new arm, as for `--set`, such as `["shaping.weights.think=0"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// With `"webhook"`: the address to which the evidence is sent by POST, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// With `"webhook"`, in place of `url`: the name of the environment variable that has the address, if the address
    /// contains a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_env: Option<String>,
    /// If the condition uses `judge_agreement`: number of steps between two times that the judge is asked again; at least 1.
    /// Default: 20.
    #[serde(skip_serializing_if = "is_default_recheck")]
    pub recheck_every: u64,
}

impl AlarmConfig {
    /// Default of `recheck_every`.
    pub const RECHECK_EVERY: u64 = 20;
    /// Number of completions whose verdicts are kept for the comparison.
    pub const RECHECKED: usize = 32;
}

impl Default for AlarmConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            vetted: AlarmTexts::default(),
            when: String::new(),
            then: AlarmTexts::default(),
            arms: Vec::new(),
            rearm_steps: 0,
            message: String::new(),
            fork_name: None,
            set: Vec::new(),
            url: None,
            url_env: None,
            recheck_every: Self::RECHECK_EVERY,
        }
    }
}

fn is_zero(steps: &u64) -> bool {
    *steps == 0
}

fn is_default_recheck(steps: &u64) -> bool {
    *steps == AlarmConfig::RECHECK_EVERY
}
