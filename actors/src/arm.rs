//! An arm under one seed: the supervisor of the actors that train it.
//!
//! - `RESTART-1` an actor that fails is started again within its restart budget, and the request in hand goes to its
//!   successor. Budget spent: its slot is closed with the reason, the steps end there, a checkpoint is written.
//! - `ARM-1` whatever happens to its actors, the arm reports to the run exactly once how it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::watch;

use self::context::{ArmContext, ArmMsg};
use self::status::{Standing, write_status};
use crate::conductor::{Conductor, ConductorArgs, ConductorMsg};
use crate::evaluator::Evaluator;
use crate::event::{ArmOutcome, ArmStatus, RunMsg};
use crate::judge::{JudgeArgs, JudgePool};
use crate::live::Failed;
use crate::loader::{Loader, LoaderArgs};
use crate::optimizer::{Optimizer, OptimizerArgs};
use crate::progress::{Ended, Progress};
use crate::sampler::{Sampler, SamplerArgs};
use crate::shaper::{Shaper, ShaperArgs};
use crate::slot::Slot;
use crate::supervision::RestartBudget;

pub mod context;
mod prepare;
pub(crate) mod status;
mod tree;

pub use prepare::{PrepareArgs, Prepared, open_policy, prepare};
pub use tree::actor_tree;

/// Longest wait for an actor to finish what it has in hand when its arm ends.
const LAST_WORK: Duration = Duration::from_secs(30);

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
        let outcome = ArmOutcome {
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
