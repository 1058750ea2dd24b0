//! `sandbox SCENARIO`: runs every arm, shows their progress, and writes the report at the end.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use ::run::replay::Replay;
use ::run::{ArmOutcome, RunArgs, RunError, RunOutcome};
use control::Bound;
use records::{ArmState, OwnedRunDir, RunDir, arm_ids};
use rewards::RewardRegistry;
use runtime::RunEvent;
use scenarios::Experiment;
use tokio::sync::{mpsc, watch};
use traces::Traces;
use workers::Ranks;

pub(crate) use crate::existing::existing_run_dir;
use crate::tracking::Tracking;
use crate::{
    check::{fit_into_memory, glance, load_and_check, try_plugins},
    cli::{RunOptions, Verbosity},
    failure::Failure,
    judge_doubts, log,
    progress::{Progress, Screen},
    ranks::{self, Led, Role, restarted},
    report,
    signals::stop_on_signal,
    storage,
    streams::{errln, outln},
    sweep::{keep_memory, task_options},
};

/// Longest wait for the last events after a run has ended.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Runs the scenario, or prints it with `--dry-run`.
pub fn run(options: &RunOptions, verbosity: Verbosity, registry: RewardRegistry) -> Result<(), Failure> {
    let launch = match Role::of(options)? {
        Role::Alone => return run_as_told(options, verbosity, registry, None),
        Role::Follower(launch) => return ranks::follow(&launch, options, verbosity),
        Role::Leader(launch) => launch,
    };
    // Before anything that may fail, so that the other ranks learn of it.
    let led = Led::meet(&launch, options)?;
    let options = restarted(options.clone(), &launch);
    let done = run_as_told(&options, verbosity, registry, Some(led.ranks()));
    if matches!(done, Ok(()) | Err(Failure::Interrupted)) {
        led.finish();
    }
    done
}

/// Runs the scenario in this process, with the other ranks if there are any.
fn run_as_told(
    options: &RunOptions,
    verbosity: Verbosity,
    registry: RewardRegistry,
    ranks: Option<Ranks>,
) -> Result<(), Failure> {
    let Some(own) = task_options(options, &registry)? else { return Ok(()) };
    let ran = run_one(&own, verbosity, registry, ranks);
    keep_memory(options);
    ran
}

fn run_one(
    options: &RunOptions,
    verbosity: Verbosity,
    registry: RewardRegistry,
    ranks: Option<Ranks>,
) -> Result<(), Failure> {
    let mut options = storage::fetched_to_resume(options)?;
    if let Some(endpoint) = &options.traces {
        options.set.push(format!("traces.endpoint={endpoint}"));
    }
    let options = &options;
    let path = match (&options.scenario, &options.resume) {
        (Some(scenario), _) => scenario.clone(),
        (None, Some(dir)) => RunDir::new(dir).scenario(),
        (None, None) => {
            return Err(Failure::Input(
                "no scenario given; name one, or a run directory with --resume".into(),
            ));
        }
    };
    let mut experiment =
        load_and_check(&path, &options.set, &options.arms, options.seeds().as_deref(), &registry)?;
    // A run that goes on keeps what was chosen for it.
    let chosen = if options.resume.is_some() { Vec::new() } else { fit_into_memory(&mut experiment)? };
    if let Some(arm) = experiment.arms.iter().find(|arm| arm.eval.server.is_some()) {
        let path = path.display();
        return Err(Failure::Input(format!(
            "{path}: arm `{}` has [eval.server], which is not trained; evaluate it by sandbox eval {path}",
            arm.name
        )));
    }
    if options.dry_run {
        outln!("{}", experiment.to_toml().trim_end());
        return Ok(());
    }
    // A plug-in that does not work is reported now, not when its arm starts.
    if let Some(tried) = try_plugins(&experiment)?.into_iter().find(|tried| tried.outcome.is_err()) {
        return Err(Failure::Input(format!("{}: {tried}", path.display())));
    }
    // The port is bound before the run directory is created, so that a port in use leaves nothing behind.
    let bound =
        if options.no_control { None } else { Bound::bind(&experiment.control).map_err(Failure::input)? };
    let run_dir = match &options.resume {
        Some(dir) => existing_run_dir(dir)?,
        None => match &options.run_dir {
            Some(dir) => named_run_dir(dir)?,
            None => {
                create_run_dir(options.out.as_ref().unwrap_or(&experiment.run.out), &experiment.run.name)?
            }
        },
    };
    let owned = OwnedRunDir::claim(run_dir.clone()).map_err(Failure::input)?;
    let screen = Screen::new(verbosity.quiet);
    let traces = experiment.traces.endpoint.as_deref();
    let traces = traces.map(|endpoint| Traces::start(endpoint, &run_dir.stored_name()));
    let traces = traces.transpose().map_err(Failure::input).inspect_err(|failure| {
        discard_unused(failure, &run_dir, options.resume.is_none());
    })?;
    log::start(&run_dir, screen.clone(), verbosity, traces.as_ref())?;
    screen.line(&format!("{} → {}", path.display(), run_dir.path().display()));
    if !verbosity.quiet {
        for line in glance(&experiment).iter().chain(&chosen) {
            screen.line(line);
        }
    }
    for doubt in judge_doubts::doubts(&experiment, &path, &registry) {
        tracing::warn!("{doubt}");
    }
    if options.repair {
        for line in records::repair(&run_dir, &arm_ids(&experiment)).map_err(Failure::running)? {
            tracing::warn!("repair: {line}");
        }
    }
    let start_from = if options.resume.is_some() { StartFrom::Checkpoints } else { StartFrom::Scenario };
    let new = options.resume.is_none();
    let settings = experiment.storage.clone();
    let uploader = storage::start(&run_dir, &settings, &screen)
        .inspect_err(|failure| discard_unused(failure, &run_dir, new))?;
    let supplies = Supplies { bound, ranks };
    let outcome = match train(experiment, owned, registry, start_from, supplies, screen.clone()) {
        Ok(outcome) => outcome,
        Err(failure @ Failure::Input(_)) => {
            if let Some(uploader) = uploader {
                uploader.abandon();
            }
            discard_unused(&failure, &run_dir, new);
            return Err(failure);
        }
        Err(failure) => return storage::finish(uploader, &run_dir, &settings, &screen, Err(failure)),
    };
    if let Some(traces) = traces {
        traces.end();
    }
    let ended = end(&outcome, &run_dir, options.json);
    storage::finish(uploader, &run_dir, &settings, &screen, ended)
}

