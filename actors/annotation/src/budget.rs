//! How much an annotation may cost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The limits of an annotation, over all processes that worked on it; `None` sets no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// Most requests to all servers together; the retries of a request are not counted.
    pub requests: Option<u64>,
    /// Most tokens of prompts and replies together, as the servers count them. A request that is in flight when the limit is
    /// reached is still counted, so that the sum may exceed it by the requests in flight.
    pub tokens: Option<u64>,
}

/// What was spent, and whether more may be.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Budget,
    requests: AtomicU64,
    prompt_tokens: AtomicU64,
    reply_tokens: AtomicU64,
    /// Whether a request was not sent for lack of budget.
    exhausted: AtomicBool,
}

impl Account {
    pub(crate) fn new(budget: Budget, requests: u64, prompt_tokens: u64, reply_tokens: u64) -> Self {
        Self {
            budget,
            requests: requests.into(),
            prompt_tokens: prompt_tokens.into(),
            reply_tokens: reply_tokens.into(),
            exhausted: AtomicBool::new(false),
        }
    }

    /// Takes one request from the budget; false if there is none left.
    pub(crate) fn take(&self) -> bool {
        let tokens = self.prompt_tokens() + self.reply_tokens();
        let enough = self.budget.tokens.is_none_or(|most| tokens < most)
            && self
                .requests
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |requests| {
                    self.budget.requests.is_none_or(|most| requests < most).then_some(requests + 1)
                })
                .is_ok();
        if !enough {
            self.exhausted.store(true, Ordering::Relaxed);
        }
        enough
    }

    pub(crate) fn add_tokens(&self, prompt: u64, reply: u64) {
        self.prompt_tokens.fetch_add(prompt, Ordering::Relaxed);
        self.reply_tokens.fetch_add(reply, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens.load(Ordering::Relaxed)
    }

    pub(crate) fn reply_tokens(&self) -> u64 {
        self.reply_tokens.load(Ordering::Relaxed)
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // ANNOTATE-3
    #[test]
    fn no_request_is_taken_beyond_either_limit() {
        let account = Account::new(Budget { requests: Some(3), tokens: None }, 1, 0, 0);
        assert_eq!([account.take(), account.take(), account.take()], [true, true, false]);
        assert!(account.is_exhausted());
        assert_eq!(account.requests(), 3);
        let account = Account::new(Budget { requests: None, tokens: Some(100) }, 0, 60, 0);
        assert!(account.take());
        account.add_tokens(10, 30);
        assert!(!account.take());
    }
}
