//! An arm under one seed: the supervisor of the actors that train it.
//!
//! - `RESTART-1` an actor that fails is started again within its restart budget, and the request in hand goes to its
//!   successor. Budget spent: its slot is closed with the reason, the steps end there, a checkpoint is written.
//! - `ARM-1` whatever happens to its actors, the arm reports to the run exactly once how it ended.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use model::{Processor, SamplingParams};
use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use rewards::{ParserOptions, Question};
use scenarios::{ArmConfig, PromptStyle};
use serde::Serialize;
use tokio::sync::{oneshot, watch};

use crate::conductor::rows::Rows;
use crate::conductor::{Conductor, ConductorArgs, ConductorMsg, Ended, Progress};
use crate::evaluator::{Evaluator, EvaluatorMsg};
use crate::judge::{JudgeArgs, JudgeMsg, JudgePool};
use crate::live::{Failed, LiveArm};
use crate::loader::{Loader, LoaderArgs, LoaderMsg};
use crate::optimizer::{Optimizer, OptimizerArgs, OptimizerMsg};
use crate::recorder::{Lines, RecorderMsg};
use crate::run::{ArmStatus, RunEvent, RunMsg};
use crate::sampler::{Sampler, SamplerArgs, SamplerMsg};
use crate::shaper::{Shaper, ShaperArgs, ShaperMsg};
use crate::slot::Slot;
use crate::supervision::RestartBudget;

mod prepare;
mod status;
mod tree;

pub use prepare::{PrepareArgs, Prepared, open_policy, prepare};
pub(crate) use status::{Standing, write_status};
pub use tree::actor_tree;

/// Longest wait for an actor to finish what it has in hand when its arm ends.
const LAST_WORK: Duration = Duration::from_secs(30);

/// The slots of an arm: how its actors reach each other. Those of the rewards change while it runs, see
/// [`Conditions`](crate::live::Conditions).
#[derive(Clone)]
#[expect(missing_docs, reason = "each is the slot of the actor of that name")]
pub struct Slots {
    pub loader: Slot<LoaderMsg>,
    pub sampler: Slot<SamplerMsg>,
    pub judge: Slot<JudgeMsg>,
    pub shaper: Slot<ShaperMsg>,
    pub optimizer: Slot<OptimizerMsg>,
    pub evaluator: Slot<EvaluatorMsg>,
    pub recorder: Slot<RecorderMsg>,
}

/// A set of held-out questions.
pub struct Suite {
    /// What tables call it.
    pub name: String,
    /// The questions, in order.
    pub questions: Vec<Arc<Question>>,
}

/// What all actors of an arm know.
pub struct ArmContext {
    /// Its name.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Its settings.
    pub config: ArmConfig,
    /// Steps it will take.
    pub total_steps: u64,
    /// Its folder.
    pub dir: PathBuf,
    /// The same, relative to the run directory.
    pub folder: PathBuf,
    /// What it trains on.
    pub rows: Rows,
    /// What the first steps of a curriculum train on.
    pub first_rows: Option<Rows>,
    /// What it is evaluated on.
    pub suites: Vec<Suite>,
    /// Text to tokens and back.
    pub processor: Processor,
    /// How completions are read.
    pub parser: ParserOptions,
    /// Whether the judge is asked though no reward needs it.
    pub judging_is_free: bool,
    /// That a clip is longer than the model hears has been said.
    pub truncation_warned: Once,
    /// How to reach the actors.
    pub slots: Slots,
    /// What can be seen and asked of it from outside.
    pub(crate) live: Arc<LiveArm>,
    /// When it began.
    pub started: Instant,
}

impl ArmContext {
    /// The user's turn for a question, in `style` or in the arm's own.
    pub fn user_text(&self, question: &Question, style: Option<PromptStyle>) -> String {
        style.map_or_else(|| self.config.prompt.render(question), |style| style.render(question))
    }

    /// How training completions are drawn.
    pub fn sampling_params(&self) -> SamplingParams {
        let sampling = &self.config.sampling;
        SamplingParams {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            max_new_tokens: sampling.max_new_tokens,
        }
    }

    /// How evaluated completions are drawn: from the whole distribution, at the evaluation's temperature.
    pub fn evaluation_params(&self) -> SamplingParams {
        SamplingParams {
            temperature: self.config.eval.temperature,
            top_p: 1.0,
            top_k: 0,
            ..self.sampling_params()
        }
    }

    /// The prompt styles that supervised targets are asked in.
    pub fn target_styles(&self) -> Vec<PromptStyle> {
        let styles = &self.config.sft.styles;
        if styles.is_empty() { vec![self.config.prompt.style] } else { styles.clone() }
    }

    /// A supervised target drawn for a row; `None` if the data has none.
    pub fn sft_target(&self, row: &Question, style: PromptStyle, seed: u64) -> Option<String> {
        scenarios::sft_target(row, self.config.sft.target, &self.config.data.soundscapes, style, seed)
    }