/// Writes and prints the report of a run that has ended, and says how it ended.
fn end(outcome: &RunOutcome, run_dir: &RunDir, json: bool) -> Result<(), Failure> {
    // There is nothing to report on in a directory that disappeared; the outcome says so.
    if outcome.failure.is_none() || run_dir.scenario().is_file() {
        let reported = report::write_and_print(run_dir, json);
        if outcome.failure.is_none() {
            reported?;
        }
    }
    check_outcome(outcome, run_dir, "sandbox --resume")
}

/// Creates the time-stamped directory of a new run.
pub(crate) fn create_run_dir(out: &Path, name: &str) -> Result<RunDir, Failure> {
    let failed = |path: &Path, error: &io::Error| {
        let path = path.display();
        Failure::Input(format!(
            "{path}: cannot create the run directory: {error}; choose another folder with --out"
        ))
    };
    fs::create_dir_all(out).map_err(|error| failed(out, &error))?;
    let stamped = format!("{name}-{}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"));
    // Runs that start within the same second are numbered.
    for number in 1u32.. {
        let dir = out.join(if number == 1 { stamped.clone() } else { format!("{stamped}-{number}") });
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(RunDir::new(dir)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&dir, &error)),
        }
    }
    Err(Failure::Input(format!(
        "{}: no unused name for a run directory; choose another folder with --out",
        out.display()
    )))
}

/// Creates a run directory whose name is given.
fn named_run_dir(dir: &Path) -> Result<RunDir, Failure> {
    fs::create_dir_all(dir).map_err(|error| {
        Failure::Input(format!("{}: cannot create the run directory: {error}", dir.display()))
    })?;
    Ok(RunDir::new(dir))
}

/// Removes the directory of a run that could not begin, so that a mistake in the input leaves nothing behind.
pub(crate) fn discard_unused(failure: &Failure, run_dir: &RunDir, new: bool) {
    let unused = run_dir.arms().is_ok_and(|arms| arms.is_empty());
    if new && unused && matches!(failure, Failure::Input(_)) {
        // The mistake has been found and is reported; a folder that can't be removed changes nothing about it.
        let _ = fs::remove_dir_all(run_dir.path());
    }
}

/// What the arms of a run start from.
pub(crate) enum StartFrom {
    /// The policy that the scenario names.
    Scenario,
    /// The latest checkpoints in the run directory (`--resume`).
    Checkpoints,
    /// The policy that the scenario names, with the recorded changes of another run.
    Replay(Replay),
}

/// What a run may have beside its scenario.
#[derive(Default)]
pub(crate) struct Supplies {
    /// The port of its control channel.
    pub bound: Option<Bound>,
    /// The other processes that train.
    pub ranks: Option<Ranks>,
}

