//! The stable address of an actor that may fail and be replaced.
//!
//! Callers hold the slot, never the actor. After a failure the supervisor installs the next generation of the actor,
//! and a request that was not started, or whose actor failed while it worked on it, is sent to that generation. A panic
//! therefore costs the request one more attempt and nothing else (RESTART-1). Ractor's mailboxes are unbounded, so each
//! request carries a permit of the slot, and no more than `capacity` requests are in flight.
//!
//! - `SLOT-1` every call returns: with an answer, a time-out, or the reason for which the slot was closed.
//! - `SLOT-2` a request is answered at most once per attempt, and is sent again only after its actor has failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ractor::{ActorRef, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// Why a call to a slot returned no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The actor did not answer in time.
    #[error(
        "`{slot}` gave no answer within {seconds} s; raise supervision.call_timeout_seconds if it only needs longer"
    )]
    TimedOut {
        /// The stable name of the actor, such as `reward/think`.
        slot: String,
        /// The time limit of the call, in seconds.
        seconds: u64,
    },
    /// The actor's restart budget is spent, or the arm is ending.
    #[error("{reason}")]
    Closed {
        /// The reason that the supervisor gave when it closed the slot.
        reason: String,
    },
}

/// A request to the actor that serves the slot at the moment.
pub struct Request<Q, A> {
    query: Q,
    reply: Reply<A>,
}

impl<Q, A> Request<Q, A> {
    /// Starts the request; `None` if the caller no longer waits for the answer.
    pub fn begin(mut self) -> Option<(Q, Reply<A>)> {
        if self.reply.sender.is_closed() {
            return None;
        }
        // What is left of the caller's span is the time that the request waited.
        self.reply.span = self.reply.span.in_scope(|| traces::span!("work"));
        Some((self.query, self.reply))
    }
}

/// Returns the answer to the caller. If it is dropped without an answer, the caller tries the next generation.
pub struct Reply<A> {
    sender: oneshot::Sender<A>,
    span: Span,
    _permit: OwnedSemaphorePermit,
}

impl<A> Reply<A> {
    /// The span of the actor's work on the request, below that of the call.
    pub fn work(&self) -> Span {
        self.span.clone()
    }

    /// Answers. That the caller no longer waits is not an error of the actor's.
    pub fn send(self, answer: A) {
        let _ = self.sender.send(answer);
    }

    /// Completes when the caller no longer waits for the answer.
    pub async fn abandoned(&mut self) {
        self.sender.closed().await;
    }
}

enum Occupant<M> {
    Vacant,
    Serving(ActorRef<M>),
    Closed(String),
}

impl<M> Clone for Occupant<M> {
    fn clone(&self) -> Self {
        match self {
            Occupant::Vacant => Occupant::Vacant,
            Occupant::Serving(actor) => Occupant::Serving(actor.clone()),
            Occupant::Closed(reason) => Occupant::Closed(reason.clone()),
        }
    }
}

/// How a slot is doing, for the control channel.
#[derive(Clone, Debug, Default)]
pub struct SlotStatus {
    /// Whether an actor is installed and has not failed.
    pub serving: bool,
    /// Why it was closed.
    pub closed: Option<String>,
    /// Number of its present actor, from 1.
    pub generation: u64,
    /// Times its actor failed.
    pub restarts: u64,
    /// The message of the last failure of an actor or a call.
    pub last_failure: Option<String>,
    /// Calls that have returned.
    pub calls: u64,
    /// Calls that returned no answer, plus failures reported with [`Slot::count_failure`].
    pub failures: u64,
    /// Failures reported with [`Slot::count_failure`], by cause.
    pub causes: BTreeMap<String, u64>,
    /// Exponential moving average of the time of a call, in milliseconds.
    pub latency_ms: Option<f64>,
}

/// Weight of the newest call in the moving average.
const NEWEST_CALL: f64 = 0.1;

/// The address. Clones refer to the same slot.
pub struct Slot<M> {
    name: Arc<str>,
    status: Arc<Mutex<SlotStatus>>,
    /// The number counts changes of occupant.
    occupant: Arc<watch::Sender<(u64, Occupant<M>)>>,
    permits: Arc<Semaphore>,
    capacity: usize,
    timeout: Duration,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Slot {
            name: self.name.clone(),
            status: self.status.clone(),
            occupant: self.occupant.clone(),
            permits: self.permits.clone(),
            capacity: self.capacity,
            timeout: self.timeout,
        }
    }
}

