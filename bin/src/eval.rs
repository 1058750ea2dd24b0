//! `sandbox eval`: evaluates policies apart from a training run.
//!
//! An evaluation is a run whose arms are not trained: one arm per checkpoint. So it has a run directory like any other, with
//! its records, report and resume. A server that is evaluated in place of a policy has one too (`server`). `plan` makes the
//! scenario of that run from the options, and `results` adds what only the benchmarks define: their own averages, and
//! prediction files for their own scripts.

mod plan;
mod results;
mod server;

use ::run::RunOutcome;
use records::{OwnedRunDir, RunDir};
use rewards::RewardRegistry;

use crate::cli::{EvalOptions, Verbosity};
use crate::failure::Failure;
use crate::progress::Screen;
use crate::run::{
    StartFrom, Supplies, check_outcome, create_run_dir, discard_unused, existing_run_dir, train,
};
use crate::{log, report};

/// Evaluates what the options name, and prints the results.
pub fn eval(options: &EvalOptions, verbosity: Verbosity, registry: RewardRegistry) -> Result<(), Failure> {
    let (experiment, start_from) = match &options.resume {
        Some(dir) => (plan::of_run_dir(dir, &registry)?, StartFrom::Checkpoints),
        None => (plan::of_options(options, &registry)?, StartFrom::Scenario),
    };
    let run_dir = match &options.resume {
        Some(dir) => existing_run_dir(dir)?,
        None => create_run_dir(&options.out, &experiment.run.name)?,
    };
    let owned = OwnedRunDir::claim(run_dir.clone()).map_err(Failure::input)?;
    let screen = Screen::new(verbosity.quiet || options.json);
    log::start(&run_dir, screen.clone(), verbosity, None)?;
    screen.line(&format!("evaluation → {}", run_dir.path().display()));
    let arms = experiment.arms.clone();
    if arms.iter().any(|arm| arm.eval.server.is_some()) {
        server::evaluate(&experiment, &owned, &screen)
            .inspect_err(|failure| discard_unused(failure, &run_dir, options.resume.is_none()))?;
        return finish(options, &arms, &run_dir);
    }
    let outcome: RunOutcome = train(experiment, owned, registry, start_from, Supplies::default(), screen)
        .inspect_err(|failure| discard_unused(failure, &run_dir, options.resume.is_none()))?;
    if outcome.interrupted {
        return check_outcome(&outcome, &run_dir, "sandbox eval --resume");
    }
    finish(options, &arms, &run_dir)?;
    check_outcome(&outcome, &run_dir, "sandbox eval --resume")
}

fn finish(options: &EvalOptions, arms: &[scenarios::ArmConfig], run_dir: &RunDir) -> Result<(), Failure> {
    let benchmarks = results::write(arms, run_dir)?;
    if options.json {
        let summary = ::report::write_report(run_dir).map_err(Failure::running)?;
        results::print_json(&summary, &benchmarks);
        return Ok(());
    }
    report::write_and_print(run_dir, false)?;
    results::print(&benchmarks);
    Ok(())
}
