//! Checks the forks that alarms may make, by making each of them beforehand.

use super::{Experiment, ForkConfig, NewFork};
use crate::error::ScenarioError;

/// Checks the names and the settings of the forks in `then` of all alarms.
///
/// Errors: The first mistake, at the place of the arm's alarms.
pub(super) fn check(experiment: &Experiment) -> Result<(), ScenarioError> {
    let seeds = &experiment.run.seeds;
    for (arm, tree) in experiment.arms.iter().zip(experiment.places.iter()) {
        for alarm in arm.alarm.iter().filter(|alarm| alarm.then.0.iter().any(|text| text.trim() == "fork")) {
            let name = alarm.fork_of(&arm.name, seeds.first().copied().unwrap_or_default(), seeds.len());
            if experiment.arms.iter().any(|other| other.name == name && other.fork.is_some()) {
                // A run that is resumed has it already.
                continue;
            }
            let step = arm.fork.as_ref().map_or(0, |fork| fork.step);
            let new = NewFork {
                name,
                fork: ForkConfig { arm: arm.name.clone(), step, seeds: Vec::new() },
                rewards: arm.rewards.clone(),
                shaping: arm.shaping.clone(),
                settings: alarm.set.clone(),
            };
            if let Err(error) = experiment.with_fork(new) {
                let text = error.to_string();
                let (problem, instead) = text.rsplit_once("; ").unwrap_or((&text, "change `as` or `set`"));
                let problem = format!("the fork of the alarm \"{}\" can't be made: {problem}", alarm.name);
                return Err(ScenarioError::at(tree.place_of(&["alarm", "0"]), problem, instead));
            }
        }
    }
    Ok(())
}
