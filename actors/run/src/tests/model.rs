//! What changes should do, as simply as it can be said: the reference of the histories.

use std::collections::BTreeMap;

/// A change: new weights, a new formula, and rewards that come (`Some`) or go.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Edit {
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) formula: Option<String>,
    pub(super) rewards: BTreeMap<String, Option<f64>>,
}

/// The conditions after some changes. A reward is known by the value that it was made with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Now {
    pub(super) version: u64,
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) formula: String,
    pub(super) rewards: BTreeMap<String, f64>,
}

/// All changes of an arm by version, each with its first step.
#[derive(Clone, Debug)]
pub(super) struct Model {
    start: Now,
    changes: BTreeMap<u64, (u64, Edit)>,
}

impl Model {
    pub(super) fn new(start: Now) -> Self {
        Model { start, changes: BTreeMap::new() }
    }

    pub(super) fn knows(&self, version: u64) -> bool {
        self.changes.contains_key(&version)
    }

    pub(super) fn versions(&self) -> Vec<u64> {
        self.changes.keys().copied().collect()
    }

    pub(super) fn change(&mut self, version: u64, step: u64, edit: Edit) {
        self.changes.insert(version, (step, edit));
    }

    /// The steps from `step` on are taken again under the present conditions.
    pub(super) fn retake(&mut self, version: u64, step: u64) {
        self.changes.get_mut(&version).expect("only a change that was made is brought forward").0 = step;
    }

    /// The conditions after all changes.
    pub(super) fn latest(&self) -> Now {
        self.at(u64::MAX)
    }

    /// The conditions of a step: a version is in force from its first step, or from that of a later version if that is
    /// earlier.
    pub(super) fn at(&self, step: u64) -> Now {
        let mut now = self.start.clone();
        let in_force = self.changes.iter().rev().find(|(_, (first, _))| *first <= step);
        let newest = in_force.map_or(0, |(version, _)| *version);
        for (version, (_, edit)) in self.changes.range(..=newest) {
            now.version = *version;
            now.weights.extend(edit.weights.clone());
            now.formula = edit.formula.clone().unwrap_or(now.formula);
            for (name, value) in &edit.rewards {
                match value {
                    Some(value) => now.rewards.insert(name.clone(), *value),
                    None => now.rewards.remove(name),
                };
            }
        }
        now
    }
}
