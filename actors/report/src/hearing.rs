//! How much of an arm's accuracy survives without hearing: each suite beside its controls, such as silence in place of the
//! clips.

use std::fmt::Write as _;

use scenarios::Control;
use serde::Serialize;

use crate::arm_summary::{ArmSummary, Evaluation};
use statistics::Estimate;

/// An arm's accuracy on a suite, and on the same suite with each control.
#[derive(Clone, Debug, Serialize)]
pub struct Hearing {
    /// The suite.
    pub suite: String,
    /// The arm's name.
    pub arm: String,
    /// Accuracy on the suite as it is.
    pub accuracy: Option<Estimate>,
    /// What guessing would get right there, see [`ControlScore::chance`].
    pub chance: Option<f64>,
    /// One entry per control, in the order in which they were evaluated.
    pub controls: Vec<ControlScore>,
}

/// The accuracy with one control.
#[derive(Clone, Debug, Serialize)]
pub struct ControlScore {
    /// What was changed.
    pub control: Control,
    /// Accuracy with the control.
    pub accuracy: Option<Estimate>,
    /// The accuracy of a policy that names a choice as often as this one, and guesses which: an answer that names none is
    /// wrong. `None` for open questions.
    pub chance: Option<f64>,
    /// The accuracy divided by that on the suite as it is, for controls that take away hearing.
    pub survives: Option<f64>,
    /// How many of the questions were asked, if not all were.
    pub asked: Option<String>,
}

/// The controls of all arms, suite by suite.
pub(crate) fn hearing(arms: &[ArmSummary], suites: &[String]) -> Vec<Hearing> {
    let mut found = Vec::new();
    for suite in suites {
        for arm in arms {
            let of_suite = |eval: &&Evaluation| eval.suite == *suite;
            let Some(own) = arm.evals.get(suite) else { continue };
            let mut controls: Vec<ControlScore> =
                arm.evals.values().filter(of_suite).filter_map(|eval| score(own, eval)).collect();
            controls.sort_by_key(|score| score.control);
            if controls.is_empty() {
                continue;
            }
            let (suite, arm) = (suite.clone(), arm.name.clone());
            let chance = chance(own);
            found.push(Hearing { suite, arm, accuracy: own.overall.accuracy, chance, controls });
        }
    }
    found
}

fn chance(eval: &Evaluation) -> Option<f64> {
    let counts = &eval.overall.counts;
    (counts.chance_sum > 0.0).then(|| counts.chance_sum / counts.n as f64)
}

fn score(own: &Evaluation, eval: &Evaluation) -> Option<ControlScore> {
    let control = eval.control?;
    let chance = chance(eval);
    let (own, accuracy) = (own.overall.accuracy, eval.overall.accuracy);
    let share = own.zip(accuracy).filter(|(own, _)| own.value > 0.0).map(|(own, new)| new.value / own.value);
    let survives = share.filter(|_| control.takes_away_hearing());
    Some(ControlScore { control, accuracy, chance, survives, asked: eval.asked.clone() })
}

impl Hearing {
    /// The rows of a table: one per control, after the suite as it is.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let percent = |found: Option<Estimate>| {
            found.map_or_else(
                || "–".to_owned(),
                |found| {
                    format!(
                        "{:.1} [{:.1}, {:.1}]",
                        found.value * 100.0,
                        found.low * 100.0,
                        found.high * 100.0
                    )
                },
            )
        };
        let guessed = |chance: Option<f64>| {
            chance.map_or_else(|| "–".to_owned(), |chance| format!("{:.1}", chance * 100.0))
        };
        let own = vec![
            self.arm.clone(),
            "as it is".to_owned(),
            percent(self.accuracy),
            guessed(self.chance),
            String::new(),
        ];
        let controls = self.controls.iter().map(|score| {
            let mut accuracy = percent(score.accuracy);
            if let Some(asked) = &score.asked {
                let _ = write!(accuracy, " ({asked})");
            }
            let survives = score.survives.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0));
            vec![
                String::new(),
                score.control.name().replace('_', " "),
                accuracy,
                guessed(score.chance),
                survives,
            ]
        });
        std::iter::once(own).chain(controls).collect()
    }
}
