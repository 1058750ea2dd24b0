//! A stable name in front of an actor that may die and be replaced.
//!
//! Callers know the slot, never the actor. The supervisor installs a new generation after a failure; a request
//! that never began, or whose actor died over it, goes to the next generation. So a panic costs the request in
//! hand one more attempt, and nothing else (RESTART-1). Mailboxes of ractor are unbounded: each request carries a
//! permit of the slot, so that no more than `capacity` are in flight.
//!
//! - `SLOT-1` a call ends: with an answer, a time-out, or the reason for which the slot was closed.
//! - `SLOT-2` a request is answered at most once per attempt, and is tried again only after the actor that had it died.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ractor::{ActorRef, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// Why a call to a slot brought no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// No answer within the time allowed.
    #[error(
        "`{slot}` gave no answer within {seconds} s; raise supervision.call_timeout_seconds if it only needs longer"
    )]
    TimedOut {
        /// The slot.
        slot: String,
        /// The time allowed.
        seconds: u64,
    },
    /// The slot's restart budget is spent, or the arm is ending.
    #[error("{reason}")]
    Closed {
        /// What its supervisor said.
        reason: String,
    },
}

/// A request on its way to whichever actor serves the slot.
pub struct Request<Q, A> {
    query: Q,
    reply: Reply<A>,
}

impl<Q, A> Request<Q, A> {
    /// Takes the request up. `None` if nobody waits for the answer any more.
    pub fn begin(self) -> Option<(Q, Reply<A>)> {
        if self.reply.sender.is_closed() {
            return None;
        }
        Some((self.query, self.reply))
    }
}

/// Where the answer goes; dropped unanswered, it tells the caller that the actor died.
pub struct Reply<A> {
    sender: oneshot::Sender<A>,
    _permit: OwnedSemaphorePermit,
}

impl<A> Reply<A> {
    /// Answers. A caller that has gone is no fault of the actor's, so nothing is returned.
    pub fn send(self, answer: A) {
        let _ = self.sender.send(answer);
    }

    /// Waits until nobody waits for the answer any more.
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

/// What can be seen of a slot from outside.
#[derive(Clone, Debug, Default)]
pub struct Face {
    /// Whether an actor serves it.
    pub serving: bool,
    /// Why it is out of service for good.
    pub closed: Option<String>,
    /// The number of its actor, counted from 1.
    pub generation: u64,
    /// Actors that failed in it.
    pub restarts: u64,
    /// What the last failure said, of an actor or of a call.
    pub last_failure: Option<String>,
    /// Calls that ended.
    pub calls: u64,
    /// Those that brought no answer, or an answer that says that there is none.
    pub failures: u64,
    /// Answers that say that there is none, by their cause.
    pub causes: BTreeMap<String, u64>,
    /// Mean time of a call, in milliseconds, in which the newer ones count more.
    pub latency_ms: Option<f64>,
}

/// What a new call counts in the mean time of calls.
const NEWEST_CALL: f64 = 0.1;

/// The slot. Clones are handles to the same one.
pub struct Slot<M> {
    name: Arc<str>,
    face: Arc<Mutex<Face>>,
    /// The number rises with every change of occupant.
    occupant: Arc<watch::Sender<(u64, Occupant<M>)>>,
    permits: Arc<Semaphore>,
    capacity: usize,
    timeout: Duration,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Slot {
            name: self.name.clone(),
            face: self.face.clone(),
            occupant: self.occupant.clone(),
            permits: self.permits.clone(),
            capacity: self.capacity,
            timeout: self.timeout,
        }
    }
}

impl<M: Message> Slot<M> {
    /// An empty slot; calls wait until somebody is installed.
    pub fn new(name: &str, capacity: usize, timeout: Duration) -> Self {
        Slot {
            name: name.into(),
            face: Arc::default(),
            occupant: Arc::new(watch::Sender::new((0, Occupant::Vacant))),
            permits: Arc::new(Semaphore::new(capacity)),
            capacity,
            timeout,
        }
    }

