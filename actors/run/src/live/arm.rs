//! One arm as it is watched and changed: its state, the conditions in force, and the orders for the next step boundary.
//!
//! Orders come from an [`ArmHandle`](crate::ArmHandle), and the conductor carries them out between two steps. Rewards
//! are built, tried and started while a step runs, so that at the boundary only the conditions are exchanged (SWAP-1).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ractor::{ActorCell, ActorId};
use records::{Action, Applied, ArmId, ArmState, Change, ConditionsRecord, FormatVersion, JournalEntry, now};
use rewards::{RewardBatch, RewardRegistry};
use runtime::Watchers;
use scenarios::{ArmConfig, Method};
use tokio::sync::{Notify, oneshot, watch};

use super::change::{ChangeError, Draft, RepeatError, replaced_values};
use super::conditions::{Conditions, Rewards};
use super::journal::Journal;
use super::lock::lock;
use super::order::{Order, PlannedChange};
use super::reward_actors::{RewardActors, RewardFailure};
use super::view::{ActorState, ActorView, ArmView, ConditionsView};
use crate::error::{InputError, RecordingError};
use crate::slots::Slots;

/// When a change takes effect.
enum Plan {
    /// The arm started while the rewards were built, so they must be built again with actors.
    Again,
    /// The arm is planned and will start with it.
    BeforeStart { base: Arc<Conditions>, version: u64 },
    /// At the next step boundary.
    AtBoundary(oneshot::Receiver<Result<Applied, ChangeError>>),
}

/// The supervisor of an active arm and the slots of its actors.
struct Actors {
    supervisor: ActorCell,
    slots: Slots,
}

struct State {
    arm: ArmState,
    /// `None` in arms that are not trained by rewards.
    in_force: Option<Arc<Conditions>>,
    /// The conditions after all planned changes.
    latest: Option<Arc<Conditions>>,
    last_version: u64,
    orders: VecDeque<Order>,
    /// Changes of an earlier run, to be made again at their steps.
    repeats: VecDeque<JournalEntry>,
    /// Set when the arm starts.
    actors: Option<Actors>,
}

/// What a [`LiveArm`] is made of.
pub(crate) struct LiveArmArgs {
    pub(crate) config: ArmConfig,
    pub(crate) seed: u64,
    pub(crate) registry: Arc<RewardRegistry>,
    /// The folder that relative paths of new rewards start from.
    pub(crate) folder: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) watchers: Watchers,
    /// Whether there is a control channel through which somebody can resume it.
    pub(crate) controlled: bool,
    /// The conditions of the checkpoint it resumes from; `None` for the scenario's.
    pub(crate) resumed: Option<ConditionsRecord>,
    /// Steps taken before it starts.
    pub(crate) step: u64,
    /// Changes of an earlier run to be made again, in the order of their steps.
    pub(crate) repeats: Vec<JournalEntry>,
    /// In a replay: the steps to take. A replay writes the changes it repeats into its own journal.
    pub(crate) replayed_steps: Option<u64>,
}

/// One arm, as it is watched and changed.
pub(crate) struct LiveArm {
    pub(crate) id: ArmId,
    pub(crate) config: ArmConfig,
    pub(crate) controlled: bool,
    pub(crate) watchers: Watchers,
    folder: PathBuf,
    journal: Journal,
    replayed_steps: Option<u64>,
    step: AtomicU64,
    state: Mutex<State>,
    /// Wakes the conductor of a paused arm.
    orders_arrived: Notify,
    stop: watch::Sender<bool>,
    reward_actors: RewardActors,
    last_batch: Mutex<Option<Arc<RewardBatch>>>,
}

