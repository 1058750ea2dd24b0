//! How long the two sides of an arm are idle: what samples, and what trains.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The two sides.
#[derive(Default)]
pub(crate) struct Utilisation {
    pub(crate) sampler: Meter,
    pub(crate) learner: Meter,
}

/// Measures the time in which nothing is in progress.
pub(crate) struct Meter(Mutex<Measured>);

struct Measured {
    in_progress: usize,
    /// When the present time of rest or work began.
    since: Instant,
    idle: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        Meter(Mutex::new(Measured { in_progress: 0, since: Instant::now(), idle: Duration::ZERO }))
    }
}

/// Work in progress, until it is dropped.
pub(crate) struct InProgress<'a>(&'a Meter);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        let mut measured = self.0.lock();
        measured.in_progress -= 1;
        if measured.in_progress == 0 {
            measured.since = Instant::now();
        }
    }
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Measured> {
        // Plain numbers: a panic elsewhere leaves them usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts as work until the result is dropped.
    pub(crate) fn work(&self) -> InProgress<'_> {
        let mut measured = self.lock();
        if measured.in_progress == 0 {
            let rest = measured.since.elapsed();
            measured.idle += rest;
        }
        measured.in_progress += 1;
        InProgress(self)
    }

    /// The seconds of rest since this was last called.
    pub(crate) fn take_idle_seconds(&self) -> f64 {
        let mut measured = self.lock();
        let now = Instant::now();
        if measured.in_progress == 0 {
            let rest = now - measured.since;
            measured.idle += rest;
            measured.since = now;
        }
        std::mem::take(&mut measured.idle).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_with_work_in_progress_is_no_rest() {
        let meter = Meter::default();
        let rest = |seconds: u64| meter.lock().since -= Duration::from_secs(seconds);
        rest(100);
        let (first, second) = (meter.work(), meter.work());
        rest(1_000);
        drop(first);
        rest(1_000);
        drop(second);
        rest(10);
        let idle = meter.take_idle_seconds();
        assert!((110.0..200.0).contains(&idle), "{idle}");
        assert!(meter.take_idle_seconds() < 50.0);
    }
}
