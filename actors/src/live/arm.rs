//! What can be seen and asked of one arm while it runs: the conditions in force and the orders that wait for the next
//! step boundary.
//!
//! Orders come from outside, through [`ArmHandle`](super::ArmHandle); the conductor carries them out between two
//! steps. A reward is built, tried out and started beside the running step; at the boundary there is nothing left to
//! do but to take the new conditions (SWAP-1).

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ractor::{ActorCell, ActorId};
use rewards::{RewardBatch, RewardRegistry};
use scenarios::{ArmConfig, Method};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, oneshot, watch};

use super::change::{Applied, Change, ChangeError};
use super::conditions::{Conditions, ConditionsRecord, RewardInForce, Rewards};
use super::entry::{Action, Entry};
use super::journal::{Journal, now};
use super::view::{ActorState, ActorView, ArmState, ArmView, ConditionsView};
use super::watchers::Watchers;
use crate::arm::context::Slots;
use crate::event::ArmStatus;

/// What an arm is asked to do at the next step boundary.
pub(crate) enum Order {
    /// Work under other conditions.
    Change(Box<Planned>),
    /// Take no further step.
    Pause { by: String, reason: String },
    /// Go on.
    Resume { by: String },
    /// Take some steps, then pause.
    Step { steps: u64, by: String },
    /// Write a checkpoint.
    Checkpoint { by: String, done: oneshot::Sender<Result<PathBuf, String>> },
}

/// A change whose rewards have been made and stood their trial.
pub(crate) struct Planned {
    change: Change,
    by: String,
    made: Rewards,
    version: u64,
    /// What it makes of `base`, unless something else is in force by then.
    base: Arc<Conditions>,
    next: Arc<Conditions>,
    done: oneshot::Sender<Result<Applied, ChangeError>>,
}

/// What becomes of a change.
enum Plan {
    /// The arm has begun meanwhile, so that its rewards need actors.
    Again,
    /// The arm waits for its turn and will begin with it.
    MadeAtOnce { base: Arc<Conditions>, version: u64 },
    /// It takes effect at the next step boundary.
    AtBoundary(oneshot::Receiver<Result<Applied, ChangeError>>),
}

enum Phase {
    Waiting,
    Running,
    Paused(String),
    Ended(ArmStatus),
}

struct State {
    phase: Phase,
    /// None in arms that are not trained by rewards.
    in_force: Option<Arc<Conditions>>,
    /// What the planned changes will have made.
    latest: Option<Arc<Conditions>>,
    last_version: u64,
    orders: VecDeque<Order>,
    /// Changes of an earlier run, to be made again at their steps.
    repeats: VecDeque<Entry>,
    /// The arm's supervisor and how to reach its actors, from the start of the arm.
    house: Option<(ActorCell, Slots)>,
}

/// What a [`LiveArm`] is made of.
pub(crate) struct LiveArmArgs {
    pub(crate) config: ArmConfig,
    pub(crate) seed: u64,
    pub(crate) registry: Arc<RewardRegistry>,
    /// What paths in new rewards start from.
    pub(crate) folder: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) watchers: Watchers,
    /// Whether somebody can resume it.
    pub(crate) controlled: bool,
    /// The conditions it begins under, where they are not the scenario's.
    pub(crate) resumed: Option<ConditionsRecord>,
    /// Steps taken before.
    pub(crate) step: u64,
    /// Changes of an earlier run to be made again, in their order.
    pub(crate) repeats: Vec<Entry>,
    /// Steps to be taken, in the replay of another run, whose changes belong into this one's journal too.
    pub(crate) replayed_steps: Option<u64>,
}

