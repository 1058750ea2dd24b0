//! `sandbox check`: can these scenarios be run?

use std::path::Path;

use plugins::TriedReward;
use rewards::RewardRegistry;
use scenarios::{Experiment, ScenarioError};

use crate::{cli::CheckOptions, failure::Failure};

/// Checks each scenario, says which are sound on standard output and what is wrong with the others on standard
/// error.
pub fn check(options: &CheckOptions, registry: &RewardRegistry) -> Result<(), Failure> {
    let mut mistakes = Vec::new();
    for path in &options.scenarios {
        let check = if options.no_files { scenarios::check_names } else { scenarios::check };
        let checked = scenarios::load(path, &[], &[], None)
            .and_then(|experiment| check(&experiment, registry).map(|()| experiment));
        let experiment = match checked {
            Ok(experiment) => experiment,
            Err(mistake) => {
                mistakes.push(mistake.to_string());
                continue;
            }
        };
        let tried = if options.no_files { Vec::new() } else { try_plugins(&experiment)? };
        let (good, bad): (Vec<_>, Vec<_>) = tried.into_iter().partition(|tried| tried.outcome.is_ok());
        if bad.is_empty() {
            let names: Vec<&str> = experiment.arms.iter().map(|arm| arm.name.as_str()).collect();
            println!("{}: sound; arms {}", path.display(), names.join(", "));
        }
        for tried in good {
            println!("{}: {tried}", path.display());
        }
        mistakes.extend(bad.into_iter().map(|tried| format!("{}: {tried}", path.display())));
    }
    let Some(last) = mistakes.pop() else { return Ok(()) };
    for mistake in mistakes {
        eprintln!("error: {mistake}");
    }
    Err(Failure::Input(last))
}

/// Reads a scenario and looks at everything it refers to.
pub fn sound(
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

/// Starts every plug-in of a scenario and gives it something to score.
pub fn try_plugins(experiment: &Experiment) -> Result<Vec<TriedReward>, Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the runtime could not start: {error}")))?;
    Ok(runtime.block_on(plugins::try_plugins(experiment)))
}
