//! The servers of a judge: which one is asked next, and which are left alone for a while.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rewards::FailureCause;
use tokio::time::Instant;

/// Longest time for which a server that fails is left alone.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// One server.
pub struct Server {
    /// Its address, up to `/v1`.
    pub url: String,
    in_flight: AtomicUsize,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    /// Failures since the last success.
    failures: u32,
    /// Others are asked instead until then.
    resting_until: Option<Instant>,
    /// Nobody asks it until then: it said so.
    closed_until: Option<Instant>,
}

impl Server {
    /// Counts a request until it is dropped.
    pub fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it may be asked: at once, or not before.
    fn open_at(&self, now: Instant) -> Instant {
        self.health().closed_until.map_or(now, |until| until.max(now))
    }

    fn is_well(&self, now: Instant) -> bool {
        let health = self.health();
        ![health.resting_until, health.closed_until].into_iter().flatten().any(|until| until > now)
    }
}

/// A request to a server.
pub struct InFlight<'a>(&'a Server);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All of them.
pub struct Servers {
    all: Vec<Arc<Server>>,
    turn: AtomicU64,
}

impl Servers {
    /// The servers at these addresses, all well.
    pub fn new(urls: &[String]) -> Self {
        let server = |url: &String| {
            let url = url.trim_end_matches('/').to_owned();
            Arc::new(Server { url, in_flight: AtomicUsize::new(0), health: Mutex::default() })
        };
        Self { all: urls.iter().map(server).collect(), turn: AtomicU64::new(0) }
    }

    /// In the order of the scenario.
    pub fn all(&self) -> &[Arc<Server>] {
        &self.all
    }

    /// The server to ask next: one that is well, the least busy; waits if all have closed.
    pub async fn choose(&self) -> Arc<Server> {
        loop {
            let now = Instant::now();
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
            let order = |(place, server): &(usize, &Arc<Server>)| {
                // Resting servers only when all rest; then the one that has rested longest.
                let resting = server.health().resting_until.filter(|until| *until > now);
                let busy = server.in_flight.load(Ordering::Relaxed);
                (server.open_at(now), resting, busy, (place + turn) % self.all.len())
            };
            let Some((_, server)) = self.all.iter().enumerate().min_by_key(order) else {
                unreachable!("a judge without a server is no valid scenario");
            };
            let open_at = server.open_at(now);
            if open_at <= now {
                return server.clone();
            }
            tokio::time::sleep_until(open_at).await;
        }
    }

    /// Whether a server other than this one is well.
    pub fn another_is_well(&self, than: &Arc<Server>) -> bool {
        let now = Instant::now();
        self.all.iter().any(|server| !Arc::ptr_eq(server, than) && server.is_well(now))
    }

    /// It answered.
    pub fn went_well(&self, server: &Server) {
        let mut health = server.health();
        if health.resting_until.is_some() {
            tracing::info!("the judge's server {} answers again", server.url);
        }
        *health = Health::default();
    }

    /// It did not: it rests, longer each time; after 429 it is left alone until the time it said.
    pub fn went_wrong(&self, server: &Server, cause: FailureCause, retry_after: Option<Duration>) {
        let now = Instant::now();
        let mut health = server.health();
        if let Some(wait) = retry_after {
            health.closed_until = Some(now + wait.min(LONGEST_REST));
        }
        // Too busy is not ill.
        if cause == FailureCause::Http429 {
            return;
        }
        // Those that were under way together fail together, which is one failure.
        if health.resting_until.is_none_or(|until| until <= now) {
            health.failures += 1;
            let rest = Duration::from_secs(1) * 2_u32.pow((health.failures - 1).min(6));
            health.resting_until = Some(now + rest.min(LONGEST_REST));
            if self.all.len() > 1 {
                tracing::warn!(
                    "the judge's server {} fails ({cause}); it is left alone for {} s",
                    server.url,
                    rest.min(LONGEST_REST).as_secs()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Servers {
        Servers::new(&["http://a/v1/".to_owned(), "http://b/v1".to_owned()])
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_rests_and_comes_back() {
        let servers = servers();
        let a = servers.all()[0].clone();
        assert_eq!(a.url, "http://a/v1");
        servers.went_wrong(&a, FailureCause::Connection, None);
        for _ in 0..4 {
            assert_eq!(servers.choose().await.url, "http://b/v1");
        }
        assert!(servers.another_is_well(&a) && !servers.another_is_well(&servers.all()[1]));
        tokio::time::advance(Duration::from_millis(1_001)).await;
        let mut chosen = vec![servers.choose().await.url.clone(), servers.choose().await.url.clone()];
        chosen.sort();
        assert_eq!(chosen, ["http://a/v1", "http://b/v1"]);
        // The second time it rests for 2 s; failures of requests under way together count once.
        servers.went_wrong(&a, FailureCause::Timeout, None);
        servers.went_wrong(&a, FailureCause::Timeout, None);
        tokio::time::advance(Duration::from_millis(1_999)).await;
        assert_eq!(servers.choose().await.url, "http://b/v1");
        servers.went_well(&a);
        assert!(servers.another_is_well(&servers.all()[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_when_to_come_again_is_not_asked_before() {
        let one = Servers::new(&["http://a/v1".to_owned()]);
        one.went_wrong(&one.all()[0], FailureCause::Http429, Some(Duration::from_secs(7)));
        let began = Instant::now();
        one.choose().await;
        assert_eq!(began.elapsed(), Duration::from_secs(7));
        // A failing server that is the only one is asked all the same.
        one.went_wrong(&one.all()[0], FailureCause::Http5xx, None);
        one.choose().await;
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test]
    async fn the_least_busy_server_is_asked() {
        let servers = servers();
        let _busy = servers.all()[1].in_flight();
        assert_eq!(servers.choose().await.url, "http://a/v1");
        assert_eq!(servers.choose().await.url, "http://a/v1");
    }
}
