//! `sandbox check`: reports whether scenarios can be run.

use std::path::Path;

use plugins::TriedReward;
use rewards::RewardRegistry;
use scenarios::{Experiment, ScenarioError};

use crate::{
    cli::CheckOptions,
    failure::Failure,
    streams::{errln, outln},
};

/// Checks every scenario. Valid ones are listed on standard output with the trial scores of their plug-ins; what is
/// wrong with the others is printed to standard error.
pub fn check(options: &CheckOptions, registry: &RewardRegistry) -> Result<(), Failure> {
    let mut errors = Vec::new();
    for path in &options.scenarios {
        let check = if options.no_files { scenarios::check_names } else { scenarios::check };
        let checked = scenarios::load(path, &[], &[], None)
            .and_then(|experiment| check(&experiment, registry).map(|()| experiment));
        let experiment = match checked {
            Ok(experiment) => experiment,
            Err(error) => {
                errors.push(error.to_string());
                continue;
            }
        };
        let tried = if options.no_files { Vec::new() } else { try_plugins(&experiment)? };
        let (good, bad): (Vec<_>, Vec<_>) = tried.into_iter().partition(|tried| tried.outcome.is_ok());
        if bad.is_empty() {
            let names: Vec<&str> = experiment.arms.iter().map(|arm| arm.name.as_str()).collect();
            outln!("{}: valid; arms: {}", path.display(), names.join(", "));
        }
        for tried in good {
            outln!("{}: {tried}", path.display());
        }
        errors.extend(bad.into_iter().map(|tried| format!("{}: {tried}", path.display())));
    }
    let Some(last) = errors.pop() else { return Ok(()) };
    for error in errors {
        errln!("error: {error}");
    }
    Err(Failure::Input(last))
}

/// Loads a scenario and checks everything it refers to: rewards, formulas, files.
pub fn load_and_check(
    path: &Path,
    set: &[String],
    arms: &[String],
    seeds: Option<&[u64]>,
    registry: &RewardRegistry,
) -> Result<Experiment, ScenarioError> {
    let experiment = scenarios::load(path, set, arms, seeds)?;
    scenarios::check(&experiment, registry)?;
    Ok(experiment)
}

/// Starts every plug-in of a scenario and lets it score a trial batch.
pub fn try_plugins(experiment: &Experiment) -> Result<Vec<TriedReward>, Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    Ok(runtime.block_on(plugins::try_plugins(experiment)))
}
