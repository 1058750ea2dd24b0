//! Evaluating conditions: the values that are remembered, and the streak of each alarm.

use std::collections::BTreeMap;

use records::{AlarmFiring, AlarmMemory, AlarmState, Evaluation, SeriesMemory};
use scenarios::{Series, Truth};
use serde_json::Value;

use super::{Alarms, Watched, evaluation_number, number};

/// The prefix of a mean over the steps between two evaluations.
const SINCE: &str = "since_eval.";

/// Takes in the row of `step`; its conditions are evaluated by [`Alarms::settle`].
pub(crate) fn take_row(alarms: &Alarms, memory: &mut AlarmMemory, step: u64, row: &Value) {
    for (name, (first, last)) in needed(alarms) {
        let series = memory.series.entry(name.to_owned()).or_default();
        match name.strip_prefix(SINCE) {
            Some(column) => {
                if let Some(value) = number(row, column) {
                    let (sum, values) = series.since.get_or_insert((0.0, 0));
                    (*sum, *values) = (*sum + value, *values + 1);
                }
            }
            None if name.starts_with("eval.") => {}
            None => push(series, number(row, name), first, last),
        }
    }
    memory.unsettled = Some(step);
}

/// Takes in the rows of the evaluation after `step`.
pub(crate) fn take_evaluations(alarms: &Alarms, memory: &mut AlarmMemory, step: u64, rows: &[Evaluation]) {
    for (name, (first, last)) in needed(alarms) {
        let series = memory.series.entry(name.to_owned()).or_default();
        if name.starts_with(SINCE) {
            let mean = series.since.take().map(|(sum, values)| sum / values as f64);
            push(series, mean, first, last);
        } else if name.starts_with("eval.") {
            push(series, evaluation_number(rows, name), first, last);
        }
    }
    memory.evaluated = Some(step);
}

/// The names that conditions use, and how many first and last values they need of each.
fn needed(alarms: &Alarms) -> BTreeMap<&str, (usize, usize)> {
    let mut needed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for series in alarms.watched.iter().flat_map(|watched| watched.condition.series()) {
        let (first, last) = needed.entry(&series.name).or_default();
        *first = (*first).max(series.window.oldest());
        *last = (*last).max(series.window.newest());
    }
    needed
}

/// A value that is missing leaves the windows as they are (ALARM-6).
fn push(series: &mut SeriesMemory, value: Option<f64>, first: usize, last: usize) {
    series.now = value;
    let Some(value) = value else { return };
    if series.first.len() < first {
        series.first.push(value);
    }
    series.last.push(value);
    let surplus = series.last.len().saturating_sub(last);
    series.last.drain(..surplus);
}

fn value_of(memory: &AlarmMemory, series: &Series) -> Option<f64> {
    let values = memory.series.get(&series.name)?;
    series.window.value(values.now, &values.first, &values.last)
}

impl Watched {
    /// Evaluates the condition after `step`; returns the evidence if the alarm goes off.
    pub(super) fn evaluate(&self, memory: &mut AlarmMemory, step: u64) -> Option<AlarmFiring> {
        let truth = self.condition.truth(&|series| value_of(memory, series));
        let mut state = memory.alarms.remove(&self.config.name).unwrap_or_default();
        match truth {
            Truth::Holds => (state.streak, state.quiet, state.decided) = (state.streak + 1, 0, true),
            Truth::DoesNotHold => {
                (state.streak, state.decided) = (0, true);
                state.quiet += u64::from(state.spent);
                if state.spent && self.config.rearm_steps > 0 && state.quiet >= self.config.rearm_steps {
                    (state.spent, state.quiet) = (false, 0);
                }
            }
            Truth::Unknown => {}
        }
        let goes_off = truth == Truth::Holds && state.streak >= self.condition.steps && !state.spent;
        let firing = goes_off.then(|| self.firing(memory, step, state.streak));
        memory.alarms.insert(self.config.name.clone(), state);
        if firing.is_some() {
            self.mark(memory);
        }
        firing
    }

    /// The alarm has gone off.
    pub(super) fn mark(&self, memory: &mut AlarmMemory) {
        let AlarmState { spent, firings, quiet, .. } =
            memory.alarms.entry(self.config.name.clone()).or_default();
        (*spent, *firings, *quiet) = (true, *firings + 1, 0);
    }

    fn firing(&self, memory: &AlarmMemory, step: u64, streak: u64) -> AlarmFiring {
        AlarmFiring {
            name: self.config.name.clone(),
            when: self.config.when.clone(),
            step,
            streak,
            values: self
                .values(memory)
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            message: self.config.message.clone(),
            then: self.config.then.0.clone(),
        }
    }

    /// The present value of each number of the condition.
    pub(super) fn values(&self, memory: &AlarmMemory) -> BTreeMap<String, Option<f64>> {
        let value = |series: &Series| (series.to_string(), value_of(memory, series));
        self.condition.series().into_iter().map(value).collect()
    }

    /// The numbers of the condition that have no value.
    pub(super) fn missing(&self, memory: &AlarmMemory) -> Vec<String> {
        self.values(memory).into_iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect()
    }
}
