//! Rate limits of a client: requests and tokens per minute.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The rate limits of a client, shared by all who use it.
pub struct Limits {
    requests: Option<DefaultDirectRateLimiter>,
    tokens: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
}

/// Characters of English or JSON per token, rounded down, so that the number of tokens is not underestimated.
const CHARS_PER_TOKEN: usize = 3;

impl Limits {
    /// Allows bursts up to a minute's allowance. A limit of 0 means that there is none.
    pub fn new(requests_per_minute: u32, tokens_per_minute: u32) -> Self {
        let limiter = |most| RateLimiter::direct(Quota::per_minute(most));
        Self {
            requests: NonZeroU32::new(requests_per_minute).map(limiter),
            tokens: NonZeroU32::new(tokens_per_minute).map(|most| (limiter(most), most)),
        }
    }

    /// Waits until a request of this size may be sent.
    pub async fn wait(&self, prompt_chars: usize, reply_tokens: usize) {
        if let Some(requests) = &self.requests {
            requests.until_ready().await;
        }
        if let Some((tokens, most)) = &self.tokens {
            let estimate = u32::try_from(prompt_chars / CHARS_PER_TOKEN + reply_tokens).unwrap_or(u32::MAX);
            // A request larger than a minute's allowance uses the whole allowance.
            let cells = NonZeroU32::new(estimate).unwrap_or(NonZeroU32::MIN).min(*most);
            // Only fails for more cells than the quota has, which `min` excludes.
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
    fn a_minute_s_allowance_is_sent_at_once_and_the_next_request_waits() {
        let limits = Limits::new(3, 0);
        for _ in 0..3 {
            assert!(limits.wait(1, 1).now_or_never().is_some());
        }
        assert!(limits.wait(1, 1).now_or_never().is_none());
    }

    #[test]
    fn tokens_are_estimated_and_a_request_above_the_limit_uses_the_whole_allowance() {
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
