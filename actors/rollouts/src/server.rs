//! One server: its address, what it has, and whether it can be used.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is known of a server at the moment.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) url: String,
    /// Whether it may be asked. One that fails is repaired first (`recovery.rs`).
    pub(crate) up: bool,
    /// Whether somebody is repairing it.
    pub(crate) in_repair: bool,
    /// Why it failed last.
    pub(crate) reason: String,
    /// Failures since its last answer.
    pub(crate) failures: u32,
    /// The base's name.
    pub(crate) base: String,
    /// The versions that it has loaded and whose canary it passed.
    pub(crate) versions: BTreeSet<u64>,
    /// The clips that it has.
    pub(crate) clips: HashSet<String>,
    /// Completions that it is asked for at the moment.
    pub(crate) in_flight: usize,
    /// Seconds per token of the last slices; `None` before the first.
    pub(crate) pace: Option<f64>,
}

/// The weight of the newest slice in a server's pace.
const NEWEST: f64 = 0.3;

/// A server of an arm.
pub(crate) struct Server {
    /// Its place in `sampler.urls`.
    pub(crate) place: usize,
    state: Mutex<State>,
}

impl Server {
    pub(crate) fn new(place: usize, url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Server { place, state: Mutex::new(State { url, ..State::default() }) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Plain facts: a panic elsewhere leaves them usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn url(&self) -> String {
        self.state().url.clone()
    }

    /// The address of a route.
    pub(crate) fn at(&self, route: &str) -> String {
        format!("{}{route}", self.state().url)
    }

    /// Counts an answer.
    pub(crate) fn answered<'a>(&self, clips: impl Iterator<Item = &'a String>) {
        let mut state = self.state();
        state.failures = 0;
        state.clips.extend(clips.cloned());
    }

    /// Counts the time that a slice took.
    pub(crate) fn keep_pace(&self, took: Duration, tokens: usize) {
        let newest = took.as_secs_f64() / tokens as f64;
        let mut state = self.state();
        state.pace = Some(state.pace.map_or(newest, |pace| pace + NEWEST * (newest - pace)));
    }

    /// Takes it out of use. Returns whether it was in use.
    pub(crate) fn take_down(&self, reason: &str) -> bool {
        let mut state = self.state();
        state.reason = reason.to_owned();
        state.failures += 1;
        state.versions.clear();
        state.clips.clear();
        state.pace = None;
        std::mem::take(&mut state.up)
    }

    /// Whether it can be asked for a version.
    pub(crate) fn serves(&self, version: u64) -> bool {
        let state = self.state();
        state.up && state.versions.contains(&version)
    }
}

/// The order in which servers are preferred for a prompt: each server is the first for its share of the prompts, and
/// that share stays the same when another server fails.
pub(crate) fn preference(route: u64, servers: usize) -> Vec<usize> {
    let rank = |place: usize| {
        // SplitMix64.
        let mut mixed = route ^ (place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    let mut places: Vec<usize> = (0..servers).collect();
    places.sort_by_key(|place| rank(*place));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_the_last_slices_and_a_server_that_failed_has_none() {
        let server = Server::new(0, "http://a:1");
        server.keep_pace(Duration::from_secs(4), 8);
        assert_eq!(server.state().pace, Some(0.5));
        // 0.5 + 0.3 · (1.5 − 0.5).
        server.keep_pace(Duration::from_secs(3), 2);
        assert!((server.state().pace.unwrap() - 0.8).abs() < 1e-12);
        server.take_down("x");
        assert_eq!(server.state().pace, None);
    }

    #[test]
    fn prompts_are_spread_over_the_servers_and_stay_where_they_are() {
        let mut first = [0; 4];
        for route in 0..4_000_u64 {
            let order = preference(route.wrapping_mul(0x2545_F491_4F6C_DD1D), 4);
            first[order[0]] += 1;
            // Without its first server, a prompt goes to its second; the order of the others stays.
            assert_eq!(order, preference(route.wrapping_mul(0x2545_F491_4F6C_DD1D), 4));
        }
        // 1,000 each, with a standard deviation of 27.
        assert!(first.iter().all(|share| (850..1_150).contains(share)), "{first:?}");
    }
}
