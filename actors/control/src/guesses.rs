//! Counts requests with a wrong token, and limits them for each client and over all.
//!
//! A request with the right token is never counted, so nobody who guesses can lock the owner out.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Wrong tokens that a client may send at once; then one a second.
const OF_ONE: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// Wrong tokens that all clients together may send at once; then a tenth of them each second.
const OF_ALL: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Clients that are told apart; when there are more, those that have sent nothing for a while are forgotten, and new ones
/// only share the limit of all.
const CLIENTS: usize = 4096;

pub(super) struct Guesses {
    by_client: DefaultKeyedRateLimiter<IpAddr>,
    over_all: DefaultDirectRateLimiter,
    /// Limits how often clients are forgotten, which takes time.
    sweeps: DefaultDirectRateLimiter,
    /// Limits the warnings in the log.
    warnings: DefaultDirectRateLimiter,
}

impl Default for Guesses {
    fn default() -> Self {
        let one = NonZeroU32::MIN;
        let tenth = NonZeroU32::new(OF_ALL.get() / 10).expect("more than ten");
        Guesses {
            by_client: RateLimiter::keyed(Quota::per_second(one).allow_burst(OF_ONE)),
            over_all: RateLimiter::direct(Quota::per_second(tenth).allow_burst(OF_ALL)),
            sweeps: RateLimiter::direct(Quota::per_second(one)),
            warnings: RateLimiter::direct(Quota::per_minute(one)),
        }
    }
}

impl Guesses {
    /// Counts a wrong token. Errors: the time that the client should wait, if there were too many.
    pub fn count(&self, client: IpAddr) -> Result<(), Duration> {
        let now = DefaultClock::default().now();
        let is_full = || self.by_client.len() > CLIENTS;
        if is_full() && self.sweeps.check().is_ok() {
            self.by_client.retain_recent();
        }
        let by_client = match is_full() {
            true => Ok(()),
            false => self.by_client.check_key(&network(client)).map_err(|until| until.wait_time_from(now)),
        };
        // What one client sends too much does not count for the others.
        let over_all = || self.over_all.check().map_err(|until| until.wait_time_from(now));
        let too_many = by_client.and_then(|()| over_all());
        if too_many.is_err() && self.warnings.check().is_ok() {
            tracing::warn!(
                "{client} sends wrong tokens to the control channel; they are refused, and the run is not affected"
            );
        }
        too_many
    }
}

/// The client itself, or its network of 2⁶⁴ addresses, which belong to one client.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_that_guesses_too_often_is_told_to_wait_and_others_are_not() {
        let guesses = Guesses::default();
        let accepted = (0..1_000).filter(|_| guesses.count(client("10.0.0.1")).is_ok()).count();
        assert!((10..15).contains(&accepted), "{accepted}");
        assert!(guesses.count(client("10.0.0.1")).unwrap_err() <= Duration::from_secs(2));
    }

    #[test]
    fn the_addresses_of_a_network_count_as_one_client() {
        let guesses = Guesses::default();
        let neighbour = |n: usize| client(&format!("2001:db8::{n:x}"));
        let accepted = (0..1_000).filter(|&n| guesses.count(neighbour(n)).is_ok()).count();
        assert!((10..15).contains(&accepted), "{accepted}");
    }

    #[test]
    fn many_clients_share_a_limit() {
        let guesses = Guesses::default();
        let stranger = |n: u32| IpAddr::V4(n.into());
        let accepted = (0..10_000).filter(|&n| guesses.count(stranger(n)).is_ok()).count();
        assert!((100..150).contains(&accepted), "{accepted}");
    }
}
