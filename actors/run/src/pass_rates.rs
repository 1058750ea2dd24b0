//! How often the policy answered each question correctly, for arms whose `[selection]` depends on it.
//!
//! - `SELECT-1` what a step asks follows from the seed and from the steps before it that were recorded, however many other
//!   steps are in progress. A resumed arm reads the recorded ones again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use records::{Phase, RecordsError, for_each_line};
use scenarios::Questions;
use serde::Deserialize;

/// Number of visits of which the pass rate is the mean.
const VISITS: usize = 3;

/// The visits of questions.
#[derive(Default)]
pub(crate) struct PassRates {
    /// By the question's place in the data: the steps in which it was asked, with the fraction of right answers.
    visits: Mutex<BTreeMap<usize, Vec<(u64, f64)>>>,
}

impl PassRates {
    /// The visits that the completions of `rollouts` up to `step` are of.
    ///
    /// Errors: as [`for_each_line`].
    pub(crate) fn read(rollouts: &Path, step: u64, questions: &Questions) -> Result<Self, RecordsError> {
        let places: HashMap<String, usize> =
            questions.iter().enumerate().map(|(place, question)| (question.id.clone(), place)).collect();
        // By step and group: the question, right answers, all answers.
        let mut groups: BTreeMap<(u64, u64), (String, u32, u32)> = BTreeMap::new();
        for_each_line(rollouts, |line| {
            let answer: Answer = serde_json::from_slice(line)?;
            if answer.phase == Phase::Train && answer.step <= step {
                let group = groups.entry((answer.step, answer.group)).or_insert((answer.id, 0, 0));
                group.1 += u32::from(answer.correct);
                group.2 += 1;
            }
            Ok(())
        })?;
        let rates = PassRates::default();
        for ((step, _), (id, right, all)) in groups {
            if let Some(&place) = places.get(&id) {
                rates.add(step, place, f64::from(right) / f64::from(all));
            }
        }
        Ok(rates)
    }

    /// Adds what step `step`, counted from 1, showed of the question at `place`.
    pub(crate) fn add(&self, step: u64, place: usize, rate: f64) {
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.entry(place).or_default().push((step, rate));
    }

    /// The questions that were asked up to step `step`, in the order of the data, with their pass rates: the mean of the
    /// last [`VISITS`] visits.
    pub(crate) fn up_to(&self, step: u64) -> BTreeMap<usize, f64> {
        let visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = |(place, visits): (&usize, &Vec<(u64, f64)>)| {
            let earlier = visits.iter().rev().filter(|(visited, _)| *visited <= step).take(VISITS);
            let (count, sum) = earlier.fold((0, 0.0), |(count, sum), (_, rate)| (count + 1, sum + rate));
            (count > 0).then(|| (*place, sum / f64::from(count)))
        };
        visits.iter().filter_map(rate).collect()
    }
}

/// What is needed of a line of `rollouts.jsonl`.
#[derive(Deserialize)]
struct Answer {
    phase: Phase,
    step: u64,
    #[serde(default)]
    group: u64,
    #[serde(default)]
    id: String,
    #[serde(default)]
    correct: bool,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rewards::Question;

    use super::*;

    #[test]
    fn a_pass_rate_is_the_mean_of_the_last_visits_before_a_step() {
        let rates = PassRates::default();
        for (step, rate) in [(1, 0.0), (2, 0.5), (4, 1.0), (7, 0.75)] {
            rates.add(step, 3, rate);
        }
        rates.add(5, 1, 0.25);
        assert_eq!(rates.up_to(0), BTreeMap::new());
        assert_eq!(rates.up_to(2), BTreeMap::from([(3, 0.25)]));
        assert_eq!(rates.up_to(6), BTreeMap::from([(1, 0.25), (3, 0.5)]));
        assert_eq!(rates.up_to(9), BTreeMap::from([(1, 0.25), (3, 0.75)]));
    }

    #[test]
    fn visits_are_read_from_the_recorded_completions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rollouts.jsonl");
        let line = |phase: &str, step: u64, group: u64, id: &str, correct: bool| {
            format!(
                r#"{{"phase":"{phase}","step":{step},"group":{group},"id":"{id}","correct":{correct},"completion":"x"}}"#
            )
        };
        let lines = [
            line("train", 1, 0, "b", true),
            line("train", 1, 0, "b", false),
            line("train", 1, 1, "a", true),
            line("eval", 1, 0, "a", false),
            line("train", 2, 0, "b", true),
            line("train", 3, 0, "b", false),
            line("train", 2, 1, "gone", true),
        ];
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let question = |id: &str| Arc::new(Question { id: id.into(), ..Question::default() });
        let questions: Questions = ["a", "b"].into_iter().map(question).collect();
        let rates = PassRates::read(&path, 2, &questions).unwrap();
        assert_eq!(rates.up_to(9), BTreeMap::from([(0, 1.0), (1, 0.75)]));
    }
}
