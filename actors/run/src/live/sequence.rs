//! The sequence of an arm's changes (ORDER-1): the conditions in force, and the changes that wait for their step on top
//! of them.
//!
//! A change gets its version when it is ordered, and waits. When its step has come, the conditions with it on top
//! replace those in force. Changes that an earlier run acknowledged wait here too after a resume, each for its step.

use std::collections::VecDeque;
use std::sync::Arc;

use records::{Change, ChangeSummary, ConditionsRecord, FieldChange, JournalEntry, now};

use super::conditions::Conditions;

/// A change that has its version and is not in force yet.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) change: Change,
    pub(super) version: u64,
    pub(super) by: String,
    /// When it was asked for, or took effect in an earlier run.
    time: String,
    /// The first step under it, if an earlier run acknowledged it; without one it takes effect at the next boundary.
    step: Option<u64>,
}

impl Waiting {
    fn of(entry: JournalEntry) -> Option<Self> {
        let JournalEntry { change, version, by, time, step, .. } = entry;
        Some(Waiting { change: change?, version, by, time, step: Some(step) })
    }
}

/// The conditions in force and the changes that wait, oldest version first.
pub(super) struct Sequence {
    /// `None` in arms that are not trained by rewards.
    in_force: Option<Arc<Conditions>>,
    waiting: VecDeque<Waiting>,
    /// The newest version that was given to a change, also to one that was refused since.
    last_version: u64,
}

impl Sequence {
    /// `in_force` with the changes of an earlier run on top, which are in the order of their versions.
    pub(super) fn new(in_force: Option<Arc<Conditions>>, earlier: Vec<JournalEntry>) -> Self {
        let waiting: VecDeque<Waiting> = earlier.into_iter().filter_map(Waiting::of).collect();
        let newest = waiting.back().map(|waiting| waiting.version);
        let last_version =
            newest.or(in_force.as_ref().map(|conditions| conditions.version)).unwrap_or_default();
        Sequence { in_force, waiting, last_version }
    }

    pub(super) fn in_force(&self) -> Option<&Arc<Conditions>> {
        self.in_force.as_ref()
    }

    /// The conditions with all changes on top that wait; a new change is made from these.
    pub(super) fn latest(&self) -> Option<ConditionsRecord> {
        let mut latest = self.in_force.as_ref()?.record();
        self.waiting.iter().for_each(|waiting| latest.apply(&waiting.change, waiting.version));
        Some(latest)
    }

    /// Gives a change the next version and lets it wait.
    pub(super) fn number(&mut self, change: &Change, by: &str) -> u64 {
        self.last_version += 1;
        let (change, by, version) = (change.clone(), by.to_owned(), self.last_version);
        self.waiting.push_back(Waiting { change, by, version, time: now(), step: None });
        version
    }

    /// The oldest change that waits, if an earlier run acknowledged it for step `next` or before, or if a change of
    /// version `before` is to take effect, which brings it forward.
    pub(super) fn next_of_earlier_run(&self, next: u64, before: Option<u64>) -> Option<Waiting> {
        let oldest = self.waiting.front()?;
        let due = oldest.step.is_some_and(|step| step <= next);
        let overtaken = oldest.step.is_some() && before.is_some_and(|version| oldest.version < version);
        (due || overtaken).then(|| oldest.clone())
    }

    /// Puts conditions in force; the change that made them no longer waits.
    pub(super) fn take(&mut self, conditions: Arc<Conditions>) {
        self.forget(conditions.version);
        self.in_force = Some(conditions);
    }

    /// A change that waited will not be made.
    pub(super) fn forget(&mut self, version: u64) {
        self.waiting.retain(|waiting| waiting.version != version);
    }

    /// The changes that have not been acknowledged will not be made.
    pub(super) fn forget_orders(&mut self) {
        self.waiting.retain(|waiting| waiting.step.is_some());
    }

    /// The changes that wait, in short.
    pub(super) fn waiting(&self) -> Vec<ChangeSummary> {
        let Some(in_force) = &self.in_force else { return Vec::new() };
        let mut before = in_force.record();
        let summary = |waiting: &Waiting| {
            let fields =
                FieldChange::all(&waiting.change, &before.replaced_by(&waiting.change, &in_force.config));
            before.apply(&waiting.change, waiting.version);
            let Waiting { version, by, time, step, .. } = waiting.clone();
            ChangeSummary { version, by, time, step, fields }
        };
        self.waiting.iter().map(summary).collect()
    }

    /// The changes after `version`: those that wait, and before them those in force, which are in `journal`.
    pub(super) fn since(&self, version: u64, journal: &[JournalEntry]) -> Vec<ChangeSummary> {
        let in_force = self.in_force.as_ref().map_or(0, |conditions| conditions.version);
        let made = journal.iter().filter(|entry| (version + 1..=in_force).contains(&entry.version));
        let mut changes: Vec<ChangeSummary> = made.filter_map(ChangeSummary::of).collect();
        changes.extend(self.waiting().into_iter().filter(|waiting| waiting.version > version));
        changes
    }
}
