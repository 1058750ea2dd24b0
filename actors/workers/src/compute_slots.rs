//! How many samplers and optimizers compute at the same time, over all arms of a run.
//!
//! Forks are trained beside the arms that they were copied from, so more arms may be alive than there are cores. If all of
//! them computed at once, each would hold its activations and its cache of keys and values, and none would be done sooner.
//! So each waits for a slot before a request, in the order in which they came.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// The slots in which the model actors of a run compute. Clones refer to the same slots.
#[derive(Clone)]
pub struct ComputeSlots(Arc<Slots>);

struct Slots {
    free: Semaphore,
    /// Those that wait for one.
    waiting: AtomicUsize,
}

/// One that waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ComputeSlots {
    /// This many slots, or as many as are asked for if `None`.
    pub fn new(slots: Option<usize>) -> Self {
        let free = Semaphore::new(slots.unwrap_or(Semaphore::MAX_PERMITS));
        ComputeSlots(Arc::new(Slots { free, waiting: AtomicUsize::new(0) }))
    }

    /// Waits for a slot, and keeps it until the permit is dropped. Never `None`, since the slots are never closed.
    pub async fn take(&self) -> Option<SemaphorePermit<'_>> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.0.waiting);
        self.0.free.acquire().await.ok()
    }

    /// Whether somebody waits for a slot, who is then the next to need memory.
    pub(crate) fn are_awaited(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_compute_at_once_than_there_are_slots_and_all_get_their_turn() {
        let slots = ComputeSlots::new(Some(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let workers = (0..8).map(|_| {
            let (slots, now, most) = (slots.clone(), now.clone(), most.clone());
            tokio::spawn(async move {
                let _slot = slots.take().await;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
        assert_eq!((most.load(Ordering::SeqCst), now.load(Ordering::SeqCst)), (2, 0));
        assert!(!slots.are_awaited());
    }

    #[tokio::test]
    async fn slots_are_awaited_while_somebody_waits_and_not_after_it_gave_up() {
        let slots = ComputeSlots::new(Some(1));
        let first = slots.take().await;
        assert!(!slots.are_awaited());
        let (second, own) = (slots.clone(), slots.clone());
        let second = tokio::spawn(async move { second.take().await.is_some() });
        let third = tokio::spawn(async move { own.take().await.is_some() });
        tokio::task::yield_now().await;
        assert!(slots.are_awaited());
        third.abort();
        drop(first);
        assert!(second.await.unwrap() && third.await.is_err());
        assert!(!slots.are_awaited());
    }
}
