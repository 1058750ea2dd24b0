//! `sandbox replay`: makes a run again with its changes, and says whether both measured the same.

use std::path::Path;

use rewards::RewardRegistry;
use ::run::replay::Recording;

use crate::{
    check::sound,
    cli::ReplayOptions,
    failure::Failure,
    log,
    progress::Screen,
    run::{Beginning, create, existing, train},
};

/// Repeats the run and compares it with its replay, arm by arm.
pub fn replay(options: &ReplayOptions, registry: RewardRegistry) -> Result<(), Failure> {
    let dir = existing(&options.dir)?;
    let mut experiment =
        sound(&dir.scenario(), &[], &[], None, &registry)?;
    let recording = Recording::open(&dir, &mut experiment).map_err(Failure::input)?;
    let path = dir.path().to_owned();
    let name = path.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let name = format!("{}-replay", name.unwrap_or_else(|| experiment.run.name.clone()));
    let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let run_dir = create(options.out.as_deref().unwrap_or(beside), &name)?;
    let screen = Screen::new(options.quiet);
    log::start(&run_dir, screen.clone())?;
    screen.line(&format!("{} → {}", path.display(), run_dir.path().display()));
    let beginning = Beginning::Replay(recording.replay.clone());
    let outcome = train(experiment.clone(), &run_dir, registry, beginning, None, screen)?;
    if outcome.interrupted {
        return Err(Failure::Interrupted);
    }
    for arm in &outcome.arms {
        if let Some(reason) = arm.state.failure() {
            let (name, seed) = (&arm.id.arm, arm.id.seed);
            eprintln!("error: {name} (seed {seed}) failed at step {}: {reason}", arm.step);
        }
    }
    let compared = recording.compare(&run_dir, &experiment).map_err(Failure::running)?;
    for arm in &compared {
        println!("{arm}");
    }
    println!("replay: {}", run_dir.path().display());
    let parted = compared.iter().filter(|arm| arm.difference.is_some()).count();
    if parted == 0 {
        return Ok(());
    }
    Err(Failure::Running(format!("{parted} of {} arms did not come out the same", compared.len())))
}
