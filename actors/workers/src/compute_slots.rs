//! How many samplers and optimizers compute at the same time, over all arms of a run.
//!
//! Forks are trained beside the arms that they were copied from, so more arms may be alive than there are cores. If all of
//! them computed at once, each would hold its activations and its cache of keys and values, and none would be done sooner.
//! So each waits for a slot before a request, in the order in which they came.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The slots in which the model actors of a run compute. Clones refer to the same slots.
#[derive(Clone)]
pub struct ComputeSlots(Arc<Semaphore>);

impl ComputeSlots {
    /// This many slots, or as many as are asked for if `None`.
    pub fn new(slots: Option<usize>) -> Self {
        ComputeSlots(Arc::new(Semaphore::new(slots.unwrap_or(Semaphore::MAX_PERMITS))))
    }

    /// Waits for a slot, and keeps it until the permit is dropped. Never `None`, since the slots are never closed.
    pub async fn take(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
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
    }
}
