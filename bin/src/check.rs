//! `sandbox check`: can these scenarios be run?

use std::path::Path;

use rewards::RewardRegistry;
use scenarios::Experiment;

use crate::{cli::CheckOptions, failure::Failure};

/// Checks each scenario, says which are sound on standard output and what is wrong with the others on standard
/// error.
pub fn check(options: &CheckOptions) -> Result<(), Failure> {
    let mut mistakes = Vec::new();
    for path in &options.scenarios {
        let registry = RewardRegistry::standard();
        let check = if options.no_files { scenarios::check_names } else { scenarios::check };
        let checked = scenarios::load(path, &[], &[], None)
            .and_then(|experiment| check(&experiment, &registry).map(|()| experiment));
        match checked {
            Ok(experiment) => {
                let names: Vec<&str> = experiment.arms.iter().map(|arm| arm.name.as_str()).collect();
                println!("{}: sound; arms {}", path.display(), names.join(", "));
            }
            Err(mistake) => mistakes.push(mistake.to_string()),
        }
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
) -> Result<Experiment, String> {
    let experiment = scenarios::load(path, set, arms, seeds).map_err(|error| error.to_string())?;
    scenarios::check(&experiment, &RewardRegistry::standard()).map_err(|error| error.to_string())?;
    Ok(experiment)
}