impl LiveArm {
    /// An arm that has not started.
    ///
    /// Errors: [`InputError`]: a reward or the formula can't be used.
    pub(crate) fn new(args: LiveArmArgs) -> Result<Self, InputError> {
        let record = args.resumed.unwrap_or_else(|| ConditionsRecord::of(&args.config));
        let in_force = match args.config.method {
            Method::Grpo => Some(Arc::new(Conditions::open(&record, &args.config, &args.registry)?)),
            Method::Sft | Method::None => None,
        };
        let repeated = args.repeats.iter().map(|entry| entry.version);
        let last_version = repeated.fold(record.version, |most, version| most.max(version));
        let state = State {
            arm: ArmState::Planned,
            latest: in_force.clone(),
            in_force,
            last_version,
            orders: VecDeque::new(),
            repeats: args.repeats.into(),
            actors: None,
        };
        let id = ArmId::new(args.config.name.clone(), args.seed);
        Ok(LiveArm {
            reward_actors: RewardActors::new(args.registry),
            id,
            config: args.config,
            controlled: args.controlled,
            folder: args.folder,
            journal: args.journal,
            watchers: args.watchers,
            replayed_steps: args.replayed_steps,
            step: AtomicU64::new(args.step),
            state: Mutex::new(state),
            orders_arrived: Notify::new(),
            // An arm that took no step in the recorded run takes none in the replay.
            stop: watch::Sender::new(args.replayed_steps == Some(0)),
            last_batch: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether it repeats an arm of a recorded run.
    pub(crate) fn is_replay(&self) -> bool {
        self.replayed_steps.is_some()
    }

    /// The step after which it ends: the scenario's last, or as far as the recorded arm came.
    pub(crate) fn last_step(&self) -> u64 {
        self.replayed_steps.map_or(self.config.steps, |steps| steps.min(self.config.steps))
    }

    /// Training steps taken so far.
    pub(crate) fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// The conditions in force; `None` in arms that are not trained by rewards.
    pub(crate) fn in_force(&self) -> Option<Arc<Conditions>> {
        self.lock().in_force.clone()
    }

    pub(crate) fn view(&self) -> ArmView {
        let state = self.lock();
        let step = self.step();
        ArmView {
            id: self.id.clone(),
            method: self.config.method,
            state: state.arm.clone(),
            step,
            total_steps: if self.config.method == Method::None { 0 } else { self.config.steps },
            conditions: state.in_force.as_deref().map(|found| ConditionsView::of(found, step + 1)),
        }
    }

    pub(crate) fn actors(&self) -> ActorView {
        let state = self.lock();
        let status = if state.arm.is_active() { ActorState::Serving } else { ActorState::Closed };
        let mut children = Vec::new();
        if let Some(Actors { slots, .. }) = &state.actors {
            children.push(ActorView::without_slot("conductor".into(), status, Vec::new()));
            children.extend([ActorView::of(&slots.loader), ActorView::of(&slots.sampler)]);
            children.push(ActorView::of(&slots.judge));
            if let Some(conditions) = &state.in_force {
                children.extend(conditions.rewards.values().map(|reward| ActorView::of(&reward.slot)));
                children.push(ActorView::of(&slots.shaper));
            }
            if self.config.method != Method::None {
                children.push(ActorView::of(&slots.optimizer));
            }
            children.push(ActorView::of(&slots.evaluator));
        }
        ActorView::without_slot(self.id.to_string(), status, children)
    }

    /// The arm starts: its rewards get their actors, supervised by `supervisor`.
    pub(crate) async fn start(
        &self,
        supervisor: ActorCell,
        slots: Slots,
        step: u64,
    ) -> Result<(), plugins::PluginError> {
        self.step.store(step, Ordering::Relaxed);
        let rewards = {
            let mut state = self.lock();
            self.moved(state.arm.start());
            state.actors = Some(Actors { supervisor: supervisor.clone(), slots });
            state.in_force.as_ref().map(|conditions| conditions.rewards.clone()).unwrap_or_default()
        };
        for reward in rewards.values() {
            self.reward_actors.spawn(reward, &supervisor).await?;
        }
        Ok(())
    }

    /// The arm has ended: pending orders are dropped, whose callers learn that it ended.
    pub(crate) fn end(&self, end: ArmState, step: u64) {
        self.step.store(step, Ordering::Relaxed);
        let mut state = self.lock();
        if !state.arm.has_ended() {
            self.moved(state.arm.end(end));
        }
        state.orders.clear();
        *lock(&self.last_batch) = None;
    }

    pub(crate) fn paused(&self, reason: &str) -> ArmState {
        let mut state = self.lock();
        self.moved(state.arm.pause(reason));
        state.arm.clone()
    }

    pub(crate) fn resumed(&self) -> ArmState {
        let mut state = self.lock();
        self.moved(state.arm.resume());
        state.arm.clone()
    }

    /// A transition that the state machine lacks is a defect here, but no reason to end the training.
    fn moved(&self, transition: Result<(), records::InvalidTransition>) {
        if let Err(invalid) = transition {
            tracing::error!(arm = %self.id, "{invalid}");
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().arm.has_ended()
    }

    pub(crate) fn has_started(&self) -> bool {
        self.lock().arm != ArmState::Planned
    }

    pub(crate) fn step_taken(&self, step: u64) {
        self.step.store(step, Ordering::Relaxed);
    }

    /// Keeps the newest batch of completions, to try new rewards on.
    pub(crate) fn keep_batch(&self, batch: Arc<RewardBatch>) {
        *lock(&self.last_batch) = Some(batch);
    }

    /// The newest batch of completions; `None` before the first step and after the end.
    fn last_batch(&self) -> Option<Arc<RewardBatch>> {
        lock(&self.last_batch).clone().filter(|batch| !batch.items.is_empty())
    }

    /// Queues an order for the next step boundary.
    pub(crate) fn order(&self, order: Order) -> Result<(), ChangeError> {
        let mut state = self.lock();
        if state.arm.has_ended() {
            return Err(self.ended_error());
        }
        state.orders.push_back(order);
        drop(state);
        self.orders_arrived.notify_one();
        Ok(())
    }

    /// Number of queued orders.
    pub(crate) fn orders_waiting(&self) -> usize {
        self.lock().orders.len()
    }

    /// Takes the next order, for the conductor.
    pub(crate) fn next_order(&self) -> Option<Order> {
        self.lock().orders.pop_front()
    }

    /// Waits until an order is queued.
    pub(crate) async fn wait_for_order(&self) {
        self.orders_arrived.notified().await;
    }

    /// Turns true when the arm is to stop.
    pub(crate) fn stop_switch(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) fn ended_error(&self) -> ChangeError {
        ChangeError::Ended { arm: self.id.arm.clone(), seed: self.id.seed }
    }

    fn no_rewards_error(&self) -> ChangeError {
        ChangeError::NoRewards { arm: self.id.arm.clone() }
    }

    /// Makes a change; returns when it is in force, which in an active arm is at the next step boundary.
    pub(crate) async fn change(&self, change: Change, by: String) -> Result<Applied, ChangeError> {
        let change = change.anchored(&self.folder);
        loop {
            Draft::new(&change, &*self.latest()?)?;
            let started = self.has_started();
            let built = self.build(&change).await?;
            match self.plan(&change, &by, built, started)? {
                Plan::Again => {}
                Plan::BeforeStart { base, version } => {
                    return Ok(self.journal_change(&change, by, &base, version, self.step() + 1).await?);
                }
                Plan::AtBoundary(applied) => {
                    return applied.await.unwrap_or_else(|_| Err(self.ended_error()));
                }
            }
        }
    }

    async fn build(&self, change: &Change) -> Result<Rewards, ChangeError> {
        let supervisor = self.lock().actors.as_ref().map(|actors| actors.supervisor.clone());
        self.reward_actors.build(change, &self.config, supervisor.as_ref(), self.last_batch()).await
    }

    /// Assigns a version to a change and queues it. `started` says whether its rewards have actors.
    fn plan(&self, change: &Change, by: &str, built: Rewards, started: bool) -> Result<Plan, ChangeError> {
        let mut state = self.lock();
        if state.arm.has_ended() {
            return Err(self.ended_error());
        }
        if state.arm.is_active() && !started {
            return Ok(Plan::Again);
        }
        let Some(base) = state.latest.clone() else { return Err(self.no_rewards_error()) };
        let version = state.last_version + 1;
        let next = Arc::new(Draft::new(change, &base)?.conditions(version, &base, change, &built));
        state.last_version = version;
        state.latest = Some(next.clone());
        if !started {
            state.in_force = Some(next);
            return Ok(Plan::BeforeStart { base, version });
        }
        let (done, applied) = oneshot::channel();
        let (change, by) = (change.clone(), by.to_owned());
        let planned = PlannedChange { change, by, built, version, base, next, done };
        state.orders.push_back(Order::Change(Box::new(planned)));
        drop(state);
        self.orders_arrived.notify_one();
        Ok(Plan::AtBoundary(applied))
    }

    /// Checks a change without making it.
    pub(crate) fn check(&self, change: &Change) -> Result<(), ChangeError> {
        Draft::new(change, &*self.latest()?)?;
        for (name, spec) in &change.clone().anchored(&self.folder).rewards {
            if let Some(spec) = spec {
                self.reward_actors.without_actor(name, spec, &self.config)?;
            }
        }
        Ok(())
    }

    /// The conditions after all planned changes.
    fn latest(&self) -> Result<Arc<Conditions>, ChangeError> {
        let state = self.lock();
        if state.arm.has_ended() {
            return Err(self.ended_error());
        }
        state.latest.clone().ok_or_else(|| self.no_rewards_error())
    }

    /// Puts a planned change in force from step `next` on.
    ///
    /// Errors: It could not be written to the journal; then the arm can't go on.
    pub(crate) async fn put_in_force(&self, planned: PlannedChange, next: u64) -> Result<(), RecordingError> {
        let PlannedChange { change, by, built, version, base, next: prepared, done } = planned;
        let Some(now) = self.in_force() else { return Ok(()) };
        let conditions = if Arc::ptr_eq(&base, &now) {
            prepared
        } else {
            // A change of the run that this one repeats came in between.
            match Draft::new(&change, &now) {
                Ok(draft) => Arc::new(draft.conditions(version, &now, &change, &built)),
                Err(error) => {
                    self.take(now);
                    // The caller may no longer wait.
                    let _ = done.send(Err(error));
                    return Ok(());
                }
            }
        };
        match self.journal_change(&change, by, &now, version, next).await {
            Ok(applied) => {
                self.take(conditions);
                let _ = done.send(Ok(applied));
                Ok(())
            }
            Err(error) => {
                let _ = done.send(Err(ChangeError::Unrecorded(error.to_string())));
                Err(error)
            }
        }
    }

    /// Sets the conditions of the steps to come. The last step under the conditions before drops them.
    fn take(&self, conditions: Arc<Conditions>) {
        let mut state = self.lock();
        if !state.orders.iter().any(|order| matches!(order, Order::Change(_))) {
            state.latest = Some(conditions.clone());
        }
        state.in_force = Some(conditions);
    }

    /// Makes the changes of an earlier run again that took effect by step `next`.
    ///
    /// Errors: [`RepeatError`].
    pub(crate) async fn repeat_changes(&self, next: u64) -> Result<(), RepeatError> {
        loop {
            let entry = {
                let mut state = self.lock();
                if state.repeats.front().is_none_or(|entry| entry.step > next) {
                    return Ok(());
                }
                state.repeats.pop_front()
            };
            let Some(JournalEntry { change: Some(change), version, .. }) = entry else { continue };
            let refused = |source| RepeatError { version, step: next, source };
            let built = self.build(&change).await.map_err(refused)?;
            let Some(now) = self.in_force() else { return Ok(()) };
            let draft = Draft::new(&change, &now).map_err(refused)?;
            let conditions = draft.conditions(version, &now, &change, &built);
            if self.is_replay() {
                let by = "replay".to_owned();
                let journaled = self.journal_change(&change, by, &now, version, next).await;
                journaled.map_err(|error| refused(error.into()))?;
            }
            self.take(Arc::new(conditions));
        }
    }

    async fn journal_change(
        &self,
        change: &Change,
        by: String,
        before: &Conditions,
        version: u64,
        step: u64,
    ) -> Result<Applied, RecordingError> {
        let entry = JournalEntry {
            change: Some(change.clone()),
            from: Some(replaced_values(change, before)),
            version,
            step,
            ..self.entry(Action::Change, by)
        };
        self.journal.append(entry).await?;
        Ok(Applied { version, step })
    }

    fn entry(&self, action: Action, by: String) -> JournalEntry {
        JournalEntry {
            format_version: FormatVersion::CURRENT,
            time: now(),
            by,
            id: self.id.clone(),
            action,
            change: None,
            from: None,
            note: None,
            version: self.in_force().map_or(0, |conditions| conditions.version),
            step: self.step(),
        }
    }

    /// Writes a command other than a change to the journal.
    pub(crate) async fn journal(
        &self,
        action: Action,
        by: String,
        note: Option<String>,
    ) -> Result<(), RecordingError> {
        let entry = JournalEntry { note, ..self.entry(action, by) };
        self.journal.append(entry).await
    }

    /// Restarts the reward whose actor failed, if the actor served one.
    pub(crate) async fn reward_failed(
        &self,
        actor: ActorId,
        error: &str,
        supervisor: &ActorCell,
    ) -> RewardFailure {
        self.reward_actors.failed(actor, error, &self.config, supervisor).await
    }

    /// Forgets a reward actor that has ended.
    pub(crate) fn reward_ended(&self, actor: ActorId) {
        self.reward_actors.ended(actor);
    }

    /// Starts the rewards again that are out of service, with a new restart budget.
    pub(crate) async fn revive_rewards(&self, supervisor: &ActorCell) {
        let Some(conditions) = self.in_force() else { return };
        self.reward_actors.revive(&conditions, &self.config, supervisor).await;
    }

    /// Closes the slots of all rewards.
    pub(crate) fn close_rewards(&self, reason: &str) {
        let Some(conditions) = self.in_force() else { return };
        conditions.rewards.values().for_each(|reward| reward.slot.close(reason));
    }
}
