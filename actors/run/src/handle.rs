//! Handles to a run and its arms, for the control channel, tests and programs that embed the engine.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use audio::Ears;
use records::{Action, Applied, ArmId, Change, ConditionsRecord, JournalEntry, RunDir};
use runtime::{RunEvent, Slot};
use tokio::sync::{broadcast, oneshot};
use workers::RecorderMsg;

use crate::alarms::AlarmView;
use crate::live::{ActorView, ArmView, Bookmarks, ChangeError, Conditions, LiveArm, Order, Requires};
use crate::opening::Opening;

pub(crate) struct RunShared {
    pub(crate) run_dir: RunDir,
    pub(crate) name: String,
    pub(crate) started: String,
    pub(crate) parallel_arms: usize,
    /// All arms so far; forks are added.
    pub(crate) arms: RwLock<Vec<Arc<LiveArm>>>,
    pub(crate) opening: Opening,
    pub(crate) recorder: Slot<RecorderMsg>,
    pub(crate) bookmarks: Bookmarks,
    pub(crate) ended: AtomicBool,
}

impl RunShared {
    pub(crate) fn arms(&self) -> Vec<Arc<LiveArm>> {
        self.arms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_arm(&self, arm: Arc<LiveArm>) {
        self.arms.write().unwrap_or_else(PoisonError::into_inner).push(arm);
    }
}

/// A run, to watch it and to reach its arms. Clones refer to the same run.
#[derive(Clone)]
pub struct RunHandle(pub(crate) Arc<RunShared>);

impl RunHandle {
    /// Where the run is recorded.
    pub fn run_dir(&self) -> &RunDir {
        &self.0.run_dir
    }

    /// `run.name` of the scenario.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// When it started, RFC 3339.
    pub fn started(&self) -> &str {
        &self.0.started
    }

    /// How many arms train at the same time.
    pub fn parallel_arms(&self) -> usize {
        self.0.parallel_arms
    }

    /// Whether all of its arms have ended and its records are complete.
    pub fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Marks the run as ended and closes the event stream of the caller that started it.
    pub(crate) fn close(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
        self.0.opening.watchers.close();
    }

    /// All arms under all seeds in the order in which they run, planned and ended ones included; a fork from when its parent
    /// has come to the step where it begins.
    pub fn arms(&self) -> Vec<ArmHandle> {
        self.0.arms().into_iter().map(ArmHandle).collect()
    }

    /// One arm under one seed.
    pub fn arm(&self, id: &ArmId) -> Option<ArmHandle> {
        self.0.arms().into_iter().find(|arm| arm.id == *id).map(ArmHandle)
    }

    /// A receiver of all events from now on. A slow receiver loses the oldest events and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<RunEvent>> {
        self.0.opening.watchers.subscribe()
    }

    /// All changes and commands so far, oldest first, including those from before a resume.
    pub fn journal(&self) -> Vec<Arc<JournalEntry>> {
        self.0.opening.journal.entries()
    }

    /// Places of the run that somebody marked.
    pub fn bookmarks(&self) -> &Bookmarks {
        &self.0.bookmarks
    }

    /// The actor that writes the records of all arms.
    pub fn recorder(&self) -> ActorView {
        ActorView::of(&self.0.recorder)
    }
}

/// One arm under one seed, to watch it and to change it. Clones refer to the same arm.
///
/// What is asked for takes effect between two steps. `by` names the caller in the journal.
#[derive(Clone)]
pub struct ArmHandle(pub(crate) Arc<LiveArm>);

impl ArmHandle {
    /// The arm's name and seed.
    pub fn id(&self) -> &ArmId {
        &self.0.id
    }

    /// Its state and its conditions.
    pub fn view(&self) -> ArmView {
        self.0.view()
    }

    /// The conditions in force; `None` in arms that are not trained by rewards.
    pub fn conditions(&self) -> Option<Arc<Conditions>> {
        self.0.in_force()
    }

    /// Of a fork: the arm that was copied, and the steps that it had taken.
    pub fn parent(&self) -> Option<(ArmId, u64)> {
        let fork = self.0.config.fork.as_ref()?;
        Some((ArmId::new(fork.arm.clone(), self.0.id.seed), fork.step))
    }

    /// Its alarms, with when they went off and why; none before its first step.
    pub fn alarms(&self) -> Vec<AlarmView> {
        self.0.alarms()
    }

