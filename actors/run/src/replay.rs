//! Replay: repeating a run from its scenario and its journal, and comparing the metrics of both (LIVE-1).
//!
//! Changes take effect at the same steps under the same versions, in the order of these (ORDER-1). Pauses, single steps and checkpoints do not affect
//! what is learned and are not repeated. An arm that did not reach its end is repeated as far as it came.

use std::collections::BTreeMap;

use records::{
    Action, ArmId, Environment, JournalEntry, RecordsError, RunDir, arm_ids, changes_in_order, is_timing,
};
use scenarios::Experiment;
use serde_json::{Map, Value};

use crate::error::InputError;

/// What a replay repeats.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// The changes, in the order in which they were made.
    pub changes: Vec<JournalEntry>,
    /// The alarms that went off. A replay evaluates no condition: it writes these into its journal, at the same steps.
    pub alarms: Vec<JournalEntry>,
    /// The steps that each arm took; arms that are not in it do not run.
    pub reached: BTreeMap<ArmId, u64>,
}

impl Replay {
    /// Steps that the replay of an arm takes.
    pub(crate) fn steps_of(&self, id: &ArmId) -> u64 {
        self.reached.get(id).copied().unwrap_or_default()
    }
}

/// A recorded run that can be trained again and compared.
#[derive(Debug)]
pub struct Recording {
    run_dir: RunDir,
    /// What its replay repeats.
    pub replay: Replay,
}

impl Recording {
    /// Reads a run directory. `experiment` is its scenario; it is given the recorded run's number of threads, because
    /// floating-point sums depend on it.
    ///
    /// Errors: [`InputError`]: a file can't be read, or no step was taken.
    pub fn open(run_dir: &RunDir, experiment: &mut Experiment) -> Result<Self, InputError> {
        let mut changes = run_dir.read_journal()?;
        let alarms = changes.iter().filter(|entry| entry.action == Action::Alarm).cloned().collect();
        changes.retain(|entry| entry.change.is_some());
        let mut reached = BTreeMap::new();
        for id in arm_ids(experiment) {
            let steps = run_dir.arm(&id).read_metrics()?.len() as u64;
            if steps > 0 {
                reached.insert(id, steps);
            }
        }
        if reached.is_empty() {
            return Err(InputError::NothingToReplay { path: run_dir.path().to_owned() });
        }
        if let Some(threads) = Environment::read(run_dir).and_then(|recorded| recorded.threads_per_arm) {
            experiment.run.threads = threads;
        }
        Ok(Recording { run_dir: run_dir.clone(), replay: Replay { changes, alarms, reached } })
    }

    /// Compares the recorded metrics with those of the replay in `replayed`, arm by arm.
    ///
    /// Errors: [`RecordsError`]: a file can't be read.
    pub fn compare(
        &self,
        replayed: &RunDir,
        experiment: &Experiment,
    ) -> Result<Vec<Comparison>, RecordsError> {
        arm_ids(experiment)
            .into_iter()
            .filter(|id| self.replay.reached.contains_key(id))
            .map(|id| {
                let then = self.run_dir.arm(&id).read_metrics_as_json()?;
                let now = replayed.arm(&id).read_metrics_as_json()?;
                Ok(Comparison {
                    steps: then.len() as u64,
                    changes: changes_in_order(&self.replay.changes, &id).len(),
                    difference: difference(&then, &now),
                    id,
                })
            })
            .collect()
    }
}

/// An arm and its replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Which arm under which seed.
    pub id: ArmId,
    /// Number of training steps on record.
    pub steps: u64,
    /// Number of live changes that the replay makes again.
    pub changes: usize,
    /// Where they first differ; `None` if they are equal.
    pub difference: Option<Difference>,
}

/// The first metric that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The step, from 1.
    pub step: u64,
    /// The field of `metrics.jsonl`, such as `components.think`; `None` if the replay did not take the step.
    pub field: Option<String>,
    /// The recorded value and the replayed one.
    pub values: [Value; 2],
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Comparison { id: ArmId { arm, seed }, steps, changes, difference } = self;
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

/// A field that says how a row was written, not what was measured.
const FORMAT: &str = "format_version";

/// A field of the rows whose group counts leave out groups with equal rewards.
const HEALTH: &str = "equal_reward_streak";

/// How the fields of the group counts begin.
const GROUP_COUNTS: &str = "groups_";

fn difference(then: &[Map<String, Value>], now: &[Map<String, Value>]) -> Option<Difference> {
    for (place, line) in then.iter().enumerate() {
        let step = line.get("step").and_then(Value::as_u64).unwrap_or(place as u64 + 1);
        let Some(again) = now.get(place) else {
            return Some(Difference { step, field: None, values: [Value::Null, Value::Null] });
        };
        // A field that the recorded row lacks was added by a newer version; rows without the health of the policy count
        // groups with equal rewards as trained.
        let counted_otherwise = !line.contains_key(HEALTH) && again.contains_key(HEALTH);
        let compared = |name: &&String| {
            !is_timing(name) && *name != FORMAT && !(counted_otherwise && name.starts_with(GROUP_COUNTS))
        };
        for name in line.keys().filter(compared) {
            let found = differs(name, line.get(name), again.get(name));
            if let Some((field, values)) = found {
                return Some(Difference { step, field: Some(field), values });
            }
        }
    }
    None
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
