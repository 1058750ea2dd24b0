//! Alarms: the evidence of one that went off, and what an arm remembers of its alarms between its steps.
//!
//! The memory is part of every checkpoint, so that a resumed arm keeps its windows and streaks (ALARM-4). Without alarms it
//! is empty, and nothing is written of it.

use std::collections::BTreeMap;

use rewards::RewardItem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An alarm that went off: its evidence, in `control.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AlarmFiring {
    /// The name of the alarm.
    pub name: String,
    /// The condition that held.
    pub when: String,
    /// The step after which it went off.
    pub step: u64,
    /// Number of steps in a row for which the condition had held then.
    pub streak: u64,
    /// The numbers that the condition compares, by the text that stands for them in the condition.
    pub values: BTreeMap<String, f64>,
    /// What the scenario says about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What the alarm does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<String>,
}

impl AlarmFiring {
    /// The name under which the journal has what an alarm did.
    pub fn by(&self) -> String {
        format!("alarm {}", self.name)
    }

    /// The numbers in one line: `mean(think_rate, 10) = 0.0125, reward = 1.5`.
    pub fn evidence(&self) -> String {
        let rounded =
            |value: &f64| if value.abs() < 1e-3 { format!("{value:.2e}") } else { format!("{value:.4}") };
        let shown = |value: &f64| match value {
            whole if whole.fract() == 0.0 => format!("{whole}"),
            value if value.abs() < 1e-3 => rounded(value),
            value => rounded(value).trim_end_matches('0').to_owned(),
        };
        let values: Vec<String> =
            self.values.iter().map(|(name, value)| format!("{name} = {}", shown(value))).collect();
        values.join(", ")
    }
}

/// What an arm remembers of its alarms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmMemory {
    /// The values of the numbers that conditions name, by name.
    pub series: BTreeMap<String, SeriesMemory>,
    /// By the name of the alarm.
    pub alarms: BTreeMap<String, AlarmState>,
    /// The step whose numbers are known and whose conditions are not evaluated yet.
    pub unsettled: Option<u64>,
    /// The step of the newest evaluation whose numbers are known.
    pub evaluated: Option<u64>,
    /// The alarms that went off after the newest step and have not done yet what they do.
    pub due: Vec<AlarmFiring>,
    /// The completions whose first verdicts are kept, to tell whether the judge still gives them.
    pub verdicts: Vec<KeptVerdict>,
}

impl AlarmMemory {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == AlarmMemory::default()
    }
}

/// The values of one number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeriesMemory {
    /// The value of the newest step, or of the newest evaluation.
    pub now: Option<f64>,
    /// The first values, as many as a condition needs.
    pub first: Vec<f64>,
    /// The last values, oldest first, as many as a condition needs.
    pub last: Vec<f64>,
    /// Of a mean between two evaluations: the sum of the values since the newest evaluation, and their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<(f64, u64)>,
}

/// What an arm remembers of one alarm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmState {
    /// Steps in a row in which the condition held. A step that does not decide it leaves the number as it is.
    pub streak: u64,
    /// Whether a step has decided the condition yet.
    pub decided: bool,
    /// Whether it went off and can't go off again yet.
    pub spent: bool,
    /// Since it went off: steps in a row in which the condition did not hold.
    pub quiet: u64,
    /// How many times it went off.
    pub firings: u64,
}

/// A completion with the first verdict on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptVerdict {
    /// The completion and its verdict.
    pub item: RewardItem,
    /// Where in its file the clip began to be heard, in seconds.
    pub audio_start: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_one_line_with_the_numbers_as_a_person_reads_them() {
        let values = [
            ("kl".to_owned(), 12.0),
            ("mean(think_rate, 10)".to_owned(), 0.0125),
            ("reward".to_owned(), -1.234_56),
            ("lr".to_owned(), 1e-5),
        ];
        let firing = AlarmFiring { name: "a".into(), values: values.into(), ..AlarmFiring::default() };
        assert_eq!(
            firing.evidence(),
            "kl = 12, lr = 1.00e-5, mean(think_rate, 10) = 0.0125, reward = -1.2346"
        );
        assert_eq!(firing.by(), "alarm a");
    }

    #[test]
    fn without_alarms_nothing_is_remembered() {
        assert!(AlarmMemory::default().is_empty());
        let memory = AlarmMemory { unsettled: Some(3), ..AlarmMemory::default() };
        let text = serde_json::to_string(&memory).unwrap();
        assert!(!memory.is_empty() && serde_json::from_str::<AlarmMemory>(&text).unwrap() == memory);
    }
}
