//! A run: every arm of a scenario under every seed, and the report at the end.
//!
//! `Run` is the root of the supervision tree. It starts as many arms side by side as the scenario allows, hears
//! how each ended, starts the next, and ends when none is left.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use rewards::RewardRegistry;
use scenarios::{Experiment, Method};
use tokio::sync::{mpsc, oneshot, watch};

use crate::arm::{Arm, ArmArgs, PrepareArgs, prepare};
use crate::environment;
use crate::loader::AudioSource;
use crate::recorder::{Recorder, RecorderMsg};
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
    pub registry: RewardRegistry,
    /// Go on from the last checkpoints in `run_dir`.
    pub resume: bool,
    /// How audio files are read, where it is not the policy's own features of the decoded file.
    pub audio_source: Option<AudioSource>,
}

/// How an arm ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArmStatus {
    /// All steps were taken.
    Done,
    /// It could not go on.
    Failed {
        /// One line: what, and what to do.
        reason: String,
    },
    /// It was asked to stop.
    Stopped,
}

/// What a watcher of the run is told as it happens.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// An arm begins.
    ArmStarted {
        /// Its name.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps it will take.
        total_steps: u64,
        /// How it trains.
        method: Method,
    },
    /// A training step was taken.
    StepDone {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps taken so far.
        step: u64,
        /// Mean shaped reward, GRPO only.
        reward: Option<f64>,
        /// Share of right answers, GRPO only.
        accuracy: Option<f64>,
        /// Share of completions that think, GRPO only.
        think_rate: Option<f64>,
        /// The loss.
        loss: Option<f64>,
        /// Completion or target tokens a second, over the whole step.
        tokens_per_second: f64,
    },
    /// An evaluation was made.
    EvalDone {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps taken when it was made.
        step: u64,
        /// The suite.
        suite: String,
        /// Share of right answers.
        accuracy: f64,
        /// Share of completions that think.
        think_rate: f64,
    },
    /// Something a person should know, that does not end the arm.
    Warning {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// One line.
        message: String,
    },
    /// An arm ended.
    ArmEnded {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// How.
        status: ArmStatus,
        /// Steps taken.
        step: u64,
        /// The last checkpoint.
        checkpoint: Option<PathBuf>,
    },
}

/// How one arm ended, for the exit code and the last lines on the screen.
#[derive(Clone, Debug)]
pub struct ArmOutcome {
    /// The arm.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub status: ArmStatus,
    /// Steps taken.
    pub step: u64,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
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
    let device = model::device::resolve(&args.experiment.run.device.to_string())
        .map_err(|error| RunError::Input(error.to_string()))?;
    for note in &device.notes {
        tracing::info!("{note}");
    }
    environment::write(&args, device.device).map_err(RunError::Failed)?;
    let (ended, outcome) = oneshot::channel();
    let plan = RunPlan { args, device: device.device, events, stop, ended };
    let (run, handle) = Actor::spawn(Some(format!("run#{}", std::process::id())), Run, plan)
        .await
        .map_err(|error| RunError::Failed(format!("the run could not start: {error}")))?;
    let outcome = outcome.await;
    run.stop(None);
    // The run has reported; how its actor ends tells nothing more.
    let _ = handle.await;
    outcome.unwrap_or_else(|_| Err(RunError::Failed("the run's supervisor failed; see run.log".into())))
}

/// Messages to the run.
pub enum RunMsg {
    /// Start arms until as many run side by side as may.
    StartArms,
    /// An arm has ended.
    ArmEnded {
        /// How.
        outcome: ArmOutcome,
    },
}

struct RunPlan {
    args: RunArgs,
    device: tch::Device,
    events: mpsc::UnboundedSender<RunEvent>,
    stop: watch::Receiver<bool>,
    ended: oneshot::Sender<Result<RunOutcome, RunError>>,
}

/// The root of the supervision tree.
struct Run;

struct RunState {
    experiment: Experiment,
    run_dir: PathBuf,
    registry: Arc<RewardRegistry>,
    resume: bool,
    audio_source: Option<AudioSource>,
    device: tch::Device,
    threads: usize,
    side_by_side: usize,
    events: mpsc::UnboundedSender<RunEvent>,
    stop: watch::Receiver<bool>,
    ended: Option<oneshot::Sender<Result<RunOutcome, RunError>>>,
    recorder: Slot<RecorderMsg>,
    recorder_budget: RestartBudget,
    recorder_id: Option<ActorId>,
    /// Arms and seeds still to run.
    waiting: VecDeque<(usize, u64)>,
    running: HashMap<ActorId, (String, u64)>,
    outcomes: Vec<ArmOutcome>,
}

