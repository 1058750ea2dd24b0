//! `sandbox replay`: repeats a run with its recorded changes and compares the metrics of both.

use std::path::Path;

use ::run::replay::Recording;
use records::OwnedRunDir;
use rewards::RewardRegistry;

use crate::{
    check::load_and_check,
    cli::{ReplayOptions, Verbosity},
    failure::Failure,
    log,
    progress::Screen,
    run::{StartFrom, Supplies, create_run_dir, existing_run_dir, train},
    streams::{errln, outln},
};

/// Repeats the run in a new run directory and compares the metrics of every arm. Fails if any differ.
pub fn replay(
    options: &ReplayOptions,
    verbosity: Verbosity,
    registry: RewardRegistry,
) -> Result<(), Failure> {
    let dir = existing_run_dir(&options.dir)?;
    let mut experiment = load_and_check(&dir.scenario(), &[], &[], None, &registry)?;
    let recording = Recording::open(&dir, &mut experiment).map_err(Failure::input)?;
    let path = dir.path().to_owned();
    let name = path.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let name = format!("{}-replay", name.unwrap_or_else(|| experiment.run.name.clone()));
    let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let run_dir = create_run_dir(options.out.as_deref().unwrap_or(parent), &name)?;
    let owned = OwnedRunDir::claim(run_dir.clone()).map_err(Failure::input)?;
    let screen = Screen::new(verbosity.quiet);
    log::start(&run_dir, screen.clone(), verbosity, None)?;
    screen.line(&format!("{} → {}", path.display(), run_dir.path().display()));
    let start_from = StartFrom::Replay(recording.replay.clone());
    let outcome = train(experiment.clone(), owned, registry, start_from, Supplies::default(), screen)?;
    if outcome.interrupted {
        return Err(Failure::Interrupted);
    }
    for arm in &outcome.arms {
        if let Some(reason) = arm.state.failure() {
            let (name, seed) = (&arm.id.arm, arm.id.seed);
            errln!("error: {name} (seed {seed}) failed at step {}: {reason}", arm.step);
        }
    }
    let compared = recording.compare(&run_dir, &experiment).map_err(Failure::running)?;
    for arm in &compared {
        outln!("{arm}");
    }
    outln!("replay: {}", run_dir.path().display());
    let differing = compared.iter().filter(|arm| arm.difference.is_some()).count();
    if differing == 0 {
        return Ok(());
    }
    Err(Failure::Running(format!("{differing} of {} arms differ from the recorded run", compared.len())))
}