/// Trains all arms, shows their progress, and stops them at a signal.
pub(crate) fn train(
    experiment: Experiment,
    run_dir: OwnedRunDir,
    registry: RewardRegistry,
    start_from: StartFrom,
    supplies: Supplies,
    screen: Screen,
) -> Result<RunOutcome, Failure> {
    let Supplies { bound, ranks } = supplies;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    let mut tracking = Tracking::of(run_dir.run_dir().clone(), &experiment)?;
    let mut progress = Progress::new(screen.clone(), arm_ids(&experiment).len());
    let args = RunArgs {
        experiment,
        run_dir,
        registry: Arc::new(registry),
        resume: matches!(start_from, StartFrom::Checkpoints),
        audio_source: None,
        controlled: bound.is_some(),
        replay: match start_from {
            StartFrom::Replay(replay) => Some(replay),
            StartFrom::Scenario | StartFrom::Checkpoints => None,
        },
        ranks,
    };
    let (events, mut received) = mpsc::unbounded_channel::<RunEvent>();
    let (stop, stopped) = watch::channel(false);
    stop_on_signal(stop, screen.clone(), "stopping after the current step, with a checkpoint")?;
    let (outcome, tracking) = runtime.block_on(async {
        let shown = tokio::spawn(async move {
            while let Some(event) = received.recv().await {
                progress.show(&event);
                tracking.write(&event);
            }
            progress.finish();
            tracking
        });
        let outcome = run_served(args, events, stopped, bound, &screen).await;
        // The task ends when the last actor drops its sender. The timeout is for an actor that hangs.
        let tracking = tokio::time::timeout(LAST_EVENTS, shown).await;
        (outcome, tracking)
    });
    if let Ok(Ok(tracking)) = tracking {
        tracking.finish();
    }
    runtime.shutdown_background();
    outcome.map_err(|error| match error {
        RunError::Input(_) => Failure::input(error),
        RunError::Failed(_) | RunError::Records(_) => Failure::running(error),
    })
}

/// Trains all arms, and serves the control channel until they end.
async fn run_served(
    args: RunArgs,
    events: mpsc::UnboundedSender<RunEvent>,
    stopped: watch::Receiver<bool>,
    bound: Option<Bound>,
    screen: &Screen,
) -> Result<RunOutcome, RunError> {
    let running = ::run::start(args, events, stopped).await?;
    let Some(bound) = bound else { return running.end().await };
    let (page, is_remote) = (bound.page(), bound.is_remote());
    let serving = control::serve(running.handle.clone(), bound).await;
    let serving = serving.map_err(|error| RunError::Failed(error.to_string()))?;
    screen.line(&format!("live page: {page}"));
    if is_remote {
        tracing::warn!(
            "control.allow_remote is set: anyone who can reach this machine and has the token can steer this run, and \
             the connection is not encrypted"
        );
    }
    let outcome = running.end().await;
    serving.end().await;
    outcome
}

/// Prints which arms were stopped or failed and that `resume` continues them, and returns the failure if there were any.
pub(crate) fn check_outcome(outcome: &RunOutcome, run_dir: &RunDir, resume: &str) -> Result<(), Failure> {
    if outcome.interrupted {
        for arm in &outcome.arms {
            if arm.state == ArmState::Stopped {
                let (name, seed) = (&arm.id.arm, arm.id.seed);
                errln!("stopped: {name} (seed {seed}) at step {}{}", arm.step, checkpoint(arm));
            }
        }
        errln!("to continue: {resume} {}", run_dir.path().display());
        return Err(Failure::Interrupted);
    }
    let mut failed: Vec<String> = outcome
        .arms
        .iter()
        .filter_map(|arm| {
            let reason = arm.state.failure()?;
            let (name, seed) = (&arm.id.arm, arm.id.seed);
            Some(format!("{name} (seed {seed}) failed at step {}: {reason}{}", arm.step, checkpoint(arm)))
        })
        .collect();
    // What all arms share is the reason of the others.
    failed.extend(outcome.failure.clone());
    let Some(last) = failed.pop() else { return Ok(()) };
    for line in failed {
        errln!("error: {line}");
    }
    Err(Failure::Running(last))
}

fn checkpoint(arm: &ArmOutcome) -> String {
    arm.checkpoint.as_ref().map_or_else(
        || "; no checkpoint was written".to_owned(),
        |path| format!("; checkpoint {}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_in_the_same_second_get_different_directories() {
        let out = tempfile::tempdir().unwrap();
        let first = create_run_dir(out.path(), "a").unwrap();
        let second = create_run_dir(out.path(), "a").unwrap();
        assert_ne!(first, second);
        assert!(first.path().is_dir() && second.path().is_dir());
    }

    #[test]
    fn a_folder_without_a_scenario_is_not_a_run_directory() {
        let out = tempfile::tempdir().unwrap();
        assert!(
            matches!(existing_run_dir(out.path()), Err(Failure::Input(message)) if message.contains("no scenario.toml"))
        );
    }
}
