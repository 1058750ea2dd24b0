//! The alarms of an arm as the control API shows them.

use std::collections::BTreeMap;

use records::{AlarmFiring, AlarmMemory};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Alarms, Watched};

/// An alarm of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AlarmView {
    /// Its name.
    pub name: String,
    /// The condition.
    pub when: String,
    /// What it does.
    pub then: Vec<String>,
    /// What the scenario says about it; empty if nothing.
    pub message: String,
    /// Steps in a row in which the condition held.
    pub streak: u64,
    /// Steps in a row in which it must hold.
    pub steps: u64,
    /// The present value of each number of the condition; null for one that has none yet.
    pub values: BTreeMap<String, Option<f64>>,
    /// Whether it has gone off and can't go off again yet.
    pub spent: bool,
    /// When it went off and why, oldest first.
    pub firings: Vec<AlarmFiring>,
}

/// The alarms as they stand in `memory`, without their firings, which are in the journal.
pub(crate) fn views(alarms: &Alarms, memory: &AlarmMemory) -> Vec<AlarmView> {
    let view = |watched: &Watched| {
        let state = memory.alarms.get(&watched.config.name).cloned().unwrap_or_default();
        AlarmView {
            name: watched.config.name.clone(),
            when: watched.config.when.clone(),
            then: watched.config.then.0.clone(),
            message: watched.config.message.clone(),
            streak: state.streak,
            steps: watched.condition.steps,
            values: watched.values(memory),
            spent: state.spent,
            firings: Vec::new(),
        }
    };
    alarms.watched.iter().map(view).collect()
}
