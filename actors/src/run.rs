//! A run: every arm of a scenario under every seed, and the report at the end.
//!
//! `Run` is the root of the supervision tree. It starts as many arms side by side as the scenario allows, hears
//! how each ended, starts the next, and ends when none is left.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use rewards::RewardRegistry;
use scenarios::Experiment;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::arm::{Arm, ArmArgs, PrepareArgs, prepare};
use crate::checkpoint::ResumeState;
use crate::environment;
use crate::event::{ArmOutcome, ArmStatus, RunEvent, RunMsg};
use crate::judge::judges::Judges;
use crate::live::{self, Entry, Journal, LiveArm, LiveArmArgs, RunHandle, RunShared, Watchers, read_journal};
use crate::loader::AudioSource;
use crate::recorder::Recorder;
use crate::replay::Replay;
use crate::slot::Slot;
use crate::supervision::RestartBudget;

/// Longest wait for a write to disk.
const RECORDER_TIMEOUT: Duration = Duration::from_secs(120);

/// What a run is made of.
pub struct RunArgs {
    /// The resolved scenario.
    pub experiment: Experiment,
    /// Where everything is written; it exists.
    pub run_dir: PathBuf,
    /// The reward kinds that the scenario may name.
    pub registry: Arc<RewardRegistry>,
    /// Go on from the last checkpoints in `run_dir`.
    pub resume: bool,
    /// How audio files are read, where it is not the policy's own features of the decoded file.
    pub audio_source: Option<AudioSource>,
    /// Whether somebody listens who can resume an arm. An arm that can't go on by itself then waits, with a checkpoint
    /// and its reason; otherwise it ends.
    pub controlled: bool,
    /// What another run did, to be done again.
    pub replay: Option<Replay>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// Every arm that was started, in the order in which they ended.
    pub arms: Vec<ArmOutcome>,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What was given can't be used: exit code 2.
    #[error("{0}")]
    Input(String),
    /// It failed on the way: exit code 1.
    #[error("{0}")]
    Failed(String),
}

/// A run that has begun.
pub struct Running {
    /// To watch it and to change it.
    pub handle: RunHandle,
    run: ActorRef<RunMsg>,
    joined: JoinHandle<()>,
    outcome: oneshot::Receiver<Result<RunOutcome, RunError>>,
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn end(self) -> Result<RunOutcome, RunError> {
        let outcome = self.outcome.await;
        self.run.stop(None);
        // The run has reported; how its actor ends tells nothing more.
        let _ = self.joined.await;
        self.handle.close();
        outcome.unwrap_or_else(|_| Err(RunError::Failed("the run's supervisor failed; see run.log".into())))
    }
}

/// Runs an experiment to its end, or until `stop` turns true.
///
/// # Errors
/// [`RunError::Input`] for data or a policy that can't be used, [`RunError::Failed`] when the run directory can't be
/// written. An arm that fails on its own is not an error here: see [`RunOutcome`].
pub async fn run(
    args: RunArgs,
    events: mpsc::UnboundedSender<RunEvent>,
    stop: watch::Receiver<bool>,
) -> Result<RunOutcome, RunError> {
    start(args, events, stop).await?.end().await
}

/// Starts an experiment; it goes on until its end, or until `stop` turns true.
///
/// # Errors
/// As [`run`].
pub async fn start(
    args: RunArgs,
    events: mpsc::UnboundedSender<RunEvent>,
    stop: watch::Receiver<bool>,
) -> Result<Running, RunError> {
    let device = model::device::resolve(&args.experiment.run.device.to_string())
        .map_err(|error| RunError::Input(error.to_string()))?;
    for note in &device.notes {
        tracing::info!("{note}");
    }
    let plan = Plan::of(&args, device.device);
    environment::write(&args, &plan).map_err(RunError::Failed)?;
    let handle = open(&args, &plan, events).map_err(RunError::Input)?;
    let (ended, outcome) = oneshot::channel();
    let args = RunActorArgs { args, plan, handle: handle.clone(), stop, ended };
    let (run, joined) = Actor::spawn(Some(format!("run#{}", std::process::id())), Run, args)
        .await
        .map_err(|error| RunError::Failed(format!("the run could not start: {error}")))?;
    Ok(Running { handle, run, joined, outcome })
}

/// How a run is spread over the machine.
pub(crate) struct Plan {
    pub(crate) device: tch::Device,
    /// Arms that run side by side.
    pub(crate) side_by_side: usize,
    /// libtorch threads per arm; 0 leaves libtorch's own choice.
    pub(crate) threads: usize,
}

impl Plan {
    fn of(args: &RunArgs, device: tch::Device) -> Self {
        let run = &args.experiment.run;
        let arms = args.experiment.arms.len() * run.seeds.len();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let on_cpu = device == tch::Device::Cpu;
        let side_by_side = match run.parallel_arms {
            0 if on_cpu => cores.min(arms).max(1),
            0 => 1,
            chosen => chosen,
        };
        let threads = match run.threads {
            0 if on_cpu => (cores / side_by_side).max(1),
            chosen => chosen,
        };
        Plan { device, side_by_side, threads }
    }
}

