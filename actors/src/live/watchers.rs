//! Who hears what happens in a run: the one who started it, and whoever subscribes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, mpsc};

use crate::event::RunEvent;

/// Events kept for a subscriber that is slow; beyond them it loses the oldest, and is told so.
const BACKLOG: usize = 4096;

/// A handle to all who listen; clones are handles to the same.
#[derive(Clone)]
pub struct Watchers {
    starter: Arc<Mutex<Option<mpsc::UnboundedSender<RunEvent>>>>,
    subscribers: broadcast::Sender<Arc<RunEvent>>,
}

impl Watchers {
    /// With the one who started the run.
    pub fn new(starter: mpsc::UnboundedSender<RunEvent>) -> Self {
        Watchers {
            starter: Arc::new(Mutex::new(Some(starter))),
            subscribers: broadcast::Sender::new(BACKLOG),
        }
    }

    /// Tells them all; nobody has to listen.
    pub fn tell(&self, event: RunEvent) {
        if self.subscribers.receiver_count() > 0 {
            let _ = self.subscribers.send(Arc::new(event.clone()));
        }
        if let Some(starter) = &*self.starter.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = starter.send(event);
        }
    }

    /// Hears everything from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<RunEvent>> {
        self.subscribers.subscribe()
    }

    /// Lets the starter go, who waits for the last event.
    pub fn close(&self) {
        *self.starter.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