impl Actor for Run {
    type Msg = RunMsg;
    type State = RunState;
    type Arguments = RunPlan;

    async fn pre_start(
        &self,
        myself: ActorRef<RunMsg>,
        plan: RunPlan,
    ) -> Result<RunState, ActorProcessingErr> {
        let mut state = RunState::new(plan);
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
                state.running.retain(|_, (arm, seed)| (&*arm, *seed) != (&outcome.arm, outcome.seed));
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
    fn new(plan: RunPlan) -> Self {
        let RunPlan { args, device, events, stop, ended } = plan;
        let run = &args.experiment.run;
        let waiting: VecDeque<(usize, u64)> = run
            .seeds
            .iter()
            .flat_map(|&seed| (0..args.experiment.arms.len()).map(move |arm| (arm, seed)))
            .collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let on_cpu = device == tch::Device::Cpu;
        let side_by_side = match run.parallel_arms {
            0 if on_cpu => cores.min(waiting.len()).max(1),
            0 => 1,
            chosen => chosen,
        };
        let threads = match run.threads {
            0 if on_cpu => (cores / side_by_side).max(1),
            chosen => chosen,
        };
        RunState {
            run_dir: args.run_dir,
            registry: Arc::new(args.registry),
            resume: args.resume,
            audio_source: args.audio_source,
            device,
            threads,
            side_by_side,
            events,
            stop,
            ended: Some(ended),
            recorder: Slot::new("recorder", 64, RECORDER_TIMEOUT),
            recorder_budget: RestartBudget::new(5, Duration::from_secs(60)),
            recorder_id: None,
            waiting,
            running: HashMap::new(),
            outcomes: Vec::new(),
            experiment: args.experiment,
        }
    }

    async fn spawn_recorder(&mut self, myself: &ActorRef<RunMsg>) -> Result<(), SpawnErr> {
        let (actor, _) = Actor::spawn_linked(None, Recorder, self.run_dir.clone(), myself.get_cell()).await?;
        self.recorder_id = Some(actor.get_id());
        self.recorder.install(actor);
        Ok(())
    }

    /// Starts waiting arms while there is room; ends the run when none is left.
    async fn start_arms(&mut self, myself: &ActorRef<RunMsg>) {
        if *self.stop.borrow() {
            self.waiting.clear();
        }
        while self.running.len() < self.side_by_side {
            let Some((arm, seed)) = self.waiting.pop_front() else { break };
            if let Err(error) = self.start_arm(myself, arm, seed).await {
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

    async fn start_arm(&mut self, myself: &ActorRef<RunMsg>, arm: usize, seed: u64) -> Result<(), RunError> {
        let config = self.experiment.arms[arm].clone();
        let (name, method, total_steps) = (config.name.clone(), config.method, config.steps);
        let args = PrepareArgs {
            config,
            seed,
            device: self.device,
            threads: self.threads,
            run_dir: self.run_dir.clone(),
            recorder: self.recorder.clone(),
            registry: self.registry.clone(),
            resume: self.resume,
            audio_source: self.audio_source.clone(),
            events: self.events.clone(),
        };
        let prepared = tokio::task::spawn_blocking(move || prepare(args))
            .await
            .map_err(|error| RunError::Failed(format!("arm `{name}` could not be prepared: {error}")))?
            .map_err(RunError::Input)?;
        // Nobody has to watch.
        let _ = self.events.send(RunEvent::ArmStarted { arm: name.clone(), seed, total_steps, method });
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
        self.running.insert(actor.get_id(), (name, seed));
        Ok(())
    }

    fn record_end(&mut self, outcome: ArmOutcome) {
        let _ = self.events.send(RunEvent::ArmEnded {
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
                self.recorder.close(&format!("the recorder failed too often, the last time with: {error}"));
            }
        } else if let Some((arm, seed)) = self.running.remove(&child) {
            let reason = format!("its supervisor failed: {error}");
            let status = ArmStatus::Failed { reason };
            self.record_end(ArmOutcome { arm, seed, status, step: 0, checkpoint: None });
            self.start_arms(myself).await;
        }
    }

    fn finish(&mut self, outcome: Result<RunOutcome, RunError>) {
        if let Some(ended) = self.ended.take() {
            // Whoever started the run may have gone.
            let _ = ended.send(outcome);
        }
    }
}
