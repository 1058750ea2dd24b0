//! An arm whose loader, sampler and optimizer are scripts: they answer at once, without libtorch. The conductor with its
//! step boundary, the changes, the journal, the recorder, the rewards, the shaper and the files of a checkpoint are the
//! real ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Instant;

use audio::LogMel;
use evaluation::Source;
use model::{Bases, Completion, Finish, Processor};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use records::{ArmState, CheckpointState, FormatVersion, OwnedRunDir, Progress, RecordsError};
use rewards::ParserOptions;
use scenarios::Dataset;
use tokio::sync::watch;
use workers::{
    Generated, HeardClip, Loaded, LoaderMsg, OptimizerMsg, Recorder, RecorderArgs, SamplerMsg, Shaper,
    StepReport, WorkerError,
};

use crate::alarms::Alarms;
use crate::conductor::{Conductor, ConductorArgs};
use crate::context::{ArmContext, ClipWarnings};
use crate::data::{DataProblems, open_training};
use crate::evaluator::Evaluator;
use crate::handle::RunHandle;
use crate::live::LiveArm;
use crate::messages::{ArmMsg, ConductorMsg};
use crate::pass_rates::PassRates;
use crate::policy::open_policy;
use crate::prompt::{ContextLength, Prompter};
use crate::rows::Rows;
use crate::slots::Slots;

/// What all arms of the test share, because it takes long to make.
struct Materials {
    processor: Processor,
    training: Dataset,
}

fn materials(live: &LiveArm) -> &'static Materials {
    static MATERIALS: OnceLock<Materials> = OnceLock::new();
    MATERIALS.get_or_init(|| Materials {
        processor: open_policy(&Bases::default(), &live.config.policy, tch::Device::Cpu, 3)
            .unwrap()
            .processor()
            .clone(),
        training: open_training(&live.config).unwrap().rows,
    })
}

/// The actors of one life of an arm.
pub(super) struct Scripted {
    keeper: ActorRef<ArmMsg>,
    slots: Slots,
    /// What the names of its reward actors begin with.
    name: String,
}

impl Scripted {
    /// Starts the recorder, without which a planned arm can't be changed.
    pub(super) async fn recorder(run: &RunHandle) -> (ActorCell, OwnedRunDir) {
        let owned = OwnedRunDir::claim(run.run_dir().clone()).unwrap();
        let args = RecorderArgs { run_dir: run.run_dir().clone(), lock: owned.check().unwrap() };
        let (recorder, _) = Actor::spawn(None, Recorder, args).await.unwrap();
        run.0.recorder.install(recorder.clone());
        (recorder.get_cell(), owned)
    }

    /// Starts the arm as its supervisor does: at its newest checkpoint, if it `resumes`.
    pub(super) async fn start(
        run: &RunHandle,
        live: &Arc<LiveArm>,
        resumes: bool,
    ) -> Result<Self, RecordsError> {
        let dir = run.run_dir().arm(&live.id);
        let state = if resumes { CheckpointState::newest(&dir)? } else { None };
        dir.cut_back_to(state.as_ref())?;
        let (progress, version) =
            state.map_or((Progress::default(), 0), |state| (state.progress, state.policy_version));
        let (slots, materials) = (Slots::new(&live.config, run.0.recorder.clone()), materials(live));
        let context = Arc::new(ArmContext {
            words: None,
            replay: Vec::new(),
            id: live.id.clone(),
            config: live.config.clone(),
            dir,
            rows: Rows::new(materials.training.questions.clone(), live.id.seed),
            pass_rates: PassRates::default(),
            curriculum_rows: None,
            training: Source { suite: None, rows: materials.training.clone() },
            problems: DataProblems::resumed(Vec::new()),
            prompter: Prompter::new(materials.processor.clone(), ContextLength(4096), 1).unwrap(),
            suites: Vec::new(),
            alarms: Alarms::of(&live.config).unwrap(),
            run: run.clone(),
            processor: materials.processor.clone(),
            parser: ParserOptions::default(),
            always_judge: false,
            truncation_warned: Once::new(),
            clip_warnings: ClipWarnings::default(),
            slots: slots.clone(),
            notices: Default::default(),
            utilisation: Default::default(),
            live: live.clone(),
            started: Instant::now(),
        });
        let published = Arc::new(AtomicU64::new(version));
        let args = KeeperArgs { context, progress, published };
        let (keeper, _) = Actor::spawn(None, Keeper, args).await.unwrap();
        Ok(Scripted { keeper, slots, name: live.id.to_string() })
    }

    /// Puts the loader out of service, so that the arm pauses for help.
    pub(super) fn break_loader(&self) {
        self.slots.loader.close("a script broke it");
    }

    /// Ends all actors where they are, and waits until their names are free.
    pub(super) async fn kill(self) {
        self.keeper.kill();
        let prefix = format!("{}/", self.name);
        while ractor::registry::registered().iter().any(|name| name.starts_with(&prefix)) {
            tokio::task::yield_now().await;
        }
    }
}

/// The supervisor of the scripted actors; it does what `Arm` does for a pause and an end.
struct Keeper;

struct KeeperArgs {
    context: Arc<ArmContext>,
    progress: Progress,
    /// The version of the weights, which exist as this number only.
    published: Arc<AtomicU64>,
}