    /// The stable name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Requests in flight and the most there may be.
    pub fn load(&self) -> (usize, usize) {
        (self.capacity - self.permits.available_permits(), self.capacity)
    }

    /// Puts `actor` in charge, as the one after the last.
    pub fn install(&self, actor: ActorRef<M>) {
        let generation = self.lock().generation + 1;
        self.install_as(actor, generation);
    }

    /// Puts `actor` in charge, as number `generation`.
    pub fn install_as(&self, actor: ActorRef<M>, generation: u64) {
        self.replace(Occupant::Serving(actor));
        let mut face = self.lock();
        (face.serving, face.closed, face.generation) = (true, None, generation);
    }

    /// The actor has failed: calls wait until another is installed.
    pub fn bereave(&self, error: &str) {
        self.replace(Occupant::Vacant);
        let mut face = self.lock();
        (face.serving, face.last_failure) = (false, Some(error.to_owned()));
        face.restarts += 1;
    }

    /// Ends the slot: calls in flight and to come are answered with `reason`.
    pub fn close(&self, reason: &str) {
        self.replace(Occupant::Closed(reason.to_owned()));
        let mut face = self.lock();
        (face.serving, face.closed) = (false, Some(reason.to_owned()));
    }

    /// Whether it has been ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.occupant.borrow().1, Occupant::Closed(_))
    }

    /// What can be seen of it.
    pub fn face(&self) -> Face {
        self.lock().clone()
    }

    /// Counts an answer that says that there is none; returns how many of this cause that makes.
    pub fn count_failure(&self, cause: &str, reason: &str) -> u64 {
        let mut face = self.lock();
        face.failures += 1;
        face.last_failure = Some(reason.to_owned());
        let times = face.causes.entry(cause.to_owned()).or_default();
        *times += 1;
        *times
    }

    fn lock(&self) -> MutexGuard<'_, Face> {
        // Plain numbers and texts, so a panic elsewhere leaves a usable one.
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, occupant: Occupant<M>) {
        self.occupant.send_modify(|current| *current = (current.0 + 1, occupant));
    }

    /// Sends `query` to the slot's actor and waits for the answer.
    ///
    /// # Errors
    /// [`CallError`], see `SLOT-1`.
    pub async fn call<Q, A>(&self, query: Q, wrap: fn(Request<Q, A>) -> M) -> Result<A, CallError>
    where
        Q: Clone + Send + 'static,
        A: Send + 'static,
    {
        let started = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.attempts(query, wrap)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(CallError::TimedOut { slot: self.name.to_string(), seconds: self.timeout.as_secs() })
        });
        self.count(started.elapsed(), answer.as_ref().err());
        answer
    }

    fn count(&self, took: Duration, error: Option<&CallError>) {
        let milliseconds = took.as_secs_f64() * 1e3;
        let mut face = self.lock();
        face.calls += 1;
        face.latency_ms = Some(match face.latency_ms {
            Some(mean) => mean + NEWEST_CALL * (milliseconds - mean),
            None => milliseconds,
        });
        if let Some(error) = error {
            face.failures += 1;
            face.last_failure = Some(error.to_string());
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
            let request = Request { query: query.clone(), reply: Reply { sender, _permit: permit } };
            if actor.send_message(wrap(request)).is_err() {
                continue;
            }
            match answer.await {
                Ok(answer) => return Ok(answer),
                Err(_) => tracing::warn!(
                    slot = %self.name, generation, "the actor died over a request; trying the next generation"
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
                Err(CallError::Closed { reason: format!("`{}` has gone", self.name) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ractor::{Actor, ActorProcessingErr};

    /// Doubles numbers; dies over 13 as often as it was told to.
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
    async fn a_request_whose_actor_dies_is_answered_by_the_next_generation() {
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
