//! Requests and tokens a minute.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The limits of a judge; those that are 0 do not limit.
pub struct Limits {
    requests: Option<DefaultDirectRateLimiter>,
    tokens: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
}

/// Characters of English or JSON that make a token, rounded down: an estimate must not be too low.
const CHARS_PER_TOKEN: usize = 3;

impl Limits {
    /// At most these a minute, and as many at once.
    pub fn new(requests_per_minute: u32, tokens_per_minute: u32) -> Self {
        let limiter = |most| RateLimiter::direct(Quota::per_minute(most));
        Self {
            requests: NonZeroU32::new(requests_per_minute).map(limiter),
            tokens: NonZeroU32::new(tokens_per_minute).map(|most| (limiter(most), most)),
        }
    }

    /// Waits until a request of this size may be made.
    pub async fn wait(&self, prompt_chars: usize, reply_tokens: usize) {
        if let Some(requests) = &self.requests {
            requests.until_ready().await;
        }
        if let Some((tokens, most)) = &self.tokens {
            let estimate = u32::try_from(prompt_chars / CHARS_PER_TOKEN + reply_tokens).unwrap_or(u32::MAX);
            // A request larger than a minute's allowance takes the whole minute's.
            let cells = NonZeroU32::new(estimate).unwrap_or(NonZeroU32::MIN).min(*most);
            // No request asks for more than there can be.
            let _ = tokens.until_n_ready(cells).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_minute_s_requests_go_out_at_once_and_the_next_one_waits() {
        let limits = Limits::new(3, 0);
        for _ in 0..3 {
            assert!(limits.wait(1, 1).now_or_never().is_some());
        }
        assert!(limits.wait(1, 1).now_or_never().is_none());
    }

    #[test]
    fn tokens_are_estimated_and_a_request_larger_than_the_limit_waits_for_a_whole_minute_s() {
        let limits = Limits::new(0, 100);
        // 120 characters are 40 tokens, and 20 for the reply.
        assert!(limits.wait(120, 20).now_or_never().is_some());
        assert!(limits.wait(120, 20).now_or_never().is_none());
        assert!(Limits::new(0, 100).wait(1_000_000, 20).now_or_never().is_some());
    }

    #[test]
    fn without_limits_nothing_waits() {
        let began = Instant::now();
        assert!((0..1_000).all(|_| Limits::new(0, 0).wait(1_000, 1_000).now_or_never().is_some()));
        assert!(began.elapsed().as_secs() < 60);
    }
}
