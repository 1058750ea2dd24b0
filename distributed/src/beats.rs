//! Signs of life: each rank counts up a key of the store, and looks at the keys of those it depends on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::c10d::Store;
use crate::error::RankError;

/// Time between two signs of life.
const BEAT: Duration = Duration::from_millis(500);

/// Longest wait before a rank looks whether the others live.
pub(crate) const POLL: Duration = Duration::from_millis(200);

/// Key under which a rank says why it ended the group.
pub(crate) const ENDED: &str = "ended";

fn key(rank: usize) -> String {
    format!("beat/{rank}")
}

/// The key that a rank sets once it knows that the group has ended.
pub(crate) fn heard(rank: usize) -> String {
    format!("heard/{rank}")
}

/// What is called, once, when a follower has lost rank 0 while its own thread is at work.
pub type Watch = Box<dyn FnOnce(RankError) + Send>;

/// The threads that give this rank's signs of life. They end after this value is dropped.
pub(crate) struct Beats {
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    watch: Mutex<Option<Watch>>,
    /// When the store last answered.
    answered: Mutex<Instant>,
}

impl Shared {
    fn lose(&self, error: RankError) {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(on_lost) = watch {
            on_lost(error);
        }
    }
}

impl Beats {
    /// Begins to give signs of life through a connection of its own, since another one may be waiting for a key.
    pub(crate) fn start(store: Arc<Mutex<Store>>, rank: usize, timeout: Duration) -> Beats {
        let (watch, answered) = (Mutex::new(None), Mutex::new(Instant::now()));
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), watch, answered });
        let (beating, watching) = (shared.clone(), shared.clone());
        // Without these threads the others find this rank silent, which ends the group.
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let _ = thread("signs-of-life").spawn(move || beat(&beating, &store, rank, timeout));
        if rank != 0 {
            let _ = thread("rank-0-lives").spawn(move || watch_answers(&watching, timeout));
        }
        Beats { shared }
    }

    /// Has `on_lost` called when rank 0 is gone, silent, or has ended the group.
    pub(crate) fn watch(&self, on_lost: Option<Watch>) {
        *self.shared.watch.lock().unwrap_or_else(PoisonError::into_inner) = on_lost;
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        // Not joined: a store that is stopped may keep the thread waiting.
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Gives signs of life, and as a follower looks for those of rank 0.
fn beat(shared: &Shared, store: &Mutex<Store>, rank: usize, timeout: Duration) {
    let mut lives = Lives::new(timeout);
    let mut count = 0u64;
    while !shared.stop.load(Ordering::Relaxed) {
        count += 1;
        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
        let beaten = store
            .set(&key(rank), &count.to_le_bytes())
            .map_err(|problem| RankError::Lost { what: "giving signs of life", problem: problem.0 });
        let looked = beaten.and_then(|()| if rank == 0 { Ok(()) } else { look(&store, &mut lives) });
        if let Err(error) = looked {
            let _ = store.set(&heard(rank), b"");
            drop(store);
            return shared.lose(error);
        }
        drop(store);
        *shared.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        std::thread::sleep(BEAT);
    }
}

/// Notices a store that neither answers nor breaks the connection, as that of a process that is stopped.
fn watch_answers(shared: &Shared, timeout: Duration) {
    while !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(BEAT);
        let answered = *shared.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.elapsed() > timeout + 4 * BEAT {
            return shared.lose(RankError::Silent { rank: 0, seconds: timeout.as_secs() });
        }
    }
}

/// Ends the group from any thread, also while another one waits for the ranks. Clones end the same group.
#[derive(Clone)]
pub struct Ender(pub(crate) Arc<Mutex<Store>>);

impl Ender {
    /// Has every rank end with this reason. That none is left to hear it is not an error.
    pub fn end(&self, reason: &str) {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The first reason is the one that led to the others.
        if !matches!(store.get(ENDED), Ok(Some(_))) {
            let _ = store.set(ENDED, reason.as_bytes());
        }
    }

    /// Has nobody wait until this rank knows of the end, since it is gone.
    pub fn gone(&self, rank: usize) {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = store.set(&heard(rank), b"");
    }
}

#[cfg(test)]
impl Ender {
    /// Why the group has ended, if it has.
    pub(crate) fn reason(&self) -> Option<String> {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended(&store).err().map(|error| error.to_string())
    }
}

/// What a follower looks at while it computes.
fn look(store: &Store, lives: &mut Lives) -> Result<(), RankError> {
    ended(store)?;
    lives.look(store, 0)
}

/// Fails with the reason if a rank has ended the group.
pub(crate) fn ended(store: &Store) -> Result<(), RankError> {
    match store.get(ENDED) {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(RankError::Ended(String::from_utf8_lossy(&reason).into_owned())),
        Err(problem) => Err(RankError::Lost { what: "waiting for each other", problem: problem.0 }),
    }
}

/// When other ranks last gave a sign of life.
pub(crate) struct Lives {
    timeout: Duration,
    seen: Vec<(Option<Vec<u8>>, Instant)>,
}

impl Lives {
    /// Nobody was looked at yet.
    pub(crate) fn new(timeout: Duration) -> Lives {
        Lives { timeout, seen: Vec::new() }
    }

    /// Fails if this rank was silent since the first look, and for longer than the time-out.
    pub(crate) fn look(&mut self, store: &Store, rank: usize) -> Result<(), RankError> {
        let lost = |problem: crate::error::Problem| RankError::Lost {
            what: "looking for signs of life",
            problem: problem.0,
        };
        let beat = store.get(&key(rank)).map_err(lost)?;
        let now = Instant::now();
        while self.seen.len() <= rank {
            self.seen.push((None, now));
        }
        let (last, at) = &mut self.seen[rank];
        if beat != *last {
            (*last, *at) = (beat, now);
        }
        if now.duration_since(*at) <= self.timeout {
            return Ok(());
        }
        Err(RankError::Silent { rank, seconds: self.timeout.as_secs_f64().ceil() as u64 })
    }
}
