//! How often a supervisor may restart a failed actor.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use scenarios::SupervisionConfig;

/// A sliding window of restarts.
#[derive(Debug)]
pub struct RestartBudget {
    most: usize,
    window: Duration,
    restarts: VecDeque<Instant>,
    total: u64,
}

impl RestartBudget {
    /// At most `most` restarts within `window`.
    pub fn new(most: usize, window: Duration) -> Self {
        RestartBudget { most, window, restarts: VecDeque::new(), total: 0 }
    }

    /// The budget that `[supervision]` sets.
    pub fn of(config: &SupervisionConfig) -> Self {
        RestartBudget::new(config.restarts, Duration::from_secs_f64(config.window_seconds))
    }

    /// Spends one restart at `now`; false if the budget is spent.
    pub fn spend(&mut self, now: Instant) -> bool {
        while self.restarts.front().is_some_and(|&earlier| now.duration_since(earlier) > self.window) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.most {
            return false;
        }
        self.restarts.push_back(now);
        self.total += 1;
        true
    }

    /// Restarts granted since the actor was first started.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_comes_back_with_time() {
        let mut budget = RestartBudget::new(2, Duration::from_secs(60));
        let start = Instant::now();
        assert!(budget.spend(start));
        assert!(budget.spend(start + Duration::from_secs(1)));
        assert!(!budget.spend(start + Duration::from_secs(2)));
        // 61 s on, the first one has left the window.
        assert!(budget.spend(start + Duration::from_secs(61)));
        assert_eq!(budget.total(), 3);
    }
}