impl Actor for Keeper {
    type Msg = ArmMsg;
    type State = KeeperArgs;
    type Arguments = KeeperArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ArmMsg>,
        args: KeeperArgs,
    ) -> Result<KeeperArgs, ActorProcessingErr> {
        let (cell, context) = (myself.get_cell(), &args.context);
        let slots = &context.slots;
        context.live.start(cell.clone(), slots.clone(), args.progress.step).await?;
        slots.loader.install(Actor::spawn_linked(None, ScriptedLoader, (), cell.clone()).await?.0);
        let published = args.published.clone();
        slots
            .sampler
            .install(Actor::spawn_linked(None, ScriptedSampler, published.clone(), cell.clone()).await?.0);
        slots
            .optimizer
            .install(Actor::spawn_linked(None, ScriptedOptimizer, published, cell.clone()).await?.0);
        slots.shaper.install(Actor::spawn_linked(None, Shaper, (), cell.clone()).await?.0);
        // Without a suite it has nothing to do after the last step.
        let evaluator = Actor::spawn_linked(None, Evaluator, context.clone(), cell.clone()).await?;
        slots.evaluator.install(evaluator.0);
        let conductor = ConductorArgs {
            arm: context.clone(),
            progress: args.progress.clone(),
            stop: watch::channel(false).1,
            supervisor: myself,
        };
        let (conductor, _) = Actor::spawn_linked(None, Conductor, conductor, cell).await?;
        conductor.cast(ConductorMsg::TakeSteps)?;
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ActorRef<ArmMsg>,
        message: ArmMsg,
        args: &mut KeeperArgs,
    ) -> Result<(), ActorProcessingErr> {
        let slots = &args.context.slots;
        match message {
            ArmMsg::StepsEnded { ended } => args.context.live.end(ended.state, ended.progress.step),
            ArmMsg::Revive { done } => {
                if slots.loader.is_closed() {
                    let loader = Actor::spawn_linked(None, ScriptedLoader, (), myself.get_cell()).await?;
                    slots.loader.install(loader.0);
                }
                let _ = done.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<ArmMsg>,
        event: SupervisionEvent,
        args: &mut KeeperArgs,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            let reason = format!("a scripted actor failed: {error}");
            args.context.live.end(ArmState::Failed { reason }, 0);
        }
        Ok(())
    }
}

struct ScriptedLoader;

impl Actor for ScriptedLoader {
    type Msg = LoaderMsg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<LoaderMsg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<LoaderMsg>,
        LoaderMsg::Load(request): LoaderMsg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let Some((paths, reply)) = request.begin() {
            let sound = LogMel {
                values: (0..128 * 8).map(|value| (value % 7) as f32 / 7.0).collect(),
                n_mels: 128,
                frames: 8,
                valid_frames: 8,
                truncated: false,
                samples: None,
            };
            let clip = HeardClip::from(sound);
            reply.send(Loaded { clips: paths.iter().map(|_| Ok(clip.clone())).collect(), seconds: 0.0 });
        }
        Ok(())
    }
}

struct ScriptedSampler;

impl Actor for ScriptedSampler {
    type Msg = SamplerMsg;
    type State = Arc<AtomicU64>;
    type Arguments = Arc<AtomicU64>;

    async fn pre_start(
        &self,
        _: ActorRef<SamplerMsg>,
        published: Arc<AtomicU64>,
    ) -> Result<Arc<AtomicU64>, ActorProcessingErr> {
        Ok(published)
    }

    /// Completions of one to four tokens, by their seeds.
    async fn handle(
        &self,
        _: ActorRef<SamplerMsg>,
        SamplerMsg::Generate(request): SamplerMsg,
        published: &mut Arc<AtomicU64>,
    ) -> Result<(), ActorProcessingErr> {
        if let Some((query, reply)) = request.begin() {
            let completion = |seed: &u64| {
                let ids: Vec<i64> = (0..1 + seed % 4).map(|place| (seed % 89 + place) as i64).collect();
                Completion { logprobs: vec![-1.0; ids.len()], ids, forced: 0..0, finish: Finish::Eos }
            };
            let completions = query.seeds.iter().map(completion).collect();
            let policy_version = published.load(Ordering::SeqCst);
            reply.send(Ok(Generated { completions, policy_version, ..Generated::default() }));
        }
        Ok(())
    }
}

struct ScriptedOptimizer;

impl Actor for ScriptedOptimizer {
    type Msg = OptimizerMsg;
    type State = Arc<AtomicU64>;
    type Arguments = Arc<AtomicU64>;

    async fn pre_start(
        &self,
        _: ActorRef<OptimizerMsg>,
        published: Arc<AtomicU64>,
    ) -> Result<Arc<AtomicU64>, ActorProcessingErr> {
        Ok(published)
    }

    async fn handle(
        &self,
        _: ActorRef<OptimizerMsg>,
        message: OptimizerMsg,
        published: &mut Arc<AtomicU64>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            OptimizerMsg::Grpo(request) => {
                if let Some((_, reply)) = request.begin() {
                    let policy_version = published.fetch_add(1, Ordering::SeqCst) + 1;
                    reply.send(Ok(StepReport {
                        policy_version,
                        loss: 0.5,
                        grad_norm: 1.0,
                        applied: 1,
                        lr: 0.1,
                        tokens: 1,
                        ..StepReport::default()
                    }));
                }
            }
            OptimizerMsg::Sft(_) | OptimizerMsg::Align(_) | OptimizerMsg::SampledKl(_) => {
                return Err("no history has a supervised arm".into());
            }
            OptimizerMsg::Checkpoint(request) => {
                if let Some((query, reply)) = request.begin() {
                    let query = *query;
                    let state = CheckpointState {
                        format_version: FormatVersion::CURRENT,
                        policy_version: published.load(Ordering::SeqCst),
                        progress: query.progress,
                        conditions: query.conditions,
                        records: Some(query.records),
                    };
                    reply.send(state.write(&query.folder, |_| Ok::<(), WorkerError>(())));
                }
            }
        }
        Ok(())
    }
}
