//! `sandbox SCENARIO`: runs every arm, shows how far each is, and ends in the table and the report.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use ::run::replay::Replay;
use ::run::{ArmOutcome, RunArgs, RunError, RunOutcome};
use control::Bound;
use records::{ArmState, RunDir};
use rewards::RewardRegistry;
use runtime::RunEvent;
use scenarios::Experiment;
use tokio::sync::{mpsc, watch};

use crate::{
    check::{sound, try_plugins},
    cli::RunOptions,
    failure::Failure,
    log,
    progress::{Progress, Screen},
    report,
};

/// Longest wait for the last events of a run that has ended.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Runs the scenario, or prints it if that is all that is asked for.
pub fn run(options: &RunOptions, registry: RewardRegistry) -> Result<(), Failure> {
    let path = match (&options.scenario, &options.resume) {
        (Some(scenario), _) => scenario.clone(),
        (None, Some(dir)) => RunDir::new(dir).scenario(),
        (None, None) => {
            return Err(Failure::Input("no scenario is given; name one, or a run with --resume".into()));
        }
    };
    let experiment = sound(&path, &options.set, &options.arms, options.seeds.as_deref(), &registry)?;
    if options.dry_run {
        print!("{}", experiment.to_toml());
        return Ok(());
    }
    // A plug-in that does not work is told of now, not when its arm's turn has come.
    if let Some(tried) = try_plugins(&experiment)?.into_iter().find(|tried| tried.outcome.is_err()) {
        return Err(Failure::Input(format!("{}: {tried}", path.display())));
    }
    let bound = if options.no_control { None } else { listen(&experiment)? };
    let run_dir = match &options.resume {
        Some(dir) => existing(dir)?,
        None => create(options.out.as_ref().unwrap_or(&experiment.run.out), &experiment.run.name)?,
    };
    let screen = Screen::new(options.quiet);
    log::start(&run_dir, screen.clone())?;
    screen.line(&format!("{} → {}", path.display(), run_dir.path().display()));
    let beginning = if options.resume.is_some() { Beginning::Resumed } else { Beginning::Fresh };
    let outcome = train(experiment, &run_dir, registry, beginning, bound, screen)?;
    report::print(&run_dir)?;
    conclude(&outcome, &run_dir)
}

/// Listens where the scenario says, before anything is made of it.
fn listen(experiment: &Experiment) -> Result<Option<Bound>, Failure> {
    Bound::bind(&experiment.control).map_err(Failure::input)
}

/// The time-stamped directory of a new run.
pub(crate) fn create(out: &Path, name: &str) -> Result<RunDir, Failure> {
    let refused = |path: &Path, error: &io::Error| {
        let path = path.display();
        Failure::Input(format!(
            "{path}: the run directory cannot be made: {error}; choose another place with --out"
        ))
    };
    fs::create_dir_all(out).map_err(|error| refused(out, &error))?;
    let stamped = format!("{name}-{}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"));
    // A second run within the second gets a name of its own.
    for number in 1u32.. {
        let dir = out.join(if number == 1 { stamped.clone() } else { format!("{stamped}-{number}") });
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(RunDir::new(dir)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refused(&dir, &error)),
        }
    }
    Err(Failure::Input(format!("{}: there is no free name for a run", out.display())))
}

/// The directory of a run to go on with.
pub(crate) fn existing(dir: &Path) -> Result<RunDir, Failure> {
    let run_dir = RunDir::new(dir);
    if run_dir.scenario().is_file() {
        return Ok(run_dir);
    }
    let dir = dir.display();
    Err(Failure::Input(format!(
        "{dir}: not a run directory (no scenario.toml); name one such as runs/ablation-20250131-120000"
    )))
}

/// What a run begins from.
pub(crate) enum Beginning {
    /// Its scenario.
    Fresh,
    /// Its last checkpoints.
    Resumed,
    /// What another run did.
    Replay(Replay),
}

