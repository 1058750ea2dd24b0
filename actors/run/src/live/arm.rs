//! One arm as it is watched and changed: its state, the conditions in force, and the orders for the next step boundary.
//!
//! Orders come from an [`ArmHandle`](crate::ArmHandle), and the conductor carries them out between two steps. Rewards
//! are built, tried and started while a step runs, so that at the boundary only the conditions are exchanged (SWAP-1).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use audio::Ears;
use ractor::{ActorCell, ActorId};
use records::{Action, AlarmFiring, ArmId, ArmState, ConditionsRecord, FormatVersion, JournalEntry, now};
use rewards::{RewardBatch, RewardRegistry};
use runtime::Watchers;
use scenarios::{ArmConfig, Method};
use tokio::sync::{Notify, watch};

use super::change::ChangeError;
use super::conditions::Conditions;
use super::fork_points::ForkPoints;
use super::journal::Journal;
use super::lock::lock;
use super::order::Order;
use super::reward_actors::{RewardActors, RewardFailure};
use super::sequence::Sequence;
use super::view::{ActorState, ActorView, ArmView, ConditionsView};
use crate::alarms::AlarmView;
use crate::error::{InputError, RecordingError};
use crate::lineage::Lineage;
use crate::messages::ForkPoint;
use crate::slots::Slots;

mod alarms;
mod changes;
mod forks;

/// The supervisor of an active arm and the slots of its actors.
struct Actors {
    supervisor: ActorCell,
    slots: Slots,
}

struct State {
    arm: ArmState,
    /// The conditions in force, and the changes that wait for their step.
    sequence: Sequence,
    orders: VecDeque<Order>,
    forks: ForkPoints,
    /// Set when the arm starts.
    actors: Option<Actors>,
}

impl State {
    /// The place of the next change in the queue.
    fn planned_change(&self) -> Option<usize> {
        self.orders.iter().position(|order| matches!(order, Order::Change(_)))
    }
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
    pub(crate) lineage: Arc<Lineage>,
    /// Whether there is a control channel through which somebody can resume it.
    pub(crate) controlled: bool,
    /// The conditions of the checkpoint it resumes from; `None` for the scenario's.
    pub(crate) resumed: Option<ConditionsRecord>,
    /// Steps taken before it starts.
    pub(crate) step: u64,
    /// Changes of an earlier run to be made again, in the order of their versions.
    pub(crate) repeats: Vec<JournalEntry>,
    /// In a replay: the steps to take. A replay writes the changes it repeats into its own journal.
    pub(crate) replayed_steps: Option<u64>,
    /// Where it is copied into forks.
    pub(crate) forks: Vec<ForkPoint>,
    /// The alarms that an earlier run journaled: the run that is resumed, or the recorded one in a replay.
    pub(crate) recorded_alarms: Vec<AlarmFiring>,
}

/// One arm, as it is watched and changed.
pub(crate) struct LiveArm {
    pub(crate) id: ArmId,
    pub(crate) config: ArmConfig,
    pub(crate) controlled: bool,
    pub(crate) watchers: Watchers,
    pub(crate) lineage: Arc<Lineage>,
    /// How its policy hears clips, once the policy is open.
    pub(crate) ears: OnceLock<Ears>,
    folder: PathBuf,
    journal: Journal,
    replayed_steps: Option<u64>,
    step: AtomicU64,
    state: Mutex<State>,
    /// Wakes the conductor of a paused arm.
    orders_arrived: Notify,
    /// Held while a change is made in a planned arm, so that the arm does not start in between.
    before_start: tokio::sync::Mutex<()>,
    stop: watch::Sender<bool>,
    reward_actors: RewardActors,
    last_batch: Mutex<Option<Arc<RewardBatch>>>,
    recorded_alarms: Vec<AlarmFiring>,
    /// How its alarms stand after the newest step.
    alarms: Mutex<Vec<AlarmView>>,
}

impl LiveArm {
    /// An arm that has not started.
    ///
    /// Errors: [`InputError`]: a reward or the formula can't be used.
    pub(crate) fn new(args: LiveArmArgs) -> Result<Self, InputError> {
        let mut record = args.resumed.unwrap_or_else(|| ConditionsRecord::of(&args.config));
        let mut repeats = args.repeats;
        if args.replayed_steps.is_none() {
            // What the earlier run acknowledged for the next step is in force from the beginning. A replay makes its
            // first changes at a boundary too, because it writes them into its journal.
            let due = repeats.partition_point(|entry| entry.step <= args.step + 1);
            for entry in repeats.drain(..due) {
                entry.change.iter().for_each(|change| record.apply(change, entry.version));
            }
        }
        let in_force = match args.config.method {
            Method::Grpo => Some(Arc::new(Conditions::open(&record, &args.config, &args.registry)?)),
            Method::Sft | Method::None => None,
        };
        let state = State {
            arm: ArmState::Planned,
            sequence: Sequence::new(in_force, repeats),
            orders: VecDeque::new(),
            forks: ForkPoints::new(args.forks, args.step),
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
            lineage: args.lineage,
            ears: OnceLock::new(),
            replayed_steps: args.replayed_steps,
            step: AtomicU64::new(args.step),
            state: Mutex::new(state),
            orders_arrived: Notify::new(),
            before_start: tokio::sync::Mutex::new(()),
            // An arm that took no step in the recorded run takes none in the replay.
            stop: watch::Sender::new(args.replayed_steps == Some(0)),
            last_batch: Mutex::default(),
            recorded_alarms: args.recorded_alarms,
            alarms: Mutex::default(),
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
        self.lock().sequence.in_force().cloned()
    }

    pub(crate) fn view(&self) -> ArmView {
        let state = self.lock();
        let step = self.step();
        ArmView {
            id: self.id.clone(),
            method: self.config.method,
            state: state.arm.clone(),
            step,
            trains: (self.config.method != Method::None).then(|| self.config.policy.train.to_string()),
            total_steps: if self.config.method == Method::None { 0 } else { self.config.steps },
            conditions: state.sequence.in_force().map(|found| ConditionsView::of(found, step + 1)),
            waiting: state.sequence.waiting(),
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
            if let Some(conditions) = state.sequence.in_force() {
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
        let before_start = self.before_start.lock().await;
        let rewards = loop {
            // A change that was ordered while the arm was planned is in force before its rewards get their actors.
            self.make_planned_changes().await;
            let mut state = self.lock();
            if state.planned_change().is_none() {
                self.moved(state.arm.start());
                state.actors = Some(Actors { supervisor: supervisor.clone(), slots });
                let conditions = state.sequence.in_force();
                break conditions.map(|conditions| conditions.rewards.clone()).unwrap_or_default();
            }
        };
        drop(before_start);
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
        state.sequence.forget_orders();
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
            alarm: None,
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