    /// The rows of a supervised step: those of the curriculum as long as it lasts.
    pub fn sft_rows(&self, step: u64) -> Vec<Arc<Question>> {
        let first = self.first_rows.as_ref().filter(|_| step < self.config.sft.curriculum.steps);
        first.unwrap_or(&self.rows).of_step(step, self.config.sft.rows_per_step)
    }

    /// Token ids of a target, with the end token.
    pub fn target_ids(&self, target: &str) -> Vec<i64> {
        let mut ids = self.processor.encode(target);
        ids.extend(self.processor.eos_ids().first());
        ids
    }

    /// Says something a person should know.
    pub fn warn(&self, message: &str) {
        tracing::warn!(arm = %self.name, seed = self.seed, "{message}");
        self.tell(RunEvent::Warning { arm: self.name.clone(), seed: self.seed, message: message.to_owned() });
    }

    /// Says what may be so at every step: the first, tenth, hundredth, … time, and from the tenth on how often it was.
    pub fn warn_again(&self, times: u64, message: &str) {
        match times {
            0 | 1 => self.warn(message),
            _ if times == 10u64.pow(times.ilog10()) => {
                self.warn(&format!("{message} (time {times}; the next to be told is {})", 10 * times));
            }
            _ => {}
        }
    }

    /// Says, the first time only, that a clip is longer than the model hears.
    pub fn warn_of_truncation(&self, clip: &Path) {
        self.truncation_warned.call_once(|| {
            let seconds = self.processor.window_seconds().unwrap_or_default();
            self.warn(&format!(
                "{}: longer than the {seconds} s that this policy hears, and cut there; `audio_truncated` in metrics.jsonl \
                 counts such clips",
                clip.display()
            ));
        });
    }

    /// Says that an actor failed and another takes its place.
    fn restarted(&self, actor: &str, restarts: u64, error: &str) {
        self.warn(&format!("`{actor}` failed and is started again (restart {restarts}): {error}"));
        self.tell(RunEvent::ActorRestarted {
            arm: self.name.clone(),
            seed: self.seed,
            actor: actor.to_owned(),
            restarts,
            error: error.to_owned(),
        });
    }

    /// Tells whoever watches the run; nobody has to.
    pub fn tell(&self, event: RunEvent) {
        self.live.watchers.tell(event);
    }

    /// Appends lines to files of the arm.
    ///
    /// # Errors
    /// One line: what could not be written, and what to do.
    pub async fn record(&self, files: &[(&str, Vec<String>)]) -> Result<(), String> {
        let lines = files
            .iter()
            .map(|(file, lines)| Lines { file: self.folder.join(file), lines: lines.clone() })
            .collect();
        self.slots.recorder.call(lines, RecorderMsg::Append).await.map_err(|error| error.to_string())?
    }
}

/// JSON, a value a line.
pub fn json_lines<T: Serialize>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values
        .into_iter()
        .map(|value| {
            serde_json::to_string(&value).expect("records have string keys and no failing serializer")
        })
        .collect()
}

/// A record as a JSON value.
pub fn json_value<T: Serialize>(record: &T) -> serde_json::Value {
    serde_json::to_value(record).expect("records have string keys and no failing serializer")
}

/// What an arm is made of.
pub struct ArmArgs {
    /// What all its actors know.
    pub context: Arc<ArmContext>,
    /// How its actors are made.
    pub blueprints: Blueprints,
    /// Where it begins.
    pub progress: Progress,
    /// Turns true when the run is asked to stop.
    pub stop: watch::Receiver<bool>,
    /// The run it belongs to.
    pub run: ActorRef<RunMsg>,
}

/// How the actors of an arm are made, the first time and every time after.
pub struct Blueprints {
    /// The loader pool.
    pub loader: LoaderArgs,
    /// The sampler.
    pub sampler: SamplerArgs,
    /// The judge pool.
    pub judge: JudgeArgs,
    /// The shaper, in arms with rewards.
    pub shaper: Option<ShaperArgs>,
    /// The optimizer, in arms that train.
    pub optimizer: Option<OptimizerArgs>,
}

/// Messages to an arm.
pub enum ArmMsg {
    /// Its steps have ended.
    StepsEnded {
        /// How.
        ended: Box<Ended>,
    },
    /// Give those actors another chance that are out of service.
    Revive {
        /// Told when they serve again, or can't.
        done: oneshot::Sender<()>,
    },
}

/// The supervisor.
pub struct Arm;

/// Which actor of the arm a child is; those of the rewards are known to [`LiveArm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Loader,
    Sampler,
    Judge,
    Shaper,
    Optimizer,
    Evaluator,
    Conductor,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Loader => "loader",
            Role::Sampler => "sampler",
            Role::Judge => "judge",
            Role::Shaper => "shaper",
            Role::Optimizer => "optimizer",
            Role::Evaluator => "evaluator",
            Role::Conductor => "conductor",
        }
    }
}

