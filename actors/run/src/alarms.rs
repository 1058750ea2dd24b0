//! Alarms: the researcher's conditions on the numbers of an arm, evaluated after every step.
//!
//! `[limits]` (the module `health`) says when the policy counts as dead. An alarm says what the researcher wants to know or to
//! have done before that, and reads the same rows of metrics, the streaks of `health` among them.
//!
//! - `ALARM-3` an arm without alarms does nothing here, and its records are the same bit for bit.
//! - `ALARM-4` windows, streaks and what an alarm has yet to do are part of every checkpoint, so that a run that was killed
//!   and resumed raises the same alarms at the same steps.
//! - `ALARM-5` an alarm that the journal has is not acted on twice: a resumed run takes it from there, and a replay
//!   evaluates no condition at all.
//! - `ALARM-6` a number that is missing raises no alarm and ends no streak.

use records::{AlarmFiring, AlarmMemory};
use scenarios::{AlarmAction, AlarmCondition, AlarmConfig, ArmConfig, ScenarioError};

use self::numbers::{evaluation_number, is_of_evaluation, number};

mod evaluate;
mod numbers;
mod view;

pub(crate) use evaluate::{take_evaluations, take_row};
pub use view::AlarmView;
pub(crate) use view::views;

/// The alarms of an arm.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    pub(crate) watched: Vec<Watched>,
}

/// One alarm, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) config: AlarmConfig,
    pub(crate) condition: AlarmCondition,
    pub(crate) actions: Vec<AlarmAction>,
}

impl Alarms {
    /// The alarms of the arm `config`.
    ///
    /// Errors: A condition or an action can't be read, which the scenario's check has ruled out.
    pub(crate) fn of(config: &ArmConfig) -> Result<Self, ScenarioError> {
        let watched = |alarm: &AlarmConfig| {
            let (condition, actions) = (alarm.condition(config)?, alarm.actions()?);
            Ok(Watched { config: alarm.clone(), condition, actions })
        };
        Ok(Alarms { watched: config.alarm.iter().map(watched).collect::<Result<_, ScenarioError>>()? })
    }

    /// Whether the arm has none (ALARM-3).
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Whether a condition uses this column, also as a mean between evaluations.
    pub(crate) fn use_number(&self, name: &str) -> bool {
        let mut used = self.watched.iter().flat_map(|watched| watched.condition.series());
        used.any(|series| series.name.strip_prefix("since_eval.").unwrap_or(&series.name) == name)
    }

    /// Whether a condition uses a number of an evaluation.
    pub(crate) fn use_evaluations(&self) -> bool {
        let mut used = self.watched.iter().flat_map(|watched| watched.condition.series());
        used.any(|series| is_of_evaluation(&series.name))
    }

    /// Number of steps between two times that the judge is asked again; `None` if no condition uses its agreement.
    pub(crate) fn recheck_every(&self) -> Option<u64> {
        let uses = |watched: &&Watched| {
            watched.condition.series().iter().any(|series| series.name.ends_with("judge_agreement"))
        };
        self.watched.iter().filter(uses).map(|watched| watched.config.recheck_every.max(1)).min()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Watched> {
        self.watched.iter().find(|watched| watched.config.name == name)
    }

    /// Evaluates the conditions after `step`. `recorded` are the alarms that the journal of an earlier run has of this step.
    pub(crate) fn settle(&self, memory: &mut AlarmMemory, step: u64, recorded: &[AlarmFiring]) {
        for watched in &self.watched {
            let known = recorded.iter().find(|firing| firing.name == watched.config.name);
            let fired = watched.evaluate(memory, step);
            match known {
                Some(known) => {
                    if fired.is_none() {
                        watched.mark(memory);
                    }
                    memory.due.push(known.clone());
                }
                None => memory.due.extend(fired),
            }
        }
        memory.unsettled = None;
    }

    /// What was never decided in the whole arm, for a warning at its end: `name (no value of SERIES)`.
    pub(crate) fn undecided(&self, memory: &AlarmMemory) -> Vec<String> {
        let never =
            |watched: &&Watched| !memory.alarms.get(&watched.config.name).is_some_and(|state| state.decided);
        let told = |watched: &Watched| {
            format!("{} (no value of {})", watched.config.name, watched.missing(memory).join(", "))
        };
        self.watched.iter().filter(never).map(told).collect()
    }
}

#[cfg(test)]
mod tests;
