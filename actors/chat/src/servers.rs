//! The servers of a client: selects the server of each request, and avoids those that fail or are busy.
//!
//! A server that fails is not used for 1 s, then 2 s, … up to a minute, as long as another server is healthy. A server
//! that sends `Retry-After`, usually with 429, is not used before that time, even if it is the only one. Servers have
//! asked for an hour and for a date in 2099, so the settings bound it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rewards::FailureCause;
use tokio::time::Instant;

use crate::settings::Names;

/// Longest time for which a server is not used.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A server and its health.
pub struct Server {
    /// The address up to and including `/v1`, without a slash at the end.
    pub url: String,
    in_flight: AtomicUsize,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    /// Number of back-offs since the last success.
    failures: u32,
    /// Healthy servers are preferred until then.
    backing_off_until: Option<Instant>,
    /// No request is sent until then, as the server asked by `Retry-After`.
    busy_until: Option<Instant>,
}

impl Server {
    /// Counts a request as in flight until the guard is dropped.
    pub fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The earliest time at which a request may be sent: `now`, or later if the server is busy.
    fn available_at(&self, now: Instant) -> Instant {
        self.health().busy_until.map_or(now, |until| until.max(now))
    }

    fn is_healthy(&self, now: Instant) -> bool {
        let health = self.health();
        ![health.backing_off_until, health.busy_until].into_iter().flatten().any(|until| until > now)
    }
}

/// Counts one request as in flight; see [`Server::in_flight`].
pub struct InFlight<'a>(&'a Server);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All servers of a client.
pub struct Servers {
    all: Vec<Arc<Server>>,
    /// Number of choices made, which breaks ties between equally busy servers in turn.
    turn: AtomicU64,
    /// Longest time for which a server is not used because it asked for it.
    longest_wait: Duration,
    names: Names,
}

impl Servers {
    pub fn new(urls: &[String], longest_wait: Duration, names: Names) -> Self {
        let server = |url: &String| {
            let url = url.trim_end_matches('/').to_owned();
            Arc::new(Server { url, in_flight: AtomicUsize::new(0), health: Mutex::default() })
        };
        Self { all: urls.iter().map(server).collect(), turn: AtomicU64::new(0), longest_wait, names }
    }

    /// All servers, in the order of the settings.
    pub fn all(&self) -> &[Arc<Server>] {
        &self.all
    }

    /// Selects the server of the next request: the healthy one with the fewest requests in flight. Waits if all servers
    /// are unavailable because of `Retry-After`.
    pub async fn choose(&self) -> Arc<Server> {
        loop {
            let now = Instant::now();
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
            let order = |(place, server): &(usize, &Arc<Server>)| {
                // Servers that back off are used only if all do; then the one whose back-off ends first.
                let back_off = server.health().backing_off_until.filter(|until| *until > now);
                let busy = server.in_flight.load(Ordering::Relaxed);
                (server.available_at(now), back_off, busy, (place + turn) % self.all.len())
            };
            let Some((_, server)) = self.all.iter().enumerate().min_by_key(order) else {
                unreachable!("a client has a server");
            };
            let available_at = server.available_at(now);
            if available_at <= now {
                return server.clone();
            }
            tokio::time::sleep_until(available_at).await;
        }
    }

    /// Whether a server other than `than` is healthy, so that a retry need not wait.
    pub fn another_is_healthy(&self, than: &Arc<Server>) -> bool {
        let now = Instant::now();
        self.all.iter().any(|server| !Arc::ptr_eq(server, than) && server.is_healthy(now))
    }

    /// Records that the server answered, which ends its back-off.
    pub fn mark_ok(&self, server: &Server) {
        let mut health = server.health();
        if health.backing_off_until.is_some() {
            tracing::info!("{} server {} answers again", self.names.whose, server.url);
        }
        *health = Health::default();
    }