/// What can be seen and changed of a run: all its arms, as they will begin.
fn open(args: &RunArgs, plan: &Plan, events: mpsc::UnboundedSender<RunEvent>) -> Result<RunHandle, String> {
    let watchers = Watchers::new(events);
    let recorder = Slot::new("recorder", 64, RECORDER_TIMEOUT);
    let earlier = if args.resume { read_journal(&args.run_dir)? } else { Vec::new() };
    let journal = Journal::new(earlier.clone(), recorder.clone(), watchers.clone());
    let registry = &args.registry;
    let folder = environment::scenario_folder(args);
    let mut arms = Vec::new();
    for &seed in &args.experiment.run.seeds {
        for config in &args.experiment.arms {
            let dir = args.run_dir.join(&config.name).join(format!("seed-{seed}"));
            let checkpoint = if args.resume {
                ResumeState::newest(&dir).map_err(|error| error.to_string())?
            } else {
                None
            };
            let step = checkpoint.as_ref().map_or(0, |found| found.progress.step);
            // Before the first change the scenario holds, which may have been edited since.
            let resumed = checkpoint.and_then(|found| found.conditions).filter(|found| found.version > 0);
            let past = resumed.as_ref().map_or(0, |found| found.version);
            let changes = args.replay.as_ref().map_or(&earlier, |replay| &replay.changes);
            let mut repeats: Vec<Entry> = changes.clone();
            repeats.retain(|entry| {
                (&*entry.arm, entry.seed) == (&*config.name, seed)
                    && entry.change.is_some()
                    && entry.version > past
            });
            repeats.sort_by_key(|entry| entry.step);
            let live = LiveArm::new(LiveArmArgs {
                config: config.clone(),
                seed,
                registry: registry.clone(),
                folder: folder.clone(),
                journal: journal.clone(),
                watchers: watchers.clone(),
                controlled: args.controlled,
                resumed,
                step,
                repeats,
                replayed_steps: args.replay.as_ref().map(|replay| replay.steps_of(&config.name, seed)),
            })?;
            arms.push(Arc::new(live));
        }
    }
    Ok(RunHandle(Arc::new(RunShared {
        run_dir: args.run_dir.clone(),
        name: args.experiment.run.name.clone(),
        started: live::now(),
        parallel_arms: plan.side_by_side,
        arms,
        journal,
        recorder,
        watchers,
        ended: AtomicBool::new(false),
    })))
}

struct RunActorArgs {
    args: RunArgs,
    plan: Plan,
    handle: RunHandle,
    stop: watch::Receiver<bool>,
    ended: oneshot::Sender<Result<RunOutcome, RunError>>,
}

/// The root of the supervision tree.
struct Run;

struct RunState {
    run_dir: PathBuf,
    resume: bool,
    audio_source: Option<AudioSource>,
    plan: Plan,
    handle: RunHandle,
    stop: watch::Receiver<bool>,
    ended: Option<oneshot::Sender<Result<RunOutcome, RunError>>>,
    recorder_budget: RestartBudget,
    recorder_id: Option<ActorId>,
    judges: Arc<Judges>,
    /// Arms still to run.
    waiting: VecDeque<Arc<LiveArm>>,
    running: HashMap<ActorId, Arc<LiveArm>>,
    outcomes: Vec<ArmOutcome>,
}

impl Actor for Run {
    type Msg = RunMsg;
    type State = RunState;
    type Arguments = RunActorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RunMsg>,
        args: RunActorArgs,
    ) -> Result<RunState, ActorProcessingErr> {
        let mut state = RunState::new(args);
        state.spawn_recorder(&myself).await?;
        myself.cast(RunMsg::StartArms)?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RunMsg>,
        message: RunMsg,
        state: &mut RunState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RunMsg::StartArms => state.start_arms(&myself).await,
            RunMsg::ArmEnded { outcome } => {
                state.running.retain(|_, arm| !ended(&outcome, arm));
                state.record_end(outcome);
                state.start_arms(&myself).await;
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RunMsg>,
        event: SupervisionEvent,
        state: &mut RunState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(child, error) = event {
            state.child_failed(&myself, child.get_id(), &error.to_string()).await;
        }
        Ok(())
    }
}

impl RunState {
    fn new(args: RunActorArgs) -> Self {
        let RunActorArgs { args, plan, handle, stop, ended } = args;
        RunState {
            run_dir: args.run_dir,
            resume: args.resume,
            audio_source: args.audio_source,
            plan,
            stop,
            ended: Some(ended),
            recorder_budget: RestartBudget::new(5, Duration::from_secs(60)),
            recorder_id: None,
            judges: Arc::default(),
            waiting: handle.0.arms.iter().cloned().collect(),
            handle,
            running: HashMap::new(),
            outcomes: Vec::new(),
        }
    }