    /// How its policy hears clips; `None` until the policy is open.
    pub fn ears(&self) -> Option<&Ears> {
        self.0.ears.get()
    }

    /// Its actors, as a tree.
    pub fn actors(&self) -> ActorView {
        self.0.actors()
    }

    /// Changes the conditions. New rewards are built, tried and started while the present step runs; then the
    /// whole change takes effect at a step boundary, for which this waits. In a paused or a planned arm it
    /// takes effect at once.
    ///
    /// Errors: [`ChangeError`]; then nothing was changed.
    pub async fn change(&self, change: Change, by: &str) -> Result<Applied, ChangeError> {
        self.change_if(change, by, Requires::default()).await
    }

    /// As [`ArmHandle::change`], if what the change requires still holds when it gets its version.
    ///
    /// Errors: [`ChangeError`]; then nothing was changed.
    pub async fn change_if(
        &self,
        change: Change,
        by: &str,
        requires: Requires,
    ) -> Result<Applied, ChangeError> {
        let (live, by) = (self.0.clone(), by.to_owned());
        // A task of its own, so that a caller that is cancelled does not leave the change half made.
        let changing = tokio::spawn(async move { live.change(change, by, requires).await });
        changing.await.unwrap_or_else(|error| Err(ChangeError::Panicked(error.to_string())))
    }

    /// Checks a change against the conditions after all changes that wait, without building a reward.
    ///
    /// Errors: [`ChangeError`], as for the change itself.
    pub fn check(&self, change: &Change) -> Result<(), ChangeError> {
        self.check_if(change, &Requires::default())
    }

    /// As [`ArmHandle::check`], together with what the change requires.
    ///
    /// Errors: [`ChangeError`], as for the change itself.
    pub fn check_if(&self, change: &Change, requires: &Requires) -> Result<(), ChangeError> {
        self.0.check(change, requires)
    }

    /// The conditions after all changes that wait, from which the next change is made.
    ///
    /// Errors: [`ChangeError`]: the arm has ended, or is not trained by rewards.
    pub fn latest(&self) -> Result<ConditionsRecord, ChangeError> {
        self.0.latest()
    }

    /// Takes no further step after the present one, until [`ArmHandle::resume`].
    ///
    /// Errors: [`ChangeError::Ended`].
    pub fn pause(&self, by: &str, reason: Option<&str>) -> Result<(), ChangeError> {
        let reason = reason.map_or_else(|| format!("paused by {by}"), str::to_owned);
        self.0.order(Order::Pause { by: by.to_owned(), reason, alarm: None })
    }

    /// Trains again. Actors whose restart budget was spent are started again.
    ///
    /// Errors: [`ChangeError::Ended`].
    pub fn resume(&self, by: &str) -> Result<(), ChangeError> {
        self.0.order(Order::Resume { by: by.to_owned() })
    }

    /// Takes `steps` steps, then pauses.
    ///
    /// Errors: [`ChangeError::Ended`].
    pub fn step(&self, steps: u64, by: &str) -> Result<(), ChangeError> {
        self.0.order(Order::Step { steps: steps.max(1), by: by.to_owned() })
    }

    /// Writes a checkpoint after the present step; returns its folder.
    ///
    /// Errors: [`ChangeError`]: the arm has not started or has ended, or the checkpoint could not be written.
    pub async fn checkpoint(&self, by: &str) -> Result<PathBuf, ChangeError> {
        let ArmId { arm, seed } = self.id();
        if !self.0.has_started() {
            return Err(ChangeError::NoCheckpoint(format!("arm `{arm}` (seed {seed}) has not started")));
        }
        let (done, written) = oneshot::channel();
        self.0.order(Order::Checkpoint { by: by.to_owned(), done })?;
        let ended = || ChangeError::NoCheckpoint(format!("arm `{arm}` (seed {seed}) ended before that"));
        written.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Ends the arm after a checkpoint. A planned arm is not started.
    ///
    /// Errors: [`ChangeError`]: the arm has ended, or the journal can't be written.
    pub async fn stop(&self, by: &str) -> Result<(), ChangeError> {
        if self.0.has_ended() {
            return Err(self.0.ended_error());
        }
        let written = self.0.journal(Action::Stop, by.to_owned(), None).await;
        self.0.stop();
        Ok(written?)
    }
}
