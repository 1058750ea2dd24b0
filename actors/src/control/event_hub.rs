//! What happens, as it happens, to everyone who listens.
//!
//! Events are written as JSON once and handed to every stream. A stream that does not keep up loses the oldest and
//! is told so; nobody waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most streams at once.
const STREAMS: usize = 64;

/// Events a stream may lag behind before it loses some.
const BACKLOG: usize = 1024;

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event, ready to be sent.
#[derive(Clone, Debug)]
struct Happening {
    id: u64,
    event: &'static str,
    data: Arc<str>,
    /// Nothing comes after it.
    last: bool,
}

/// Where events come together and go out from.
pub(super) struct Hub {
    sender: broadcast::Sender<Happening>,
    last_id: AtomicU64,
    streams: Arc<Semaphore>,
}

impl Default for Hub {
    fn default() -> Self {
        Hub {
            sender: broadcast::Sender::new(BACKLOG),
            last_id: AtomicU64::new(0),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

impl Hub {
    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells everyone who listens.
    pub fn tell(&self, event: &'static str, data: &impl Serialize) {
        self.send(event, data, false);
    }

    /// Tells everyone who listens that the run has ended, and ends the streams.
    pub fn end(&self) {
        self.send("end", &serde_json::json!({ "run": { "status": "ended" } }), true);
    }

    fn send(&self, event: &'static str, data: &impl Serialize, last: bool) {
        if !self.is_heard() {
            return;
        }
        let data = serde_json::to_string(data).expect("events have string keys and no failing serializer");
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        // Whoever listened may just have gone.
        let _ = self.sender.send(Happening { id, event, data: data.into(), last });
    }

    /// A stream of what happens from now on; `None` if there are as many as there may be.
    pub fn stream(&self) -> Option<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
        let permit = self.streams.clone().try_acquire_owned().ok()?;
        let listener = Listener { receiver: self.sender.subscribe(), ended: false, _permit: permit };
        let events = stream::unfold(listener, |mut listener| async {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        });
        Some(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
    }
}

struct Listener {
    receiver: broadcast::Receiver<Happening>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        match self.receiver.recv().await {
            Ok(happening) => {
                self.ended = happening.last;
                Some(
                    Event::default()
                        .id(happening.id.to_string())
                        .event(happening.event)
                        .data(&happening.data),
                )
            }
            Err(RecvError::Lagged(missed)) => {
                Some(Event::default().event("lagged").data(format!("{{\"missed\":{missed}}}")))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures_util::StreamExt;
    use serde_json::json;

    use super::*;

    async fn first(hub: &Hub, tell: impl FnOnce(&Hub)) -> String {
        let body = hub.stream().unwrap().into_response().into_body();
        tell(hub);
        let chunk = body.into_data_stream().next().await.unwrap().unwrap();
        String::from_utf8(chunk.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn who_listens_hears_what_happens() {
        let hub = Hub::default();
        hub.tell("step", &json!({"before": "anybody listened"}));
        let heard = first(&hub, |hub| hub.tell("step", &json!({"arm": "a", "seed": 7}))).await;
        assert_eq!(heard, "id: 1\nevent: step\ndata: {\"arm\":\"a\",\"seed\":7}\n\n");
    }

    #[tokio::test]
    async fn who_lags_behind_is_told_how_much_was_missed() {
        let hub = Hub::default();
        let heard = first(&hub, |hub| (0..BACKLOG + 3).for_each(|step| hub.tell("step", &step))).await;
        assert_eq!(heard, "event: lagged\ndata: {\"missed\":3}\n\n");
    }

    #[tokio::test]
    async fn streams_are_bounded_and_come_free_again() {
        let hub = Hub::default();
        let mut streams: Vec<_> = (0..STREAMS).map(|_| hub.stream().unwrap()).collect();
        assert!(hub.stream().is_none());
        streams.pop();
        assert!(hub.stream().is_some());
    }
}
