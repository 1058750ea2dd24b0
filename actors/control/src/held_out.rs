//! The curves of `eval.jsonl`: the shares of the first suite by step, under the names of the metrics that they are like.

use std::collections::BTreeMap;

use records::{Evaluation, Tally};

use super::lines::Lines;

/// The evaluations read so far of the suite that was evaluated first, as it is. NaN where a share has no base.
#[derive(Default)]
pub(super) struct HeldOut {
    suite: Option<String>,
    /// The steps taken before each evaluation.
    pub steps: Vec<u64>,
    /// By the name of the metric, one value per evaluation.
    pub values: BTreeMap<String, Vec<f64>>,
}

impl Lines for HeldOut {
    fn take(&mut self, _: u64, line: &[u8]) {
        let Ok(row) = serde_json::from_slice::<Evaluation>(line) else { return };
        if row.control.is_some() || self.suite.as_ref().is_some_and(|suite| *suite != row.suite) {
            return;
        }
        let place = self.steps.len();
        self.steps.push(row.step);
        for (name, value) in shares(&row.overall) {
            self.set(name.to_owned(), place, value);
        }
        for (difficulty, tally) in &row.by_difficulty {
            let thinks = ratio(tally.think as f64, tally.n);
            self.set(format!("think_rate_by_difficulty.{difficulty}"), place, thinks);
        }
        self.suite = Some(row.suite);
        for values in self.values.values_mut() {
            values.resize(place + 1, f64::NAN);
        }
    }
}

impl HeldOut {
    fn set(&mut self, name: String, place: usize, value: f64) {
        let values = self.values.entry(name).or_default();
        values.resize(place, f64::NAN);
        values.push(value);
    }
}

fn shares(tally: &Tally) -> [(&'static str, f64); 6] {
    [
        ("accuracy", ratio(tally.correct as f64, tally.n)),
        ("think_rate", ratio(tally.think as f64, tally.n)),
        ("format_rate", ratio(tally.well_formed as f64, tally.n)),
        ("completion_tokens_mean", ratio(tally.completion_tokens as f64, tally.n)),
        ("consistency", ratio(tally.consistency_sum, tally.consistency_n)),
        ("think_quality", ratio(tally.think_quality_sum, tally.think_quality_n)),
    ]
}

/// NaN if there is nothing to divide by.
fn ratio(sum: f64, number: u64) -> f64 {
    if number == 0 { f64::NAN } else { sum / number as f64 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_suite_is_followed_without_its_controls() {
        let mut held_out = HeldOut::default();
        let line = |step: u64, suite: &str, control: Option<&str>, correct: u64| {
            json!({"step": step, "suite": suite, "control": control, "overall": {"n": 4, "correct": correct, "think": 1},
                "by_difficulty": {"hard": {"n": 2, "think": 1}}})
        };
        for line in [
            line(0, "one", None, 1),
            line(0, "one", Some("silence"), 0),
            line(0, "two", None, 0),
            line(40, "one", None, 3),
        ] {
            held_out.take(0, line.to_string().as_bytes());
        }
        assert_eq!(held_out.steps, [0, 40]);
        assert_eq!(held_out.values["accuracy"], [0.25, 0.75]);
        assert_eq!(held_out.values["think_rate_by_difficulty.hard"], [0.5, 0.5]);
        assert!(held_out.values["consistency"].iter().all(|value| value.is_nan()), "no verdict is no 0");
    }
}
