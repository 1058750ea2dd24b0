//! Starting a run, and `Run`, the root of its supervision tree.
//!
//! `Run` starts as many arms side by side as the scenario allows, receives how each ended, starts the next, and ends
//! when none is left.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use judges::{Judges, Ledger};
use model::Bases;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use records::{Action, ArmState, Environment, LockCheck, OwnedRunDir, RecordsError, arm_ids, now};
use rewards::RewardRegistry;
use runtime::{RestartBudget, RunEvent, Slot, Watchers};
use scenarios::{DType, Experiment};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use workers::{AudioSource, ComputeSlots, Ranks, Recorder, RecorderArgs};

use crate::arm::{Arm, ArmArgs};
use crate::error::{InputError, RunError, StartError};
use crate::handle::{RunHandle, RunShared};
use crate::lineage::Lineage;
use crate::live::{Bookmarks, Journal, LiveArm};
use crate::messages::{ArmOutcome, ForkPoint, MadeFork, RunMsg};
use crate::opening::Opening;
use crate::plan::Plan;
use crate::prepare::{PrepareArgs, Shared, prepare};
use crate::ranks::RunRanks;
use crate::replay::Replay;
use crate::status::write_status_of_unstarted;

/// Longest wait for a write to disk.
const RECORDER_TIMEOUT: Duration = Duration::from_secs(120);

/// What a run is made of.
pub struct RunArgs {
    /// The scenario with every setting resolved.
    pub experiment: Experiment,
    /// Where everything is recorded.
    pub run_dir: OwnedRunDir,
    /// The reward kinds that the scenario may name.
    pub registry: Arc<RewardRegistry>,
    /// Continue from the newest checkpoints in `run_dir`, which must be whole: see [`records::repair()`].
    pub resume: bool,
    /// How features are made of an audio file; `None` for the policy's own features of the decoded file.
    pub audio_source: Option<AudioSource>,
    /// Whether there is a control channel through which an arm can be resumed. If so, an arm that can't go on by itself
    /// writes a checkpoint and pauses; otherwise it ends.
    pub controlled: bool,
    /// The recorded run to repeat.
    pub replay: Option<Replay>,
    /// The other processes that train the arms; `None` if this one trains alone.
    pub ranks: Option<Ranks>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// Every arm that ended, in that order.
    pub arms: Vec<ArmOutcome>,
    /// Whether the caller stopped it.
    pub interrupted: bool,
    /// What failed of the things that all arms share, such as the disk of the run directory. All arms that were
    /// running then are stopped.
    pub failure: Option<String>,
}

/// A run that has started.
pub struct Running {
    /// Watches and changes it.
    pub handle: RunHandle,
    run: ActorRef<RunMsg>,
    joined: JoinHandle<()>,
    outcome: oneshot::Receiver<Result<RunOutcome, RunError>>,
}

impl Running {
    /// Waits until all arms have ended.
    ///
    /// Errors: as for [`run`].
    pub async fn end(self) -> Result<RunOutcome, RunError> {
        let outcome = self.outcome.await;
        self.run.stop(None);
        // The outcome is known; how the actor ends adds nothing.
        let _ = self.joined.await;
        self.handle.close();
        outcome.unwrap_or_else(|_| Err(RunError::Failed("the run's supervisor failed; see run.log".into())))
    }
}

/// Runs an experiment to its end, or until `stop` turns true.
///
/// Errors: [`RunError::Input`] for data, a judge or a policy that can't be used; [`RunError::Failed`]
/// or [`RunError::Records`] when the run can't be started or recorded. An arm that fails is not an
/// error here: see [`RunOutcome`].
pub async fn run(
    args: RunArgs,
    events: mpsc::UnboundedSender<RunEvent>,
    stop: watch::Receiver<bool>,
) -> Result<RunOutcome, RunError> {
    start(args, events, stop).await?.end().await
}

/// Starts an experiment, which runs until its end or until `stop` turns true.
///
/// Errors: as for [`run`].
pub async fn start(
    args: RunArgs,
    events: mpsc::UnboundedSender<RunEvent>,
    stop: watch::Receiver<bool>,
) -> Result<Running, RunError> {
    let device = model::device::resolve(&args.experiment.run.device.to_string()).map_err(InputError::from)?;
    for note in &device.notes {
        tracing::info!("{note}");
    }
    let mut args = args;
    settle_dtypes(&mut args.experiment, device.device);
    let plan = Plan::of(&args.experiment, device.device).beside(&args.experiment, args.ranks.as_ref());
    let run_dir = args.run_dir.run_dir();
    if args.resume {
        records::refuse_damage(run_dir, &arm_ids(&args.experiment)).map_err(InputError::from)?;
    }
    let lineage = Arc::new(Lineage::new(run_dir.clone(), args.experiment.clone()));
    lineage.store(&args.experiment).map_err(RunError::Records)?;
    plan.environment(&args.experiment).write(run_dir).map_err(RunError::Records)?;
    let handle = open(&args, &plan, lineage, events)?;
    let (ended, outcome) = oneshot::channel();
    let args = RunActorArgs { args, plan, handle: handle.clone(), stop, ended };
    let (run, joined) = Actor::spawn(None, Run, args)
        .await
        .map_err(|error| RunError::Failed(format!("the run could not start: {error}")))?;
    Ok(Running { handle, run, joined, outcome })
}

