//! Sends the events of a run to every client that subscribed to them.
//!
//! An event is serialized once and handed to every stream. A stream that falls behind loses the oldest events and gets
//! a `lagged` event with their number; no sender ever waits for it.

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

/// Events a stream may lag behind before it loses the oldest.
const BACKLOG: usize = 1024;

/// How often a comment is sent on a stream without events, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event, ready to be sent.
#[derive(Clone, Debug)]
struct Published {
    id: u64,
    event: &'static str,
    data: Arc<str>,
    /// The stream ends after it.
    last: bool,
}

/// The streams of events, and the way to publish on all of them.
pub(super) struct EventHub {
    sender: broadcast::Sender<Published>,
    last_id: AtomicU64,
    streams: Arc<Semaphore>,
}

impl Default for EventHub {
    fn default() -> Self {
        EventHub {
            sender: broadcast::Sender::new(BACKLOG),
            last_id: AtomicU64::new(0),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

impl EventHub {
    pub fn has_subscribers(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub fn publish(&self, event: &'static str, data: &impl Serialize) {
        self.send(event, data, false);
    }

    /// Publishes the end of the run, and with it ends every stream.
    pub fn end(&self) {
        self.send("end", &serde_json::json!({ "run": { "status": "ended" } }), true);
    }

    fn send(&self, event: &'static str, data: &impl Serialize, last: bool) {
        if !self.has_subscribers() {
            return;
        }
        let data = serde_json::to_string(data).expect("events have string keys and no failing serializer");
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        // Fails only if the last subscriber has just left.
        let _ = self.sender.send(Published { id, event, data: data.into(), last });
    }

    /// A stream of the events from now on; `None` if 64 streams are open already.
    pub fn stream(&self) -> Option<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
        let permit = self.streams.clone().try_acquire_owned().ok()?;
        let subscriber = Subscriber { receiver: self.sender.subscribe(), ended: false, _permit: permit };
        let events = stream::unfold(subscriber, |mut subscriber| async {
            let event = subscriber.next().await?;
            Some((Ok(event), subscriber))
        });
        Some(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
    }
}

struct Subscriber {
    receiver: broadcast::Receiver<Published>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Subscriber {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        match self.receiver.recv().await {
            Ok(published) => {
                self.ended = published.last;
                let event = Event::default().id(published.id.to_string()).event(published.event);
                Some(event.data(&published.data))
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

    async fn first(hub: &EventHub, publish: impl FnOnce(&EventHub)) -> String {
        let body = hub.stream().unwrap().into_response().into_body();
        publish(hub);
        let chunk = body.into_data_stream().next().await.unwrap().unwrap();
        String::from_utf8(chunk.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_subscriber_receives_the_events_from_then_on() {
        let hub = EventHub::default();
        hub.publish("step", &json!({"before": "any subscription"}));
        let received = first(&hub, |hub| hub.publish("step", &json!({"arm": "a", "seed": 7}))).await;
        assert_eq!(received, "id: 1\nevent: step\ndata: {\"arm\":\"a\",\"seed\":7}\n\n");
    }

    #[tokio::test]
    async fn a_subscriber_that_lags_is_told_how_many_events_it_missed() {
        let hub = EventHub::default();
        let publish = |hub: &EventHub| (0..BACKLOG + 3).for_each(|step| hub.publish("step", &step));
        assert_eq!(first(&hub, publish).await, "event: lagged\ndata: {\"missed\":3}\n\n");
    }

    #[tokio::test]
    async fn streams_are_bounded_and_a_closed_one_makes_room() {
        let hub = EventHub::default();
        let mut streams: Vec<_> = (0..STREAMS).map(|_| hub.stream().unwrap()).collect();
        assert!(hub.stream().is_none());
        streams.pop();
        assert!(hub.stream().is_some());
    }
}