    /// Records a failed request, and returns for how long the server asks to be left alone, within the bound. The server
    /// backs off, longer each time; after 429 it only waits for `retry_after`.
    pub fn mark_failed(
        &self,
        server: &Server,
        cause: FailureCause,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let now = Instant::now();
        let mut health = server.health();
        let wait = retry_after.map(|asked| asked.min(self.longest_wait));
        if let (Some(asked), Some(wait)) = (retry_after, wait) {
            // Of requests that are turned away together, one is logged.
            if health.busy_until.is_none_or(|until| until <= now) {
                log_wait(server, asked, wait, self.names);
            }
            health.busy_until = Some(now + wait);
        }
        // A busy server is healthy.
        if cause == FailureCause::Http429 {
            return wait;
        }
        // Requests that were in flight together fail together, which counts as one failure.
        if health.backing_off_until.is_none_or(|until| until <= now) {
            health.failures += 1;
            let back_off = Duration::from_secs(1) * 2_u32.pow((health.failures - 1).min(6));
            health.backing_off_until = Some(now + back_off.min(MAX_BACKOFF));
            if self.all.len() > 1 {
                tracing::warn!(
                    "{} server {} failed ({cause}) and is not used for {} s",
                    self.names.whose,
                    server.url,
                    back_off.min(MAX_BACKOFF).as_secs()
                );
            }
        }
        wait
    }
}

/// Logs that a server asks not to be used for some time, as a warning if it asks for longer than it gets.
fn log_wait(server: &Server, asked: Duration, wait: Duration, names: Names) {
    let (url, asked_for, wait_for) = (&server.url, asked.as_secs_f64(), wait.as_secs_f64());
    let whose = names.whose;
    if asked > wait {
        let see = if names.max_retry_after.is_empty() {
            String::new()
        } else {
            format!(", see {}", names.max_retry_after)
        };
        tracing::warn!(
            "{whose} server {url} asks to be asked again after {asked_for:.0} s (Retry-After); it is after \
             {wait_for:.0} s{see}"
        );
    } else {
        tracing::info!("{whose} server {url} asks to be asked again after {wait_for:.1} s (Retry-After)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn servers() -> Servers {
        Servers::new(&["http://a/v1/".to_owned(), "http://b/v1".to_owned()], MINUTE, Names::OPTIONS)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_backs_off_and_is_used_again() {
        let servers = servers();
        let a = servers.all()[0].clone();
        assert_eq!(a.url, "http://a/v1");
        servers.mark_failed(&a, FailureCause::Connection, None);
        for _ in 0..4 {
            assert_eq!(servers.choose().await.url, "http://b/v1");
        }
        assert!(servers.another_is_healthy(&a) && !servers.another_is_healthy(&servers.all()[1]));
        tokio::time::advance(Duration::from_millis(1_001)).await;
        let mut chosen = vec![servers.choose().await.url.clone(), servers.choose().await.url.clone()];
        chosen.sort();
        assert_eq!(chosen, ["http://a/v1", "http://b/v1"]);
        // The second back-off takes 2 s; failures of requests in flight together count once.
        servers.mark_failed(&a, FailureCause::Timeout, None);
        servers.mark_failed(&a, FailureCause::Timeout, None);
        tokio::time::advance(Duration::from_millis(1_999)).await;
        assert_eq!(servers.choose().await.url, "http://b/v1");
        servers.mark_ok(&a);
        assert!(servers.another_is_healthy(&servers.all()[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_not_used_before_its_retry_after_time() {
        let one = Servers::new(&["http://a/v1".to_owned()], MINUTE, Names::OPTIONS);
        one.mark_failed(&one.all()[0], FailureCause::Http429, Some(Duration::from_secs(7)));
        let began = Instant::now();
        one.choose().await;
        assert_eq!(began.elapsed(), Duration::from_secs(7));
        // If the only server fails, it is used nevertheless.
        one.mark_failed(&one.all()[0], FailureCause::Http5xx, None);
        one.choose().await;
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn no_server_is_waited_for_longer_than_the_bound() {
        for asked in [Duration::from_secs(3_600), Duration::MAX] {
            let one = Servers::new(&["http://a/v1".to_owned()], Duration::from_secs(5), Names::OPTIONS);
            let wait = one.mark_failed(&one.all()[0], FailureCause::Http429, Some(asked));
            assert_eq!(wait, Some(Duration::from_secs(5)));
            let began = Instant::now();
            one.choose().await;
            assert_eq!(began.elapsed(), Duration::from_secs(5));
        }
        let never = Servers::new(&["http://a/v1".to_owned()], Duration::ZERO, Names::OPTIONS);
        never.mark_failed(&never.all()[0], FailureCause::Http429, Some(MINUTE));
        let began = Instant::now();
        never.choose().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_least_busy_server_is_chosen() {
        let servers = servers();
        let _busy = servers.all()[1].in_flight();
        assert_eq!(servers.choose().await.url, "http://a/v1");
        assert_eq!(servers.choose().await.url, "http://a/v1");
    }
}
