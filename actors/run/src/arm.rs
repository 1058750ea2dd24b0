//! The supervisor of an arm's actors.
//!
//! - `RESTART-1` an actor that fails is restarted within its restart budget, and the request it was working on is
//!   sent to the next generation. When the budget is spent, its slot is closed with the reason; the steps end there,
//!   and a checkpoint is written.
//! - `ARM-1` whatever happens to its actors, the arm reports exactly once to the run how it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use judges::JudgePool;
use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use records::{ArmState, Progress};
use rollouts::{ServerSampler, ServerSamplerArgs};
use runtime::{RestartBudget, RunEvent, Slot};
use tokio::sync::watch;
use workers::{Loader, Optimizer, Sampler, Shaper};

use crate::actor_tree::actor_tree;
use crate::conductor::{Conductor, ConductorArgs};
use crate::context::ArmContext;
use crate::evaluator::Evaluator;
use crate::live::RewardFailure;
use crate::messages::{ArmMsg, ArmOutcome, ConductorMsg, RunMsg, StepsEnded};
use crate::prepare::{Blueprints, SamplerPlan};
use crate::status::write_status;

/// Longest wait for the actors to finish their work when the arm ends.
const LAST_WORK: Duration = Duration::from_secs(30);

/// What an arm is made of.
pub(crate) struct ArmArgs {
    pub(crate) context: Arc<ArmContext>,
    pub(crate) blueprints: Blueprints,
    /// The progress it starts from: zero, or that of a checkpoint.
    pub(crate) progress: Progress,
    /// Turns true when the run is to stop.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) run: ActorRef<RunMsg>,
}

/// The supervisor of an arm's actors.
pub(crate) struct Arm;

/// An actor of the arm, except those of its rewards, which [`LiveArm`](crate::live::LiveArm) starts.
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
pub(crate) struct Children {
    args: ArmArgs,
    children: HashMap<ActorId, Role>,
    budgets: HashMap<Role, RestartBudget>,
    /// Times each role was started.
    generations: HashMap<Role, u64>,
    reported: bool,
}

