//! The formula and the weights of earlier versions, read back from the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use rewards::Weights;
use scenarios::{ArmConfig, WeightConfig};
use serde_json::Value;

use records::JournalEntry;
use run::{ArmHandle, Conditions, RunHandle};

/// The formula and the weights of one version of an arm's conditions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PastConditions {
    pub version: u64,
    pub formula: String,
    pub weights: BTreeMap<String, WeightConfig>,
    /// The settings that were changed later, with the values that they had.
    pub settings: BTreeMap<String, Value>,
}

impl PastConditions {
    /// The conditions of `version`: those in force, with every later change of the arm's journal undone, newest first.
    /// `None` if the version is newer than those in force, or an entry does not say what it replaced.
    pub fn of_version(version: u64, in_force: &Conditions, journal: &[Arc<JournalEntry>]) -> Option<Self> {
        if version > in_force.version {
            return None;
        }
        let mut past = PastConditions {
            version,
            formula: in_force.formula.text().to_owned(),
            weights: in_force.weights.clone(),
            settings: BTreeMap::new(),
        };
        let mut later: Vec<&Arc<JournalEntry>> = journal
            .iter()
            .filter(|entry| entry.change.is_some())
            .filter(|entry| entry.version > version && entry.version <= in_force.version)
            .collect();
        later.sort_by_key(|entry| std::cmp::Reverse(entry.version));
        for entry in later {
            past.undo(entry.from.as_ref()?)?;
        }
        Some(past)
    }

    /// The conditions under which a step of an arm was taken, and the arm as it was under them. The earlier steps of a fork are
    /// its parent's. `None` if the arm is not trained by rewards, or they are not known.
    pub fn of_step(
        run: &RunHandle,
        arm: &ArmHandle,
        step: u64,
        version: Option<u64>,
    ) -> Option<(Self, ArmConfig)> {
        let mut arm = arm.clone();
        while let Some((parent, _)) = arm.parent().filter(|(_, last)| step <= *last) {
            arm = run.arm(&parent)?;
        }
        // Before the journal: a change is written to the journal first, so that all changes up to these are in it.
        let in_force = arm.conditions()?;
        let is_arms = |entry: &Arc<JournalEntry>| entry.id == *arm.id();
        let journal: Vec<_> = run.journal().into_iter().filter(is_arms).collect();
        let past = Self::of_version(version?, &in_force, &journal)?;
        let config = in_force.config.with_live_settings(&past.settings).ok()?;
        Some((past, config))
    }

    /// Puts back what a change replaced.
    fn undo(&mut self, from: &Value) -> Option<()> {
        if let Some(formula) = from.get("formula") {
            formula.as_str()?.clone_into(&mut self.formula);
        }
        for (name, before) in from.get("weights").and_then(Value::as_object).into_iter().flatten() {
            if before.is_null() {
                self.weights.remove(name);
            } else {
                self.weights.insert(name.clone(), serde_json::from_value(before.clone()).ok()?);
            }
        }
        for (name, before) in from.get("settings").and_then(Value::as_object).into_iter().flatten() {
            self.settings.insert(name.clone(), before.clone());
        }
        Some(())
    }

    /// The weights of a step, counted from 1.
    pub fn weights_at(&self, step: u64) -> Weights {
        let values = self.weights.iter().map(|(name, weight)| (name.clone(), weight.at(step))).collect();
        Weights { version: self.version, values }
    }
}

#[cfg(test)]
mod tests {
    use rewards::Formula;
    use serde_json::json;

    use super::*;

    fn in_force() -> Conditions {
        let weights = [("a", 3.0), ("b", 1.0)];
        Conditions {
            version: 3,
            formula: Arc::new(Formula::parse("w_a * a + w_b * b", ["a", "b"], ["a", "b"]).unwrap()),
            weights: weights.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            rewards: BTreeMap::new(),
            settings: BTreeMap::new(),
            config: Arc::new(
                serde_json::from_value(json!({"name": "a", "steps": 9, "shaping": {"formula": "a"}}))
                    .unwrap(),
            ),
            live_settings: BTreeMap::new(),
        }
    }

    fn entry(version: u64, change: Value, from: Value) -> Arc<JournalEntry> {
        let entry = json!({
            "time": "2026-01-31T12:00:00Z", "by": "page", "arm": "a", "seed": 3, "action": "change",
            "change": change, "from": from, "version": version, "step": 10 * version,
        });
        Arc::new(serde_json::from_value(entry).unwrap())
    }

    fn journal() -> Vec<Arc<JournalEntry>> {
        let schedule = json!({"schedule": [[0, 0.0], [10, 1.0]]});
        vec![
            entry(1, json!({"weights": {"a": 2.0}}), json!({"weights": {"a": schedule}})),
            entry(2, json!({"weights": {"a": 3.0}}), json!({"weights": {"a": 2.0}})),
            entry(
                3,
                json!({"formula": "w_a * a + w_b * b", "weights": {"b": 1.0}}),
                json!({"formula": "w_a * a", "weights": {"b": null}}),
            ),
        ]
    }

    #[test]
    fn later_changes_are_undone() {
        let at = |version| PastConditions::of_version(version, &in_force(), &journal()).unwrap();
        assert_eq!(at(3).formula, "w_a * a + w_b * b");
        let second = at(2);
        assert_eq!((second.version, second.formula.as_str()), (2, "w_a * a"));
        assert_eq!(second.weights_at(7).values, BTreeMap::from([("a".to_owned(), 3.0)]));
        assert_eq!(at(1).weights_at(7).values["a"], 2.0);
        // A schedule has its value of the step: half way to 1 at step 5.
        assert_eq!(at(0).weights_at(5).values["a"], 0.5);
    }

    #[test]
    fn a_version_that_is_not_known_has_no_conditions() {
        assert_eq!(PastConditions::of_version(4, &in_force(), &journal()), None);
        let unknown = [entry(3, json!({"weights": {"b": 1.0}}), json!(null))];
        assert_eq!(PastConditions::of_version(2, &in_force(), &unknown), None);
    }
}