impl<M: Message> Slot<M> {
    /// A slot without an actor: calls wait until one is installed. At most `capacity` calls are in flight, each for
    /// no longer than `timeout`.
    pub fn new(name: &str, capacity: usize, timeout: Duration) -> Self {
        Slot {
            name: name.into(),
            status: Arc::default(),
            occupant: Arc::new(watch::Sender::new((0, Occupant::Vacant))),
            permits: Arc::new(Semaphore::new(capacity)),
            capacity,
            timeout,
        }
    }

    /// The name that stays the same over all generations, such as `reward/think`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Requests in flight, and the capacity.
    pub fn load(&self) -> (usize, usize) {
        (self.capacity - self.permits.available_permits(), self.capacity)
    }

    /// Installs `actor` as the next generation.
    pub fn install(&self, actor: ActorRef<M>) {
        let generation = self.lock().generation + 1;
        self.install_as(actor, generation);
    }

    /// Installs `actor` as generation number `generation`.
    pub fn install_as(&self, actor: ActorRef<M>, generation: u64) {
        self.replace(Occupant::Serving(actor));
        let mut status = self.lock();
        (status.serving, status.closed, status.generation) = (true, None, generation);
    }

    /// Records that the actor failed; calls wait until the next generation is installed.
    pub fn mark_failed(&self, error: &str) {
        self.replace(Occupant::Vacant);
        let mut status = self.lock();
        (status.serving, status.last_failure) = (false, Some(error.to_owned()));
        status.restarts += 1;
    }

    /// Closes the slot: present and future calls return [`CallError::Closed`] with `reason`.
    pub fn close(&self, reason: &str) {
        self.replace(Occupant::Closed(reason.to_owned()));
        let mut status = self.lock();
        (status.serving, status.closed) = (false, Some(reason.to_owned()));
    }

    /// Whether [`Slot::close`] was called and no actor was installed since.
    pub fn is_closed(&self) -> bool {
        matches!(self.occupant.borrow().1, Occupant::Closed(_))
    }

    /// A snapshot of how it is doing.
    pub fn status(&self) -> SlotStatus {
        self.lock().clone()
    }

    /// Counts an answer that reports a failure; returns how many of this cause there are now.
    pub fn count_failure(&self, cause: &str, reason: &str) -> u64 {
        let mut status = self.lock();
        status.failures += 1;
        status.last_failure = Some(reason.to_owned());
        let times = status.causes.entry(cause.to_owned()).or_default();
        *times += 1;
        *times
    }