/// Replaces `policy.dtype = "fastest"` by the format that is faster on this device, so that what is stored of the scenario says
/// which one it was.
pub fn settle_dtypes(experiment: &mut Experiment, device: tch::Device) {
    let mut measured = None;
    for arm in experiment.arms.iter_mut().filter(|arm| arm.policy.dtype == DType::Fastest) {
        let kind = *measured.get_or_insert_with(|| model::speed::fastest_kind(device));
        let bf16 = kind == tch::Kind::BFloat16;
        arm.policy.dtype = if bf16 { DType::Bf16 } else { DType::F32 };
        let format = if bf16 { "bf16" } else { "f32" };
        tracing::info!(arm = %arm.name, "policy.dtype = \"fastest\" is {format} on this device");
    }
}

/// The handle of the run, with all arms planned.
pub(crate) fn open(
    args: &RunArgs,
    plan: &Plan,
    lineage: Arc<Lineage>,
    events: mpsc::UnboundedSender<RunEvent>,
) -> Result<RunHandle, InputError> {
    let watchers = Watchers::new(events);
    let run_dir = args.run_dir.run_dir();
    let recorder = Slot::new("recorder", 64, RECORDER_TIMEOUT);
    let earlier = if args.resume { run_dir.read_journal()? } else { Vec::new() };
    let bookmarks = Bookmarks::open(run_dir, recorder.clone(), watchers.clone())?;
    let opening = Opening {
        run_dir: run_dir.clone(),
        registry: args.registry.clone(),
        folder: Environment::scenario_folder(&args.experiment.path),
        journal: Journal::new(earlier.clone(), recorder.clone(), watchers.clone()),
        watchers,
        lineage,
        controlled: args.controlled,
        resume: args.resume,
        changes: args.replay.as_ref().map_or(earlier, |replay| replay.changes.clone()),
        replay: args.replay.clone(),
    };
    Ok(RunHandle(Arc::new(RunShared {
        run_dir: run_dir.clone(),
        name: args.experiment.run.name.clone(),
        started: now(),
        parallel_arms: plan.side_by_side,
        arms: RwLock::new(opening.all(&args.experiment)?),
        opening,
        recorder,
        bookmarks,
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
    /// Among the runs of this process, from 1.
    number: u64,
    run_dir: OwnedRunDir,
    lock: LockCheck,
    resume: bool,
    audio_source: Option<AudioSource>,
    plan: Plan,
    handle: RunHandle,
    /// Turns true when the caller stops the run.
    interrupted: watch::Receiver<bool>,
    /// Turns true when the arms are to stop: the caller stopped the run, or something that they share failed.
    stop: watch::Sender<bool>,
    ended: Option<oneshot::Sender<Result<RunOutcome, RunError>>>,
    recorder_budget: RestartBudget,
    recorder_id: Option<ActorId>,
    shared: Shared,
    /// Planned arms, in the order in which they start.
    planned: VecDeque<Arc<LiveArm>>,
    running: HashMap<ActorId, Arc<LiveArm>>,
    outcomes: Vec<ArmOutcome>,
    /// Whether any arm could begin.
    begun: bool,
    /// Arms that could not begin before any other did. If none can, the run is refused with the first one's reason.
    unusable: Vec<(Arc<LiveArm>, StartError)>,
    /// What failed of the things that all arms share.
    failure: Option<String>,
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
        let mut state = RunState::new(args)?;
        tokio::spawn(forward_stop(state.interrupted.clone(), state.stop.clone()));
        state.handle.0.opening.lineage.connect(myself.clone());
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
            RunMsg::Forked(fork) => state.begin_fork(&myself, *fork).await,
            RunMsg::ArmEnded { outcome } => {
                state.running.retain(|_, arm| arm.id != outcome.id);
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
    fn new(args: RunActorArgs) -> Result<Self, RecordsError> {
        let RunActorArgs { args, plan, handle, stop: interrupted, ended } = args;
        let (stop, _) = watch::channel(*interrupted.borrow());
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let spent = args.run_dir.run_dir().judge_spent();
        let ledger = Ledger::open(&spent).map_err(|source| RecordsError::Read { path: spent, source })?;
        let bases = Bases::default();
        let compute_slots = ComputeSlots::new(plan.compute_slots());
        let ranks = args.ranks.map(|ranks| RunRanks::new(ranks, &args.experiment));
        Ok(RunState {
            number: RUNS.fetch_add(1, Ordering::Relaxed) + 1,
            lock: args.run_dir.check()?,
            run_dir: args.run_dir,
            resume: args.resume,
            audio_source: args.audio_source,
            plan,
            stop,
            interrupted,
            ended: Some(ended),
            recorder_budget: RestartBudget::new(5, Duration::from_secs(60)),
            recorder_id: None,
            shared: Shared {
                judges: Arc::new(Judges::new(ledger, bases.clone())),
                bases,
                clips: Arc::default(),
                compute_slots,
                ranks,
            },
            planned: handle.0.arms().into(),
            handle,
            running: HashMap::new(),
            outcomes: Vec::new(),
            begun: false,
            unusable: Vec::new(),
            failure: None,
        })
    }

    async fn spawn_recorder(&mut self, myself: &ActorRef<RunMsg>) -> Result<(), SpawnErr> {
        let args = RecorderArgs { run_dir: self.run_dir.run_dir().clone(), lock: self.lock.clone() };
        let (actor, _) = Actor::spawn_linked(None, Recorder, args, myself.get_cell()).await?;
        self.recorder_id = Some(actor.get_id());
        self.handle.0.recorder.install(actor);
        Ok(())
    }

    /// Whether the next planned arm may start. A fork may at once, since somebody wants to see it beside its parent, unless
    /// `run.parallel_arms` sets how many arms train at the same time.
    fn has_room(&self) -> bool {
        let at_once =
            !self.plan.is_limited && self.planned.front().is_some_and(|arm| arm.config.fork.is_some());
        at_once || self.running.len() < self.plan.side_by_side
    }

    /// Begins a fork whose folder is complete, before the arms that are planned.
    async fn begin_fork(&mut self, myself: &ActorRef<RunMsg>, fork: MadeFork) {
        let MadeFork { config, forks, id, parent, step, by, failure } = fork;
        let known = self.handle.0.arms().iter().any(|arm| arm.id == id);
        if known || self.ended.is_none() {
            return;
        }
        let opening = &self.handle.0.opening;
        let failure = match failure {
            Some(failure) => Err(failure),
            None => opening.arm(&config, id.seed, forks).map_err(|error| error.to_string()),
        };
        match failure {
            Ok(arm) => {
                let note = Some(format!("copied from {parent} after step {step}"));
                if let Err(error) = arm.journal(Action::Fork, by, note).await {
                    tracing::warn!(arm = %id, "the fork is not in the journal: {error}");
                }
                self.handle.0.add_arm(arm.clone());
                self.planned.push_front(arm);
                self.start_arms(myself).await;
            }
            Err(reason) => {
                let state = ArmState::Failed { reason };
                self.record_end(ArmOutcome { id, state, step, checkpoint: None });
            }
        }
    }

    /// Starts planned arms while there is room; ends the run when none is left.
    async fn start_arms(&mut self, myself: &ActorRef<RunMsg>) {
        while self.has_room() {
            if *self.stop.borrow() || *self.interrupted.borrow() {
                self.planned.clear();
            }
            let Some(arm) = self.planned.pop_front() else { break };
            if arm.is_stopped() {
                let (id, step) = (arm.id.clone(), arm.step());
                let state = ArmState::Stopped;
                self.record_end(ArmOutcome { id, state, step, checkpoint: None });
            } else if let Err(error) = self.start_arm(myself, arm.clone()).await {
                self.unusable.push((arm, error));
            }
            if self.begun {
                self.end_unusable().await;
            }
        }
        if self.running.is_empty() {
            self.finish();
        }
    }

    /// Arms that can't begin end alone, each with its reason; the others go on.
    async fn end_unusable(&mut self) {
        for (arm, error) in std::mem::take(&mut self.unusable) {
            let state = ArmState::Failed { reason: error.to_string() };
            let dir = self.run_dir.run_dir().arm(&arm.id);
            let written = write_status_of_unstarted(&self.handle.0.recorder, &arm, state.clone(), &dir).await;
            if let Err(error) = written {
                tracing::warn!(arm = %arm.id, "its status could not be written: {error}");
            }
            let (id, checkpoint) = (arm.id.clone(), dir.newest_checkpoint());
            self.record_end(ArmOutcome { id, state, step: arm.step(), checkpoint });
        }
    }

    async fn start_arm(&mut self, myself: &ActorRef<RunMsg>, live: Arc<LiveArm>) -> Result<(), StartError> {
        let id = live.id.clone();
        let args = PrepareArgs {
            device: self.plan.device,
            threads: self.plan.threads,
            run_dir: self.run_dir.run_dir().clone(),
            recorder: self.handle.0.recorder.clone(),
            shared: self.shared.clone(),
            resume: self.resume || live.config.fork.is_some(),
            audio_source: self.audio_source.clone(),
            live: live.clone(),
            run: self.handle.clone(),
            stop: self.stop.subscribe(),
        };
        let prepared = tokio::task::spawn_blocking(move || prepare(args)).await;
        let prepared = prepared.map_err(|error| StartError::Panicked(error.to_string()))??;
        let (total_steps, method) = (live.config.steps, live.config.method);
        live.watchers.tell(RunEvent::ArmStarted { id: id.clone(), total_steps, method });
        let args = ArmArgs {
            context: prepared.context,
            blueprints: prepared.blueprints,
            progress: prepared.progress,
            stop: self.stop.subscribe(),
            run: myself.clone(),
        };
        // The registry of names is the process's, and a program may have several runs.
        let name = if self.number == 1 { id.to_string() } else { format!("run-{}/{id}", self.number) };
        let (actor, _) = Actor::spawn_linked(Some(name), Arm, args, myself.get_cell())
            .await
            .map_err(|error| StartError::Actors(error.to_string()))?;
        self.begun = true;
        self.running.insert(actor.get_id(), live);
        Ok(())
    }

    fn record_end(&mut self, outcome: ArmOutcome) {
        let watchers = &self.handle.0.opening.watchers;
        if let Some(arm) = self.handle.0.arms().iter().find(|arm| arm.id == outcome.id) {
            arm.end(outcome.state.clone(), outcome.step);
            for fork in arm.forks_left() {
                let ForkPoint { name, step, .. } = fork;
                let message = format!("it ended before step {step}, where the fork `{name}` was to begin");
                watchers.tell(RunEvent::Warning { id: outcome.id.clone(), message });
            }
        }
        watchers.tell(RunEvent::ArmEnded {
            id: outcome.id.clone(),
            state: outcome.state.clone(),
            step: outcome.step,
            checkpoint: outcome.checkpoint.clone(),
        });
        if let Some(reason) = outcome.state.failure() {
            self.end_all_if_shared(reason);
        }
        self.outcomes.push(outcome);
    }

    /// Stops all arms if one failed because of something that they share: the run directory or the recorder.
    fn end_all_if_shared(&mut self, reason: &str) {
        let failure = match self.run_dir.is_usable() {
            Err(error) => error.to_string(),
            Ok(()) if self.handle.0.recorder.is_closed() => reason.to_owned(),
            Ok(()) => return,
        };
        tracing::error!("all arms are stopped: {failure}");
        self.failure = self.failure.take().or(Some(failure));
        self.stop.send_replace(true);
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
            let state = ArmState::Failed { reason };
            let (id, step) = (live.id.clone(), live.step());
            self.record_end(ArmOutcome { id, state, step, checkpoint: None });
            self.start_arms(myself).await;
        }
    }

    fn finish(&mut self) {
        for arm in self.handle.0.arms().iter().filter(|arm| !arm.has_ended()) {
            arm.end(ArmState::Stopped, arm.step());
        }
        let failure = self.failure.take().or_else(|| self.removed_arm());
        let outcome = match self.unusable.drain(..).next() {
            // No arm took a step, so this is unusable input like any other.
            Some((_, StartError::Input(error))) => Err(RunError::Input(error)),
            Some((arm, error)) => Err(RunError::Failed(format!("arm `{}` could not begin: {error}", arm.id))),
            None => Ok(RunOutcome {
                arms: std::mem::take(&mut self.outcomes),
                interrupted: *self.interrupted.borrow(),
                failure,
            }),
        };
        if let Some(ended) = self.ended.take() {
            // The caller may no longer wait.
            let _ = ended.send(outcome);
        }
    }
}

impl RunState {
    /// An arm that ended before and whose records somebody removed since.
    fn removed_arm(&self) -> Option<String> {
        let has_records = |outcome: &&ArmOutcome| outcome.state != ArmState::Stopped;
        let ended = self.outcomes.iter().filter(has_records);
        let mut dirs = ended.map(|outcome| self.run_dir.run_dir().arm(&outcome.id));
        let removed = dirs.find(|dir| !dir.status().is_file())?;
        Some(RecordsError::Gone { path: removed.path().to_owned() }.to_string())
    }
}

/// Passes the caller's stop on to the arms.
async fn forward_stop(mut interrupted: watch::Receiver<bool>, stop: watch::Sender<bool>) {
    // A caller that dropped its end never stops the run.
    if interrupted.wait_for(|stop| *stop).await.is_ok() {
        stop.send_replace(true);
    }
}
