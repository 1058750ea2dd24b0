//! `sandbox simulate`: how fast a run would be on other machines, what would be idle, and what to add next.

use serde::Serialize;
use simulation::{Addition, Inputs, Outcome, advise, fit, simulate};

use crate::cli::SimulateOptions;
use crate::failure::Failure;
use crate::streams::outln;

/// What `--json` prints.
#[derive(Serialize)]
struct Simulated {
    inputs: Inputs,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    additions: Option<Vec<Addition>>,
}

pub fn simulate_run(options: &SimulateOptions) -> Result<(), Failure> {
    let fitted = match &options.from_run {
        Some(run) => {
            let dir = records::RunDir::new(run);
            if !dir.scenario().is_file() {
                let message = format!(
                    "{}: not a run directory (no scenario.toml); `sandbox ls` lists runs",
                    run.display()
                );
                return Err(Failure::Input(message));
            }
            Some(fit(&dir, options.arm.as_deref()).map_err(Failure::input)?)
        }
        None => None,
    };
    let inputs = Inputs::read(fitted, options.inputs.as_deref(), &options.set).map_err(Failure::input)?;
    if options.dry_run {
        outln!("{}", toml::to_string(&inputs).map_err(Failure::running)?.trim_end());
        return Ok(());
    }
    let (outcome, additions) = match options.no_advice {
        true => (simulate(&inputs).map_err(Failure::running)?, None),
        false => {
            let (outcome, additions) = advise(&inputs).map_err(Failure::running)?;
            (outcome, Some(additions))
        }
    };
    if options.json {
        let simulated = Simulated { inputs, outcome, additions };
        outln!("{}", serde_json::to_string_pretty(&simulated).map_err(Failure::running)?);
        return Ok(());
    }
    outln!("{}", outcome.to_string().trim_end());
    if let Some(additions) = additions {
        outln!("what to add next, by completions per hour:");
        for addition in additions {
            outln!("  {addition}");
        }
    }
    Ok(())
}
