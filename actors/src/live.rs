//! A run while it goes on: what can be seen of it, and what can be changed.
//!
//! [`RunHandle`] and [`ArmHandle`] are for whoever stands outside: the control channel, a test, a program that embeds
//! the engine. What they ask for is carried out by the arm's conductor between two steps.
//!
//! - `SWAP-1` a swap takes effect at a step boundary and loses and doubles nothing; a reward that does not stand its
//!   trial leaves the one before in place.
//! - `LIVE-1` every change is a new version of the [`Conditions`], every shaped reward carries the version that made
//!   it, and `control.jsonl` says who made it, when, from what, and from which step on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{broadcast, oneshot};

mod arm;
mod change;
mod conditions;
pub(crate) mod entry;
mod journal;
mod seat;
mod view;
mod watchers;

pub(crate) use arm::{LiveArm, LiveArmArgs, Order};
pub use change::{Applied, Change, ChangeError};
pub use conditions::{Conditions, ConditionsRecord, RewardInForce, Rewards};
pub use entry::{Action, Entry};
pub use journal::{JOURNAL, read_journal};
pub(crate) use journal::{Journal, now};
pub(crate) use seat::Failed;
pub use view::{ActorState, ActorView, ArmState, ArmView, ConditionsView, RewardView};
pub use watchers::Watchers;

use crate::event::RunEvent;
use crate::recorder::RecorderMsg;
use crate::slot::Slot;

pub(crate) struct RunShared {
    pub(crate) run_dir: PathBuf,
    pub(crate) name: String,
    pub(crate) started: String,
    pub(crate) parallel_arms: usize,
    pub(crate) arms: Vec<Arc<LiveArm>>,
    pub(crate) journal: Journal,
    pub(crate) recorder: Slot<RecorderMsg>,
    pub(crate) watchers: Watchers,
    pub(crate) ended: AtomicBool,
}

/// A run, as it can be watched and changed; clones are handles to the same one.
#[derive(Clone)]
pub struct RunHandle(pub(crate) Arc<RunShared>);

impl RunHandle {
    /// Where it is written.
    pub fn run_dir(&self) -> &Path {
        &self.0.run_dir
    }

    /// The scenario's name for it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// When it began, RFC 3339.
    pub fn started(&self) -> &str {
        &self.0.started
    }

    /// How many arms run side by side.
    pub fn parallel_arms(&self) -> usize {
        self.0.parallel_arms
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// The run has ended: whoever hears its events hears the end of them.
    pub(crate) fn close(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
        self.0.watchers.close();
    }

    /// All arms under all seeds, those that wait and those that have ended included, in the order in which they run.
    pub fn arms(&self) -> Vec<ArmHandle> {
        self.0.arms.iter().cloned().map(ArmHandle).collect()
    }

    /// One arm under one seed.
    pub fn arm(&self, name: &str, seed: u64) -> Option<ArmHandle> {
        let found = self.0.arms.iter().find(|arm| arm.config.name == name && arm.seed == seed);
        found.cloned().map(ArmHandle)
    }

    /// Hears everything that happens from now on. A subscriber that is slow loses the oldest events, and is told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<RunEvent>> {
        self.0.watchers.subscribe()
    }

    /// All that was done so far, oldest first; of a resumed run, from its very beginning.
    pub fn journal(&self) -> Vec<Arc<Entry>> {
        self.0.journal.entries()
    }

    /// The actor that writes all files of the run.
    pub fn recorder(&self) -> ActorView {
        ActorView::of(&self.0.recorder)
    }
}

/// One arm under one seed, as it can be watched and changed; clones are handles to the same one.
///
/// What is asked for takes effect between two steps. `by` says who asks, for the journal.
#[derive(Clone)]
pub struct ArmHandle(pub(crate) Arc<LiveArm>);

impl ArmHandle {
    /// Its name.
    pub fn arm(&self) -> &str {
        &self.0.config.name
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// How it is doing.
    pub fn view(&self) -> ArmView {
        self.0.view()
    }

    /// What rewards its completions; `None` in arms that are not trained by rewards.
    pub fn conditions(&self) -> Option<Arc<Conditions>> {
        self.0.in_force()
    }

    /// Its actors, as a tree.
    pub fn actors(&self) -> ActorView {
        self.0.actors()
    }

    /// Changes what rewards its completions. New rewards are built, tried out and started beside the running step;
    /// then all of the change takes effect at a step boundary, which this waits for. While the arm is paused it does
    /// so at once, and in an arm that waits for its turn too.
    ///
    /// # Errors
    /// [`ChangeError`]; then nothing was changed.
    pub async fn change(&self, change: Change, by: &str) -> Result<Applied, ChangeError> {
        let (live, by) = (self.0.clone(), by.to_owned());
        // A task of its own: a caller who goes away must not leave a change half made.
        let changing = tokio::spawn(async move { live.change(change, by).await });
        changing.await.unwrap_or_else(|error| Err(ChangeError::Failed(error.to_string())))
    }

    /// Looks whether a change could be made of what there is, without making it or any reward.
    ///
    /// # Errors
    /// [`ChangeError`], as of the change itself.
    pub fn check(&self, change: &Change) -> Result<(), ChangeError> {
        self.0.check(change)
    }

    /// Takes no further step after the one in hand, until it is resumed.
    ///
    /// # Errors
    /// The arm has ended.
    pub fn pause(&self, by: &str, reason: Option<&str>) -> Result<(), ChangeError> {
        let reason = reason.map_or_else(|| format!("paused by {by}"), str::to_owned);
        self.0.order(Order::Pause { by: by.to_owned(), reason })
    }

    /// Goes on. What is out of service after too many failures is given another chance.
    ///
    /// # Errors
    /// The arm has ended.
    pub fn resume(&self, by: &str) -> Result<(), ChangeError> {
        self.0.order(Order::Resume { by: by.to_owned() })
    }

    /// Takes `steps` steps, then pauses.
    ///
    /// # Errors
    /// The arm has ended.
    pub fn step(&self, steps: u64, by: &str) -> Result<(), ChangeError> {
        self.0.order(Order::Step { steps: steps.max(1), by: by.to_owned() })
    }

    /// Writes a checkpoint after the step in hand; returns its folder.
    ///
    /// # Errors
    /// One line: the arm does not run, or the checkpoint could not be written.
    pub async fn checkpoint(&self, by: &str) -> Result<PathBuf, String> {
        if !self.0.has_begun() {
            return Err(format!("arm `{}` (seed {}) has not started", self.arm(), self.seed()));
        }
        let (done, written) = oneshot::channel();
        let order = Order::Checkpoint { by: by.to_owned(), done };
        self.0.order(order).map_err(|error| error.to_string())?;
        let ended = || format!("arm `{}` (seed {}) ended before that", self.arm(), self.seed());
        written.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Ends it, with a checkpoint; one that waits for its turn is not started.
    ///
    /// # Errors
    /// The arm has ended, or the journal can't be written.
    pub async fn stop(&self, by: &str) -> Result<(), ChangeError> {
        if self.0.has_ended() {
            return Err(self.0.ended());
        }
        let written = self.0.journal(Action::Stop, by.to_owned(), None).await;
        self.0.stop();
        written.map_err(ChangeError::Failed)
    }
}