    async fn spawn_recorder(&mut self, myself: &ActorRef<RunMsg>) -> Result<(), SpawnErr> {
        let (actor, _) = Actor::spawn_linked(None, Recorder, self.run_dir.clone(), myself.get_cell()).await?;
        self.recorder_id = Some(actor.get_id());
        self.handle.0.recorder.install(actor);
        Ok(())
    }

    /// Starts waiting arms while there is room; ends the run when none is left.
    async fn start_arms(&mut self, myself: &ActorRef<RunMsg>) {
        if *self.stop.borrow() {
            self.waiting.clear();
        }
        while self.running.len() < self.plan.side_by_side {
            let Some(arm) = self.waiting.pop_front() else { break };
            if arm.is_stopped() {
                self.record_end(ArmOutcome {
                    arm: arm.config.name.clone(),
                    seed: arm.seed,
                    status: ArmStatus::Stopped,
                    step: arm.step(),
                    checkpoint: None,
                });
                continue;
            }
            if let Err(error) = self.start_arm(myself, arm).await {
                self.finish(Err(error));
                return;
            }
        }
        if self.running.is_empty() {
            let interrupted = *self.stop.borrow();
            let arms = std::mem::take(&mut self.outcomes);
            self.finish(Ok(RunOutcome { arms, interrupted }));
        }
    }

    async fn start_arm(&mut self, myself: &ActorRef<RunMsg>, live: Arc<LiveArm>) -> Result<(), RunError> {
        let config = live.config.clone();
        let seed = live.seed;
        let (name, method, total_steps) = (config.name.clone(), config.method, config.steps);
        let args = PrepareArgs {
            config,
            seed,
            device: self.plan.device,
            threads: self.plan.threads,
            run_dir: self.run_dir.clone(),
            recorder: self.handle.0.recorder.clone(),
            judges: self.judges.clone(),
            resume: self.resume,
            audio_source: self.audio_source.clone(),
            live: live.clone(),
        };
        let prepared = tokio::task::spawn_blocking(move || prepare(args))
            .await
            .map_err(|error| RunError::Failed(format!("arm `{name}` could not be prepared: {error}")))?
            .map_err(RunError::Input)?;
        live.watchers.tell(RunEvent::ArmStarted { arm: name.clone(), seed, total_steps, method });
        let actor_name = prepared.context.folder.display().to_string();
        let args = ArmArgs {
            context: prepared.context,
            blueprints: prepared.blueprints,
            progress: prepared.progress,
            stop: self.stop.clone(),
            run: myself.clone(),
        };
        let (actor, _) = Actor::spawn_linked(Some(actor_name), Arm, args, myself.get_cell())
            .await
            .map_err(|error| RunError::Failed(format!("arm `{name}` could not start: {error}")))?;
        self.running.insert(actor.get_id(), live);
        Ok(())
    }

    fn record_end(&mut self, outcome: ArmOutcome) {
        if let Some(arm) = self.handle.0.arms.iter().find(|arm| ended(&outcome, arm)) {
            arm.end(outcome.status.clone(), outcome.step);
        }
        self.handle.0.watchers.tell(RunEvent::ArmEnded {
            arm: outcome.arm.clone(),
            seed: outcome.seed,
            status: outcome.status.clone(),
            step: outcome.step,
            checkpoint: outcome.checkpoint.clone(),
        });
        self.outcomes.push(outcome);
    }

    async fn child_failed(&mut self, myself: &ActorRef<RunMsg>, child: ActorId, error: &str) {
        if self.recorder_id == Some(child) {
            let again = self.recorder_budget.spend(Instant::now());
            if !again || self.spawn_recorder(myself).await.is_err() {
                self.handle
                    .0
                    .recorder
                    .close(&format!("the recorder failed too often, the last time with: {error}"));
            }
        } else if let Some(live) = self.running.remove(&child) {
            let reason = format!("its supervisor failed: {error}");
            let status = ArmStatus::Failed { reason };
            let (arm, seed, step) = (live.config.name.clone(), live.seed, live.step());
            self.record_end(ArmOutcome { arm, seed, status, step, checkpoint: None });
            self.start_arms(myself).await;
        }
    }

    fn finish(&mut self, outcome: Result<RunOutcome, RunError>) {
        for arm in self.handle.0.arms.iter().filter(|arm| !arm.has_ended()) {
            arm.end(ArmStatus::Stopped, arm.step());
        }
        if let Some(ended) = self.ended.take() {
            // Whoever started the run may have gone.
            let _ = ended.send(outcome);
        }
    }
}

/// Whether this is how that arm ended.
fn ended(outcome: &ArmOutcome, arm: &LiveArm) -> bool {
    (&*outcome.arm, outcome.seed) == (&*arm.config.name, arm.seed)
}
