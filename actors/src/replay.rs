//! Making a run again from its scenario and its journal, and comparing what both measured (LIVE-1).
//!
//! What was changed takes effect at the same steps under the same versions. Pauses, single steps and checkpoints left no
//! trace in what was learned and are not repeated; an arm that did not reach its end is repeated as far as it came.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scenarios::{ArmConfig, Experiment};
use serde_json::{Map, Value};

use crate::live::{Entry, read_journal};

/// What the arms of a run are to do again.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// The changes, in the order in which they were made.
    pub changes: Vec<Entry>,
    /// By arm and seed, the steps that were taken; an arm that is not named is not run.
    pub reached: BTreeMap<(String, u64), u64>,
}

impl Replay {
    /// Steps to be taken again by an arm.
    pub(crate) fn steps_of(&self, arm: &str, seed: u64) -> u64 {
        self.reached.get(&(arm.to_owned(), seed)).copied().unwrap_or_default()
    }
}

/// A recorded run.
#[derive(Debug)]
pub struct Recording {
    dir: PathBuf,
    /// What is to be done again.
    pub replay: Replay,
}

impl Recording {
    /// Reads what a run directory recorded. `experiment` is its scenario, which is given the recorded run's threads, for
    /// sums come out differently with another number of them.
    ///
    /// # Errors
    /// One line: a file can't be read, or no step was taken.
    pub fn open(dir: &Path, experiment: &mut Experiment) -> Result<Self, String> {
        let mut changes = read_journal(dir)?;
        changes.retain(|entry| entry.change.is_some());
        let mut reached = BTreeMap::new();
        for (arm, seed) in arms(experiment) {
            let steps = metrics(dir, arm, seed)?.len() as u64;
            if steps > 0 {
                reached.insert((arm.name.clone(), seed), steps);
            }
        }
        if reached.is_empty() {
            return Err(format!("{}: no step was recorded, so there is nothing to repeat", dir.display()));
        }
        if let Some(threads) = threads(dir) {
            experiment.run.threads = threads;
        }
        Ok(Recording { dir: dir.to_owned(), replay: Replay { changes, reached } })
    }

    /// Compares what was measured then with what was measured in the replay in `again`, arm by arm.
    ///
    /// # Errors
    /// One line: a file can't be read.
    pub fn compare(&self, again: &Path, experiment: &Experiment) -> Result<Vec<Comparison>, String> {
        let repeated = arms(experiment)
            .filter(|(arm, seed)| self.replay.reached.contains_key(&(arm.name.clone(), *seed)));
        repeated
            .map(|(arm, seed)| {
                let (then, now) = (metrics(&self.dir, arm, seed)?, metrics(again, arm, seed)?);
                let of_arm = |entry: &&Entry| (&*entry.arm, entry.seed) == (&*arm.name, seed);
                Ok(Comparison {
                    arm: arm.name.clone(),
                    seed,
                    steps: then.len() as u64,
                    changes: self.replay.changes.iter().filter(of_arm).count(),
                    difference: difference(&then, &now),
                })
            })
            .collect()
    }
}

/// An arm and its replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The arm.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// Steps recorded.
    pub steps: u64,
    /// Changes made meanwhile.
    pub changes: usize,
    /// Where they part; `None` if they are the same.
    pub difference: Option<Difference>,
}

/// The first thing that is not the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The step.
    pub step: u64,
    /// The field of `metrics.jsonl`, such as `components.think`; `None` if the step was not taken again.
    pub field: Option<String>,
    /// What it was, and what it is now.
    pub values: [Value; 2],
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Comparison { arm, seed, steps, changes, difference } = self;
        write!(f, "{arm} (seed {seed}): ")?;
        match difference {
            None => write!(f, "the same in all {steps} steps; changes made again: {changes}"),
            Some(Difference { step, field: Some(field), values: [then, now] }) => {
                write!(f, "differs from step {step} on: {field} was {then} and is {now}")
            }
            Some(Difference { step, field: None, .. }) => write!(f, "step {step} was not taken again"),
        }
    }
}

fn arms(experiment: &Experiment) -> impl Iterator<Item = (&ArmConfig, u64)> {
    experiment.run.seeds.iter().flat_map(|&seed| experiment.arms.iter().map(move |arm| (arm, seed)))
}

fn metrics(run_dir: &Path, arm: &ArmConfig, seed: u64) -> Result<Vec<Map<String, Value>>, String> {
    let path = run_dir.join(&arm.name).join(format!("seed-{seed}")).join("metrics.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{}: can't be read: {error}", path.display()))?;
    // The last line of a run that was killed may be cut short.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| format!("{}:{}: not a line of metrics: {error}", path.display(), number + 1))
    };
    whole.lines().enumerate().map(read).collect()
}

fn difference(then: &[Map<String, Value>], now: &[Map<String, Value>]) -> Option<Difference> {
    for (place, line) in then.iter().enumerate() {
        let step = line.get("step").and_then(Value::as_u64).unwrap_or(place as u64 + 1);
        let Some(again) = now.get(place) else {
            return Some(Difference { step, field: None, values: [Value::Null, Value::Null] });
        };
        let names = line.keys().chain(again.keys().filter(|name| !line.contains_key(*name)));
        for name in names.filter(|name| !of_the_clock(name)) {
            let found = differs(name, line.get(name), again.get(name));
            if let Some((field, values)) = found {
                return Some(Difference { step, field: Some(field), values });
            }
        }
    }
    None
}

fn of_the_clock(name: &str) -> bool {
    name.ends_with("_seconds") || name.ends_with("_per_second")
}

/// The innermost field in which two values differ.
fn differs(name: &str, then: Option<&Value>, now: Option<&Value>) -> Option<(String, [Value; 2])> {
    if then == now {
        return None;
    }
    if let (Some(Value::Object(then)), Some(Value::Object(now))) = (then, now) {
        let names = then.keys().chain(now.keys().filter(|name| !then.contains_key(*name)));
        return names
            .into_iter()
            .find_map(|key| differs(&format!("{name}.{key}"), then.get(key), now.get(key)));
    }
    Some((name.to_owned(), [then.cloned().unwrap_or_default(), now.cloned().unwrap_or_default()]))
}

/// libtorch threads per arm of the recorded run.
fn threads(run_dir: &Path) -> Option<usize> {
    let text = std::fs::read(run_dir.join("environment.json")).ok()?;
    let environment: Value = serde_json::from_slice(&text).ok()?;
    environment.get("threads_per_arm")?.as_u64().map(|threads| threads as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, reward: f64, think: f64, seconds: f64) -> Map<String, Value> {
        let line = serde_json::json!({
            "step": step, "reward": reward, "components": { "format": 1.0, "think": think }, "step_seconds": seconds
        });
        line.as_object().unwrap().clone()
    }

    #[test]
    fn the_clock_makes_no_difference_and_the_first_other_field_is_named() {
        let then = [line(1, 0.5, 0.1, 3.0), line(2, 0.5, 0.2, 3.0)];
        assert_eq!(difference(&then, &[line(1, 0.5, 0.1, 9.0), line(2, 0.5, 0.2, 9.0)]), None);
        let found = difference(&then, &[line(1, 0.5, 0.1, 3.0), line(2, 0.5, 0.25, 3.0)]).unwrap();
        assert_eq!((found.step, found.field.as_deref()), (2, Some("components.think")));
        assert_eq!(found.values, [serde_json::json!(0.2), serde_json::json!(0.25)]);
        let found = difference(&then, &then[..1]).unwrap();
        assert_eq!((found.step, found.field), (2, None));
    }
}