impl Actor for Arm {
    type Msg = ArmMsg;
    type State = Children;
    type Arguments = ArmArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ArmMsg>,
        args: ArmArgs,
    ) -> Result<Children, ActorProcessingErr> {
        let mut state = Children {
            args,
            children: HashMap::new(),
            budgets: HashMap::new(),
            generations: HashMap::new(),
            reported: false,
        };
        let context = state.args.context.clone();
        let cell = myself.get_cell();
        let step = state.args.progress.step;
        context.live.start(cell, context.slots.clone(), step).await?;
        for role in state.roles() {
            state.spawn(&myself, role).await?;
        }
        write_status(&context, ArmState::Running, &state.args.progress, None).await?;
        tracing::debug!("actors of {}:\n{}", context.id, actor_tree(&myself.get_cell()));
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<ArmMsg>,
        message: ArmMsg,
        state: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ArmMsg::StepsEnded { ended } => state.end(&myself, *ended).await,
            ArmMsg::Revive { done } => {
                state.revive(&myself).await;
                // The conductor may have ended.
                let _ = done.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ArmMsg>,
        event: SupervisionEvent,
        state: &mut Children,
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

impl Children {
    /// The actors this arm needs, in the order in which they start.
    fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Loader, Role::Sampler, Role::Judge];
        if self.args.blueprints.has_shaper {
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
        let name = myself.get_name().map(|arm| format!("{arm}/{}#{generation}", role.name()));
        let parent = myself.get_cell();
        let slots = &context.slots;
        let plans = &self.args.blueprints;
        let id = match role {
            Role::Loader => {
                let (actor, _) = Actor::spawn_linked(name, Loader, plans.loader.clone(), parent).await?;
                install(&slots.loader, actor)
            }
            Role::Sampler => {
                let actor = match &plans.sampler {
                    SamplerPlan::Own(args) => {
                        let thread = ThreadLocalActorSpawner::new();
                        let spawned =
                            <Sampler as ThreadLocalActor>::spawn_linked(name, args.clone(), parent, thread);
                        spawned.await?.0
                    }
                    SamplerPlan::Servers(args) => {
                        let args = ServerSamplerArgs::clone(args);
                        Actor::spawn_linked(name, ServerSampler, args, parent).await?.0
                    }
                };
                install(&slots.sampler, actor)
            }
            Role::Judge => {
                let (actor, _) = Actor::spawn_linked(name, JudgePool, plans.judge.clone(), parent).await?;
                install(&slots.judge, actor)
            }
            Role::Shaper => {
                let (actor, _) = Actor::spawn_linked(name, Shaper, (), parent).await?;
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
                    arm: context.clone(),
                    progress: self.args.progress.clone(),
                    stop: self.args.stop.clone(),
                    supervisor: myself.clone(),
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
            if let RewardFailure::Restarted { actor, restarts } =
                context.live.reward_failed(child.get_id(), error, &myself.get_cell()).await
            {
                report_restart(&context, &actor, restarts, error);
            }
            return;
        };
        if role == Role::Conductor {
            // Only the conductor knew how far the steps had come, so the arm can only go on from its last checkpoint.
            let reason = format!("the conductor failed: {error}");
            let ended = StepsEnded {
                state: ArmState::Failed { reason },
                progress: self.args.progress.clone(),
                checkpoint: context.dir.newest_checkpoint(),
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
        self.mark_failed(role, error);
        report_restart(&context, name, restarts, error);
        if let Err(error) = self.spawn(myself, role).await {
            self.close(role, &format!("`{name}` could not be started again: {error}"));
        }
    }

    /// Starts the actors again that are out of service, with a new restart budget.
    async fn revive(&mut self, myself: &ActorRef<ArmMsg>) {
        let context = self.args.context.clone();
        context.live.revive_rewards(&myself.get_cell()).await;
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
            // It has no slot, because nothing calls it.
            Role::Conductor => {}
        }
    }

    fn mark_failed(&self, role: Role, error: &str) {
        let slots = &self.args.context.slots;
        match role {
            Role::Loader => slots.loader.mark_failed(error),
            Role::Sampler => slots.sampler.mark_failed(error),
            Role::Judge => slots.judge.mark_failed(error),
            Role::Shaper => slots.shaper.mark_failed(error),
            Role::Optimizer => slots.optimizer.mark_failed(error),
            Role::Evaluator => slots.evaluator.mark_failed(error),
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

    /// Records how the arm ended, reports it to the run, and ends all actors (ARM-1).
    async fn end(&mut self, myself: &ActorRef<ArmMsg>, ended: StepsEnded) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let context = self.args.context.clone();
        let written = write_status(&context, ended.state.clone(), &ended.progress, ended.checkpoint.clone());
        if let Err(error) = written.await {
            context.warn(&error.to_string());
        }
        let outcome = ArmOutcome {
            id: context.id.clone(),
            state: ended.state,
            step: ended.progress.step,
            checkpoint: ended.checkpoint,
        };
        context.live.end(outcome.state.clone(), outcome.step);
        // Pending calls to actors of this arm must return.
        for role in self.roles() {
            self.close(role, "the arm has ended");
        }
        context.live.close_rewards("the arm has ended");
        // No thread may be inside libtorch when the process exits.
        myself.drain_children_and_wait(Some(LAST_WORK)).await;
        // The run may have ended.
        let _ = self.args.run.cast(RunMsg::ArmEnded { outcome });
        myself.stop(None);
    }
}

/// Warns that an actor failed and was restarted.
fn report_restart(context: &ArmContext, actor: &str, restarts: u64, error: &str) {
    context.warn(&format!("`{actor}` failed and was restarted (restart {restarts}): {error}"));
    context.emit(RunEvent::ActorRestarted {
        id: context.id.clone(),
        actor: actor.to_owned(),
        restarts,
        error: error.to_owned(),
    });
}

fn install<M: ractor::Message>(slot: &Slot<M>, actor: ActorRef<M>) -> ActorId {
    let id = actor.get_id();
    slot.install(actor);
    id
}
