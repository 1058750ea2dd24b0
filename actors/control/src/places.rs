//! The places for connections, and who has to go when there are too many.
//!
//! A connection is a stranger's until one of its requests has carried the token. When all places for strangers are taken,
//! the stranger who came first is disconnected, so that idle connections can't keep the owner out: a new connection is
//! always accepted, and its first request with the token gives it a place that no stranger can take away.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places for strangers, and as many for connections that have had the token.
pub(super) const PLACES: usize = 256;

/// The places of a server.
#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    next: u64,
    /// By the order in which they came; dropping the sender disconnects one.
    strangers: BTreeMap<u64, oneshot::Sender<()>>,
    owners: HashSet<u64>,
}

/// Ends when a connection has to go.
pub(super) struct Eviction(oneshot::Receiver<()>);

impl Eviction {
    pub async fn wait(self) {
        // Nothing is ever sent for an eviction, the sender is dropped. A value says that it will not happen any more.
        if self.0.await.is_ok() {
            std::future::pending::<()>().await;
        }
    }
}

/// One connection, which keeps its place until this is dropped.
pub(super) struct Visitor {
    places: Arc<Places>,
    number: u64,
    /// The address of the client.
    pub client: IpAddr,
}

impl Places {
    /// Gives a place to a new connection, if need be that of the stranger who came first.
    pub fn enter(self: &Arc<Self>, client: IpAddr) -> (Visitor, Eviction) {
        let (stay, evicted) = oneshot::channel();
        let mut taken = self.taken();
        if taken.strangers.len() >= PLACES {
            taken.strangers.pop_first();
        }
        let number = taken.next;
        taken.next += 1;
        taken.strangers.insert(number, stay);
        (Visitor { places: self.clone(), number, client }, Eviction(evicted))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visitor {
    /// Notes that a request of this connection carried the token. False if all places for such connections are taken.
    pub fn has_token(&self) -> bool {
        let mut taken = self.places.taken();
        if taken.owners.contains(&self.number) {
            return true;
        }
        if taken.owners.len() >= PLACES {
            return false;
        }
        let Some(stay) = taken.strangers.remove(&self.number) else { return false };
        // Fails only if the connection has closed.
        let _ = stay.send(());
        taken.owners.insert(self.number)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.strangers.remove(&self.number);
        taken.owners.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn the_stranger_who_came_first_makes_room_and_an_owner_stays() {
        let places = Arc::new(Places::default());
        let (owner, stays) = places.enter(CLIENT);
        assert!(owner.has_token() && owner.has_token());
        let mut strangers: Vec<_> = (0..PLACES).map(|_| places.enter(CLIENT)).collect();
        let (late, waits) = places.enter(CLIENT);
        let evicted: Vec<usize> = (0..PLACES)
            .filter(|&at| (&mut strangers[at].1.0).now_or_never().is_some_and(|sent| sent.is_err()))
            .collect();
        assert_eq!(evicted, [0]);
        assert!(!strangers[0].0.has_token(), "its connection is closed already");
        assert!(late.has_token());
        assert_eq!((stays.wait().now_or_never(), waits.wait().now_or_never()), (None, None));
    }

    #[tokio::test]
    async fn owners_are_bounded_too_and_one_that_leaves_makes_room() {
        let places = Arc::new(Places::default());
        let mut owners: Vec<Visitor> = (0..PLACES).map(|_| places.enter(CLIENT).0).collect();
        assert!(owners.iter().all(Visitor::has_token));
        let (late, _eviction) = places.enter(CLIENT);
        assert!(!late.has_token());
        owners.pop();
        assert!(late.has_token());
    }
}