/// The arm's children and what it needs to replace them.
pub struct ArmState {
    args: ArmArgs,
    children: HashMap<ActorId, Role>,
    budgets: HashMap<Role, RestartBudget>,
    /// Times each role was started.
    generations: HashMap<Role, u64>,
    reported: bool,
}

impl Actor for Arm {
    type Msg = ArmMsg;
    type State = ArmState;
    type Arguments = ArmArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ArmMsg>,
        args: ArmArgs,
    ) -> Result<ArmState, ActorProcessingErr> {
        let mut state = ArmState {
            args,
            children: HashMap::new(),
            budgets: HashMap::new(),
            generations: HashMap::new(),
            reported: false,
        };
        let context = state.args.context.clone();
        let cell = myself.get_cell();
        let step = state.args.progress.step;
        for reward in context.live.begin(cell.clone(), context.slots.clone(), step).values() {
            context.live.seat(reward, &cell).await?;
        }
        for role in state.roles() {
            state.spawn(&myself, role).await?;
        }
        write_status(&context, Standing::Running, &state.args.progress, None).await?;
        tracing::debug!("actors of {}:\n{}", context.folder.display(), actor_tree(&myself.get_cell()));
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<ArmMsg>,
        message: ArmMsg,
        state: &mut ArmState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ArmMsg::StepsEnded { ended } => state.end(&myself, *ended).await,
            ArmMsg::Revive { done } => {
                state.revive(&myself).await;
                // A conductor that has gone needs nobody.
                let _ = done.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ArmMsg>,
        event: SupervisionEvent,
        state: &mut ArmState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(child, error) => {
                state.child_failed(&myself, &child, &error.to_string()).await;
            }
            SupervisionEvent::ActorTerminated(child, ..) => {
                state.args.context.live.reward_ended(child.get_id());
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl ArmState {
    /// The actors this arm needs, in the order in which they start.
    fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Loader, Role::Sampler, Role::Judge];
        if self.args.blueprints.shaper.is_some() {
            roles.push(Role::Shaper);
        }
        if self.args.blueprints.optimizer.is_some() {
            roles.push(Role::Optimizer);
        }
        roles.extend([Role::Evaluator, Role::Conductor]);
        roles
    }

    async fn spawn(&mut self, myself: &ActorRef<ArmMsg>, role: Role) -> Result<(), SpawnErr> {
        let context = self.args.context.clone();
        let generation = self.generations.entry(role).or_default();
        *generation += 1;
        let name = Some(format!("{}/{}#{generation}", context.folder.display(), role.name()));
        let parent = myself.get_cell();
        let slots = &context.slots;
        let plans = &self.args.blueprints;
        let id = match role {
            Role::Loader => {
                let (actor, _) = Actor::spawn_linked(name, Loader, plans.loader.clone(), parent).await?;
                install(&slots.loader, actor)
            }
            Role::Sampler => {
                let thread = ThreadLocalActorSpawner::new();
                let (actor, _) =
                    <Sampler as ThreadLocalActor>::spawn_linked(name, plans.sampler.clone(), parent, thread)
                        .await?;
                install(&slots.sampler, actor)
            }
            Role::Judge => {
                let (actor, _) = Actor::spawn_linked(name, JudgePool, plans.judge.clone(), parent).await?;
                install(&slots.judge, actor)
            }
            Role::Shaper => {
                let Some(args) = plans.shaper.clone() else { return Ok(()) };
                let (actor, _) = Actor::spawn_linked(name, Shaper, args, parent).await?;
                install(&slots.shaper, actor)
            }
            Role::Optimizer => {
                let Some(args) = plans.optimizer.clone() else { return Ok(()) };
                let thread = ThreadLocalActorSpawner::new();
                let (actor, _) =
                    <Optimizer as ThreadLocalActor>::spawn_linked(name, args, parent, thread).await?;
                install(&slots.optimizer, actor)
            }
            Role::Evaluator => {
                let (actor, _) = Actor::spawn_linked(name, Evaluator, context.clone(), parent).await?;
                install(&slots.evaluator, actor)
            }
            Role::Conductor => {
                let args = ConductorArgs {
                    context: context.clone(),
                    progress: self.args.progress.clone(),
                    stop: self.args.stop.clone(),
                    arm: myself.clone(),
                };
                let (actor, _) = Actor::spawn_linked(name, Conductor, args, parent).await?;
                actor.cast(ConductorMsg::TakeSteps).map_err(|error| SpawnErr::StartupFailed(error.into()))?;
                actor.get_id()
            }
        };
        self.children.insert(id, role);
        Ok(())
    }

    async fn child_failed(&mut self, myself: &ActorRef<ArmMsg>, child: &ActorCell, error: &str) {
        let context = self.args.context.clone();
        let Some(role) = self.children.remove(&child.get_id()) else {
            if let Failed::StartedAgain(name, restarts) =
                context.live.reward_failed(child.get_id(), error, &myself.get_cell()).await
            {
                context.restarted(&name, restarts, error);
            }
            return;
        };
        if role == Role::Conductor {
            // It alone knows where the steps stood, so there is nothing to go on from but the last checkpoint.
            let reason = format!("the conductor failed: {error}");
            let ended = Ended {
                status: ArmStatus::Failed { reason },
                progress: self.args.progress.clone(),
                checkpoint: crate::checkpoint::newest(&context.dir),
            };
            self.end(myself, ended).await;
            return;
        }
        let supervision = &context.config.supervision;
        let budget = self.budgets.entry(role).or_insert_with(|| RestartBudget::of(supervision));
        let name = role.name();
        if !budget.spend(Instant::now()) {
            let reason = format!(
                "`{name}` failed more than {} times within {} s, the last time with: {error}",
                supervision.restarts, supervision.window_seconds
            );
            self.close(role, &reason);
            return;
        }
        let restarts = budget.total();
        self.bereave(role, error);
        context.restarted(name, restarts, error);
        if let Err(error) = self.spawn(myself, role).await {
            self.close(role, &format!("`{name}` could not be started again: {error}"));
        }
    }

    /// Starts those again that are out of service, as if they had never failed.
    async fn revive(&mut self, myself: &ActorRef<ArmMsg>) {
        let context = self.args.context.clone();
        context.live.revive(&myself.get_cell()).await;
        for role in self.roles() {
            if self.is_closed(role) {
                self.budgets.remove(&role);
                if let Err(error) = self.spawn(myself, role).await {
                    self.close(role, &format!("`{}` could not be started again: {error}", role.name()));
                }
            }
        }
    }

    fn close(&self, role: Role, reason: &str) {
        let slots = &self.args.context.slots;
        match role {
            Role::Loader => slots.loader.close(reason),
            Role::Sampler => slots.sampler.close(reason),
            Role::Judge => slots.judge.close(reason),
            Role::Shaper => slots.shaper.close(reason),
            Role::Optimizer => slots.optimizer.close(reason),
            Role::Evaluator => slots.evaluator.close(reason),
            // It has no slot: nobody calls it.
            Role::Conductor => {}
        }
    }

    fn bereave(&self, role: Role, error: &str) {
        let slots = &self.args.context.slots;
        match role {
            Role::Loader => slots.loader.bereave(error),
            Role::Sampler => slots.sampler.bereave(error),
            Role::Judge => slots.judge.bereave(error),
            Role::Shaper => slots.shaper.bereave(error),
            Role::Optimizer => slots.optimizer.bereave(error),
            Role::Evaluator => slots.evaluator.bereave(error),
            Role::Conductor => {}
        }
    }

    fn is_closed(&self, role: Role) -> bool {
        let slots = &self.args.context.slots;
        match role {
            Role::Loader => slots.loader.is_closed(),
            Role::Sampler => slots.sampler.is_closed(),
            Role::Judge => slots.judge.is_closed(),
            Role::Shaper => slots.shaper.is_closed(),
            Role::Optimizer => slots.optimizer.is_closed(),
            Role::Evaluator => slots.evaluator.is_closed(),
            Role::Conductor => false,
        }
    }

    /// Writes down how the arm ended, tells the run, and retires.
    async fn end(&mut self, myself: &ActorRef<ArmMsg>, ended: Ended) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let context = self.args.context.clone();
        let standing = Standing::Ended(&ended.status);
        let written = write_status(&context, standing, &ended.progress, ended.checkpoint.clone());
        if let Err(error) = written.await {
            context.warn(&error);
        }
        let outcome = crate::run::ArmOutcome {
            arm: context.name.clone(),
            seed: context.seed,
            status: ended.status,
            step: ended.progress.step,
            checkpoint: ended.checkpoint,
        };
        context.live.end(outcome.status.clone(), outcome.step);
        // Whoever still waits for an actor of this arm must not wait for one that never comes.
        for role in self.roles() {
            self.close(role, "the arm has ended");
        }
        context.live.close("the arm has ended");
        // Their threads must not be inside libtorch any more when the process ends.
        myself.drain_children_and_wait(Some(LAST_WORK)).await;
        // A run that has gone needs no report.
        let _ = self.args.run.cast(RunMsg::ArmEnded { outcome });
        myself.stop(None);
    }
}

fn install<M: ractor::Message>(slot: &Slot<M>, actor: ActorRef<M>) -> ActorId {
    let id = actor.get_id();
    slot.install(actor);
    id
}