/// Runs the engine, keeping the screen up to date and an ear open for Ctrl-C.
pub(crate) fn train(
    experiment: Experiment,
    run_dir: &RunDir,
    registry: RewardRegistry,
    beginning: Beginning,
    bound: Option<Bound>,
    screen: Screen,
) -> Result<RunOutcome, Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the runtime could not start: {error}")))?;
    let mut progress = Progress::new(screen.clone(), experiment.arms.len() * experiment.run.seeds.len());
    let args = RunArgs {
        experiment,
        run_dir: run_dir.clone(),
        registry: Arc::new(registry),
        resume: matches!(beginning, Beginning::Resumed),
        audio_source: None,
        controlled: bound.is_some(),
        replay: match beginning {
            Beginning::Replay(replay) => Some(replay),
            Beginning::Fresh | Beginning::Resumed => None,
        },
    };
    let (events, mut heard) = mpsc::unbounded_channel::<RunEvent>();
    let (stop, stopped) = watch::channel(false);
    let outcome = runtime.block_on(async {
        tokio::spawn(stop_when_asked(stop, screen.clone()));
        let shown = tokio::spawn(async move {
            while let Some(event) = heard.recv().await {
                progress.show(&event);
            }
            progress.finish();
        });
        let outcome = run_served(args, events, stopped, bound, &screen).await;
        // Ends when the last actor has let go of its end of the channel; one that hangs must not hold up the end.
        let _ = tokio::time::timeout(LAST_EVENTS, shown).await;
        outcome
    });
    runtime.shutdown_background();
    outcome.map_err(|error| match error {
        RunError::Input(_) => Failure::input(error),
        RunError::Failed(_) | RunError::Records(_) => Failure::running(error),
    })
}

/// Runs the engine, and the control channel as long as the engine runs.
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
            "control.allow_remote: whoever reaches this machine and has the token steers this run, and nothing of it \
             is encrypted"
        );
    }
    let outcome = running.end().await;
    serving.end().await;
    outcome
}

/// Asks the run to stop at the first Ctrl-C (or SIGTERM) and leaves at once at the second.
async fn stop_when_asked(stop: watch::Sender<bool>, screen: Screen) {
    asked().await;
    screen.line("stopping after the step in hand, with a checkpoint; once more to leave at once");
    stop.send_replace(true);
    asked().await;
    std::process::exit(130);
}

/// Waits for Ctrl-C or SIGTERM; forever, where signals cannot be listened to.
async fn asked() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                Ok(()) = tokio::signal::ctrl_c() => return,
                Some(()) = terminate.recv() => return,
                else => {}
            }
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Says which arms did not reach their end, and where to go on from.
fn conclude(outcome: &RunOutcome, run_dir: &RunDir) -> Result<(), Failure> {
    if outcome.interrupted {
        for arm in &outcome.arms {
            if arm.state == ArmState::Stopped {
                let (name, seed) = (&arm.id.arm, arm.id.seed);
                eprintln!("stopped: {name} (seed {seed}) at step {}{}", arm.step, checkpoint(arm));
            }
        }
        eprintln!("to go on: sandbox --resume {}", run_dir.path().display());
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
    let Some(last) = failed.pop() else { return Ok(()) };
    for line in failed {
        eprintln!("error: {line}");
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
    fn two_runs_in_a_second_get_directories_of_their_own() {
        let out = tempfile::tempdir().unwrap();
        let first = create(out.path(), "a").unwrap();
        let second = create(out.path(), "a").unwrap();
        assert_ne!(first, second);
        assert!(first.path().is_dir() && second.path().is_dir());
    }

    #[test]
    fn a_folder_that_is_no_run_is_not_resumed() {
        let out = tempfile::tempdir().unwrap();
        assert!(
            matches!(existing(out.path()), Err(Failure::Input(message)) if message.contains("no scenario.toml"))
        );
    }
}