/// One arm, as it can be watched and changed.
pub(crate) struct LiveArm {
    pub(crate) config: ArmConfig,
    pub(crate) seed: u64,
    pub(crate) controlled: bool,
    pub(super) registry: Arc<RewardRegistry>,
    folder: PathBuf,
    pub(super) journal: Journal,
    pub(crate) watchers: Watchers,
    replayed_steps: Option<u64>,
    step: AtomicU64,
    state: Mutex<State>,
    /// Wakes a conductor that is paused.
    orders_came: Notify,
    stop: watch::Sender<bool>,
    /// Which reward an actor serves, of those that have not ended.
    pub(super) seats: Mutex<HashMap<ActorId, Weak<RewardInForce>>>,
    /// Actors so far, by the name of their reward.
    pub(super) generations: Mutex<HashMap<String, u64>>,
    last_batch: Mutex<Option<Arc<RewardBatch>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is replaced or pushed to whole, so a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveArm {
    /// An arm that has not started.
    ///
    /// # Errors
    /// One line: a reward or a formula that can't be used.
    pub(crate) fn new(args: LiveArmArgs) -> Result<Self, String> {
        let record = args.resumed.unwrap_or_else(|| ConditionsRecord::of(&args.config));
        let in_force = match args.config.method {
            Method::Grpo => Some(Arc::new(Conditions::open(&record, &args.config, &args.registry)?)),
            Method::Sft | Method::None => None,
        };
        let last_version = args
            .repeats
            .iter()
            .map(|entry| entry.version)
            .fold(record.version, |most, version| most.max(version));
        let state = State {
            phase: Phase::Waiting,
            latest: in_force.clone(),
            in_force,
            last_version,
            orders: VecDeque::new(),
            repeats: args.repeats.into(),
            house: None,
        };
        Ok(LiveArm {
            config: args.config,
            seed: args.seed,
            controlled: args.controlled,
            registry: args.registry,
            folder: args.folder,
            journal: args.journal,
            watchers: args.watchers,
            replayed_steps: args.replayed_steps,
            step: AtomicU64::new(args.step),
            state: Mutex::new(state),
            orders_came: Notify::new(),
            // What took no step then takes none now.
            stop: watch::Sender::new(args.replayed_steps == Some(0)),
            seats: Mutex::default(),
            generations: Mutex::default(),
            last_batch: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether it repeats what an arm of another run did.
    pub(crate) fn is_replay(&self) -> bool {
        self.replayed_steps.is_some()
    }

    /// The step after which it ends: its last one, or as far as the arm came that it repeats.
    pub(crate) fn last_step(&self) -> u64 {
        self.replayed_steps.map_or(self.config.steps, |steps| steps.min(self.config.steps))
    }

    pub(crate) fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// The conditions in force; `None` in arms that are not trained by rewards.
    pub(crate) fn in_force(&self) -> Option<Arc<Conditions>> {
        self.lock().in_force.clone()
    }

    pub(crate) fn view(&self) -> ArmView {
        let state = self.lock();
        let (status, reason) = match &state.phase {
            Phase::Waiting => (ArmState::Waiting, None),
            Phase::Running => (ArmState::Running, None),
            Phase::Paused(reason) => (ArmState::Paused, Some(reason.clone())),
            Phase::Ended(status) => (
                ArmState::of(status),
                match status {
                    ArmStatus::Failed { reason } => Some(reason.clone()),
                    ArmStatus::Done | ArmStatus::Stopped => None,
                },
            ),
        };
        let step = self.step();
        ArmView {
            arm: self.config.name.clone(),
            seed: self.seed,
            method: self.config.method,
            status,
            reason,
            step,
            total_steps: if self.config.method == Method::None { 0 } else { self.config.steps },
            conditions: state.in_force.as_deref().map(|found| ConditionsView::of(found, step + 1)),
        }
    }

    pub(crate) fn actors(&self) -> ActorView {
        let state = self.lock();
        let name = format!("{}/seed-{}", self.config.name, self.seed);
        let status = match state.phase {
            Phase::Running | Phase::Paused(_) => ActorState::Serving,
            Phase::Waiting | Phase::Ended(_) => ActorState::Closed,
        };
        let mut children = Vec::new();
        if let Some((_, slots)) = &state.house {
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
        ActorView::without_slot(name, status, children)
    }

    /// The arm starts: from now on rewards have actors. Returns those it begins with.
    pub(crate) fn begin(&self, supervisor: ActorCell, slots: Slots, step: u64) -> Rewards {
        self.step.store(step, Ordering::Relaxed);
        let mut state = self.lock();
        state.phase = Phase::Running;
        state.house = Some((supervisor, slots));
        state.in_force.as_ref().map(|conditions| conditions.rewards.clone()).unwrap_or_default()
    }

    /// The supervisor of the arm's actors, from its start to its end.
    pub(super) fn supervisor(&self) -> Option<ActorCell> {
        self.lock().house.as_ref().map(|(supervisor, _)| supervisor.clone())
    }

    /// The arm has ended: nothing that waits will happen.
    pub(crate) fn end(&self, status: ArmStatus, step: u64) {
        self.step.store(step, Ordering::Relaxed);
        let mut state = self.lock();
        state.phase = Phase::Ended(status);
        // Whoever waits for one of them learns that the arm has ended.
        state.orders.clear();
        *lock(&self.last_batch) = None;
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.lock().phase, Phase::Ended(_))
    }

    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.lock().phase, Phase::Waiting)
    }

    pub(crate) fn step_taken(&self, step: u64) {
        self.step.store(step, Ordering::Relaxed);
    }

    pub(crate) fn paused(&self, reason: &str) {
        self.lock().phase = Phase::Paused(reason.to_owned());
    }

    pub(crate) fn running(&self) {
        self.lock().phase = Phase::Running;
    }

    /// Keeps the newest batch, to try rewards out on.
    pub(crate) fn keep_batch(&self, batch: Arc<RewardBatch>) {
        *lock(&self.last_batch) = Some(batch);
    }

    pub(super) fn last_batch(&self) -> Option<Arc<RewardBatch>> {
        lock(&self.last_batch).clone().filter(|batch| !batch.items.is_empty())
    }

    /// Asks for something at the next boundary.
    pub(super) fn order(&self, order: Order) -> Result<(), ChangeError> {
        let mut state = self.lock();
        if let Phase::Ended(_) = state.phase {
            return Err(self.ended());
        }
        state.orders.push_back(order);
        drop(state);
        self.orders_came.notify_one();
        Ok(())
    }

    /// How many things have been asked for.
    pub(crate) fn orders_waiting(&self) -> usize {
        self.lock().orders.len()
    }

    /// The next thing asked for, for the conductor.
    pub(crate) fn next_order(&self) -> Option<Order> {
        self.lock().orders.pop_front()
    }

    /// Waits until something is asked for.
    pub(crate) async fn orders(&self) {
        self.orders_came.notified().await;
    }

    /// Turns true when the arm is to stop.
    pub(crate) fn stop_switch(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) fn ended(&self) -> ChangeError {
        ChangeError::Ended { arm: self.config.name.clone(), seed: self.seed }
    }

    /// Makes a change, waiting for the boundary at which it takes effect.
    pub(super) async fn change(&self, change: Change, by: String) -> Result<Applied, ChangeError> {
        let change = change.anchored(&self.folder);
        loop {
            let latest = self.latest()?;
            change.draft(&latest)?;
            let begun = self.has_begun();
            let made = self.make(&change).await?;
            match self.plan(&change, &by, made, begun)? {
                Plan::Again => {}
                Plan::MadeAtOnce { base, version } => {
                    return self.journal_change(&change, by, &base, version, self.step() + 1).await;
                }
                Plan::AtBoundary(applied) => return applied.await.unwrap_or_else(|_| Err(self.ended())),
            }
        }
    }

    /// Gives a change its version and its place; `begun` says whether its rewards have actors.
    fn plan(&self, change: &Change, by: &str, made: Rewards, begun: bool) -> Result<Plan, ChangeError> {
        let mut state = self.lock();
        match state.phase {
            Phase::Ended(_) => return Err(self.ended()),
            Phase::Running | Phase::Paused(_) if !begun => return Ok(Plan::Again),
            Phase::Running | Phase::Paused(_) | Phase::Waiting => {}
        }
        let Some(base) = state.latest.clone() else { return Err(self.no_rewards()) };
        let version = state.last_version + 1;
        let next = Arc::new(change.draft(&base)?.conditions(version, &base, change, &made));
        state.last_version = version;
        state.latest = Some(next.clone());
        if !begun {
            state.in_force = Some(next);
            return Ok(Plan::MadeAtOnce { base, version });
        }
        let (done, applied) = oneshot::channel();
        let (change, by) = (change.clone(), by.to_owned());
        state.orders.push_back(Order::Change(Box::new(Planned {
            change,
            by,
            made,
            version,
            base,
            next,
            done,
        })));
        drop(state);
        self.orders_came.notify_one();
        Ok(Plan::AtBoundary(applied))
    }

    /// Looks whether a change could be made, without making it.
    pub(super) fn check(&self, change: &Change) -> Result<(), ChangeError> {
        let latest = self.latest()?;
        change.draft(&latest)?;
        for (name, spec) in &change.clone().anchored(&self.folder).rewards {
            if let Some(spec) = spec {
                self.unseated(name, spec)?;
            }
        }
        Ok(())
    }

    /// What the arm works under once all planned changes are made.
    fn latest(&self) -> Result<Arc<Conditions>, ChangeError> {
        let state = self.lock();
        if let Phase::Ended(_) = state.phase {
            return Err(self.ended());
        }
        state.latest.clone().ok_or_else(|| self.no_rewards())
    }

    fn no_rewards(&self) -> ChangeError {
        ChangeError::NoRewards { arm: self.config.name.clone() }
    }

    /// Puts a planned change in force from step `next` on.
    ///
    /// # Errors
    /// It could not be written down; then the arm can't go on.
    pub(crate) async fn put_in_force(&self, planned: Planned, next: u64) -> Result<(), String> {
        let Planned { change, by, made, version, base, next: prepared, done } = planned;
        let Some(now) = self.in_force() else { return Ok(()) };
        let conditions = if Arc::ptr_eq(&base, &now) {
            prepared
        } else {
            // Something else came in between, a change of the run that this one repeats.
            match change.draft(&now) {
                Ok(draft) => Arc::new(draft.conditions(version, &now, &change, &made)),
                Err(error) => {
                    self.take(now);
                    // Whoever asked may have gone.
                    let _ = done.send(Err(error));
                    return Ok(());
                }
            }
        };
        let written = self.journal_change(&change, by, &now, version, next).await;
        if written.is_ok() {
            self.take(conditions);
        }
        let failed = written.as_ref().err().map(ToString::to_string);
        let _ = done.send(written);
        failed.map_or(Ok(()), Err)
    }

    /// The conditions of the steps to come. Those before are let go by the last step that works under them.
    fn take(&self, conditions: Arc<Conditions>) {
        let mut state = self.lock();
        if !state.orders.iter().any(|order| matches!(order, Order::Change(_))) {
            state.latest = Some(conditions.clone());
        }
        state.in_force = Some(conditions);
    }

    /// Makes those changes of an earlier run again that took effect at step `next`.
    ///
    /// # Errors
    /// One line: one of them can't be made any more.
    pub(crate) async fn repeat_changes(&self, next: u64) -> Result<(), String> {
        loop {
            let entry = {
                let mut state = self.lock();
                if state.repeats.front().is_none_or(|entry| entry.step > next) {
                    return Ok(());
                }
                state.repeats.pop_front()
            };
            let Some(Entry { change: Some(change), version, .. }) = entry else { continue };
            let cannot = |error: ChangeError| {
                format!("the change that made version {version} at step {next} can't be made again: {error}")
            };
            let made = self.make(&change).await.map_err(cannot)?;
            let Some(now) = self.in_force() else { return Ok(()) };
            let conditions = change.draft(&now).map_err(cannot)?.conditions(version, &now, &change, &made);
            if self.is_replay() {
                let by = "replay".to_owned();
                self.journal_change(&change, by, &now, version, next).await.map_err(cannot)?;
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
    ) -> Result<Applied, ChangeError> {
        let entry = Entry {
            change: Some(change.clone()),
            from: Some(change.undone(before)),
            version,
            step,
            ..self.entry(Action::Change, by)
        };
        self.journal.append(entry).await.map_err(ChangeError::Failed)?;
        Ok(Applied { version, step })
    }

    fn entry(&self, action: Action, by: String) -> Entry {
        Entry {
            time: now(),
            by,
            arm: self.config.name.clone(),
            seed: self.seed,
            action,
            change: None,
            from: None,
            note: None,
            version: self.in_force().map_or(0, |conditions| conditions.version),
            step: self.step(),
        }
    }

    /// Writes down what was done besides changes.
    pub(crate) async fn journal(
        &self,
        action: Action,
        by: String,
        note: Option<String>,
    ) -> Result<(), String> {
        let entry = Entry { note, ..self.entry(action, by) };
        self.journal.append(entry).await
    }
}

impl Change {
    /// What stood where this change writes.
    fn undone(&self, before: &Conditions) -> Value {
        let mut undone = Map::new();
        if !self.weights.is_empty() {
            let old = |name: &String| (name.clone(), json!(before.weights.get(name)));
            undone.insert("weights".into(), Value::Object(self.weights.keys().map(old).collect()));
        }
        if self.formula.is_some() {
            undone.insert("formula".into(), json!(before.formula.text()));
        }
        if !self.rewards.is_empty() {
            let old =
                |name: &String| (name.clone(), json!(before.rewards.get(name).map(|reward| reward.spec())));
            undone.insert("rewards".into(), Value::Object(self.rewards.keys().map(old).collect()));
        }
        Value::Object(undone)
    }
}