    fn lock(&self) -> MutexGuard<'_, SlotStatus> {
        // Plain numbers and texts: a panic elsewhere leaves them usable.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, occupant: Occupant<M>) {
        self.occupant.send_modify(|current| *current = (current.0 + 1, occupant));
    }

    /// Sends `query` to the slot's actor and waits for the answer.
    ///
    /// Errors: [`CallError`], see `SLOT-1`.
    pub async fn call<Q, A>(&self, query: Q, wrap: fn(Request<Q, A>) -> M) -> Result<A, CallError>
    where
        Q: Clone + Send + 'static,
        A: Send + 'static,
    {
        let started = Instant::now();
        let span = traces::span!("call", otel.name = %self.name, otel.status_code = Empty, otel.status_description = Empty);
        let attempts = self.attempts(query, wrap).instrument(span.clone());
        let answer = tokio::time::timeout(self.timeout, attempts).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(CallError::TimedOut { slot: self.name.to_string(), seconds: self.timeout.as_secs() })
        });
        if let Err(error) = &answer {
            span.record("otel.status_code", "ERROR").record("otel.status_description", error.to_string());
        }
        self.count(started.elapsed(), answer.as_ref().err());
        answer
    }

    fn count(&self, took: Duration, error: Option<&CallError>) {
        let milliseconds = took.as_secs_f64() * 1e3;
        let mut status = self.lock();
        status.calls += 1;
        status.latency_ms = Some(match status.latency_ms {
            Some(mean) => mean + NEWEST_CALL * (milliseconds - mean),
            None => milliseconds,
        });
        if let Some(error) = error {
            status.failures += 1;
            status.last_failure = Some(error.to_string());
        }
    }

    async fn attempts<Q, A>(&self, query: Q, wrap: fn(Request<Q, A>) -> M) -> Result<A, CallError>
    where
        Q: Clone + Send + 'static,
        A: Send + 'static,
    {
        let mut news = self.occupant.subscribe();
        let mut tried = 0;
        loop {
            let (generation, actor) = self.serving_after(tried, &mut news).await?;
            tried = generation;
            let Ok(permit) = self.permits.clone().acquire_owned().await else {
                unreachable!("the slot never closes its semaphore");
            };
            let (sender, answer) = oneshot::channel();
            let request = Request {
                query: query.clone(),
                reply: Reply { sender, span: Span::current(), _permit: permit },
            };
            if actor.send_message(wrap(request)).is_err() {
                continue;
            }
            match answer.await {
                Ok(answer) => return Ok(answer),
                Err(_) => tracing::warn!(
                    slot = %self.name, generation, "the actor failed during a request; waiting for the next generation"
                ),
            }
        }
    }

    /// Waits for an occupant newer than generation `tried`.
    async fn serving_after(
        &self,
        tried: u64,
        news: &mut watch::Receiver<(u64, Occupant<M>)>,
    ) -> Result<(u64, ActorRef<M>), CallError> {
        let found = news
            .wait_for(|(generation, occupant)| match occupant {
                Occupant::Vacant => false,
                Occupant::Serving(_) => *generation > tried,
                Occupant::Closed(_) => true,
            })
            .await;
        match found.map(|current| current.clone()) {
            Ok((generation, Occupant::Serving(actor))) => Ok((generation, actor)),
            Ok((_, Occupant::Closed(reason))) => Err(CallError::Closed { reason }),
            Ok((_, Occupant::Vacant)) | Err(_) => {
                Err(CallError::Closed { reason: format!("`{}` no longer exists", self.name) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ractor::{Actor, ActorProcessingErr};

    /// Doubles numbers; fails on 13 as often as its arguments say.
    struct Doubler;

    enum DoublerMsg {
        Double(Request<u32, u32>),
    }

    impl Actor for Doubler {
        type Msg = DoublerMsg;
        type State = u32;
        type Arguments = u32;

        async fn pre_start(&self, _: ActorRef<DoublerMsg>, deaths: u32) -> Result<u32, ActorProcessingErr> {
            Ok(deaths)
        }

        async fn handle(
            &self,
            _: ActorRef<DoublerMsg>,
            message: DoublerMsg,
            deaths: &mut u32,
        ) -> Result<(), ActorProcessingErr> {
            let DoublerMsg::Double(request) = message;
            if let Some((number, reply)) = request.begin() {
                if number == 13 && *deaths > 0 {
                    return Err("died over 13".into());
                }
                reply.send(2 * number);
            }
            Ok(())
        }
    }

    async fn doubler(deaths: u32) -> ActorRef<DoublerMsg> {
        Actor::spawn(None, Doubler, deaths).await.unwrap().0
    }

    #[tokio::test]
    async fn a_request_whose_actor_fails_is_answered_by_the_next_generation() {
        let slot = Slot::new("doubler", 4, Duration::from_secs(5));
        slot.install(doubler(1).await);
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.call(13, DoublerMsg::Double).await }
        });
        // Whichever comes first, the death or the new generation, the call must end in an answer.
        slot.install(doubler(0).await);
        assert_eq!(waiting.await.unwrap().unwrap(), 26);
        assert_eq!(slot.load(), (0, 4));
    }

    #[tokio::test]
    async fn closing_ends_a_waiting_call_with_the_reason() {
        let slot: Slot<DoublerMsg> = Slot::new("doubler", 1, Duration::from_secs(5));
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.call(1, DoublerMsg::Double).await }
        });
        slot.close("budget spent");
        assert_eq!(waiting.await.unwrap().unwrap_err().to_string(), "budget spent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_vacant_slot_times_out() {
        let slot: Slot<DoublerMsg> = Slot::new("doubler", 1, Duration::from_secs(7));
        let error = slot.call(1, DoublerMsg::Double).await.unwrap_err().to_string();
        assert!(error.starts_with("`doubler` gave no answer within 7 s"), "{error}");
    }
}
