//! Delivers the events of a run to the caller that started it and to any number of subscribers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, mpsc};

use crate::event::RunEvent;

/// Events buffered for a slow subscriber. Beyond that it loses the oldest and receives `RecvError::Lagged`.
const BACKLOG: usize = 4096;

/// The receivers of a run's events. Clones refer to the same receivers.
#[derive(Clone)]
pub struct Watchers {
    starter: Arc<Mutex<Option<mpsc::UnboundedSender<RunEvent>>>>,
    subscribers: broadcast::Sender<Arc<RunEvent>>,
}

impl Watchers {
    /// Watchers with one receiver, that of the caller that started the run. It loses no event.
    pub fn new(starter: mpsc::UnboundedSender<RunEvent>) -> Self {
        Watchers {
            starter: Arc::new(Mutex::new(Some(starter))),
            subscribers: broadcast::Sender::new(BACKLOG),
        }
    }

    /// Sends an event to all receivers; it is not an error if there is none.
    pub fn tell(&self, event: RunEvent) {
        if self.subscribers.receiver_count() > 0 {
            let _ = self.subscribers.send(Arc::new(event.clone()));
        }
        if let Some(starter) = &*self.starter.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = starter.send(event);
        }
    }

    /// A receiver of all events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<RunEvent>> {
        self.subscribers.subscribe()
    }

    /// Ends the event stream of the caller that started the run.
    pub fn close(&self) {
        *self.starter.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
