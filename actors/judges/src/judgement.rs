//! What a judge is: an [`AsyncJudge`] that answers each [`JudgeRequest`] with a [`Judgement`].

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use records::statistics::mean_of;
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use tokio::time::Instant;

use crate::error::JudgeError;

/// What a judge made of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// What it said; the scores that it could not give are `None`.
    pub verdict: Verdict,
    /// Why scores are missing.
    pub failure: Option<JudgeFailure>,
    /// What it took.
    pub usage: Usage,
    /// How far the members of a panel are apart: the largest difference of two scores.
    pub disagreement: Option<f64>,
}

impl Judgement {
    /// A verdict that could not be had.
    pub fn failed(failure: JudgeFailure) -> Self {
        let verdict = Verdict { note: Some(failure.to_string()), ..Verdict::default() };
        Self { verdict, failure: Some(failure), ..Self::default() }
    }
}

/// A verdict that was not there when its batch had to be answered (POOL-1).
pub(crate) fn out_of_time() -> JudgeFailure {
    let message = "no verdict within the time for the step's batch (supervision.call_timeout_seconds)";
    JudgeFailure::new(FailureCause::Timeout, message)
}

/// What a verdict took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Verdicts looked up among those kept.
    pub lookups: u64,
    /// Verdicts found there, or asked for once for several equal requests.
    pub hits: u64,
    /// Requests made again.
    pub retries: u64,
    /// Tokens of the prompts, where the judge counts them.
    pub prompt_tokens: u64,
    /// Tokens of the replies, likewise.
    pub reply_tokens: u64,
    /// From the request to the verdict, in seconds; 0 for one that was kept.
    pub seconds: f64,
}

impl Usage {
    /// Adds another's; side by side, so the longer time counts.
    pub fn add(&mut self, other: Usage) {
        self.lookups += other.lookups;
        self.hits += other.hits;
        self.retries += other.retries;
        self.prompt_tokens += other.prompt_tokens;
        self.reply_tokens += other.reply_tokens;
        self.seconds = self.seconds.max(other.seconds);
    }
}

/// Judges think completions, and may take its time.
pub trait AsyncJudge: Send + Sync {
    /// A judgement per request, in order, all of them by `deadline`.
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>>;

    /// Looks whether it can judge at all, before anything depends on it.
    ///
    /// # Errors
    /// One line: what is wrong, and what to do.
    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        async { Ok(()) }.boxed()
    }
}

/// What came of a batch of requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgeTally {
    /// Verdicts asked for.
    pub requests: u64,
    /// Verdicts that could not be had, by cause.
    pub failures: BTreeMap<FailureCause, u64>,
    /// What they took together.
    pub usage: Usage,
    /// Mean disagreement of a panel.
    pub disagreement: Option<f64>,
}

impl JudgeTally {
    pub(crate) fn of(judgements: &[Judgement]) -> Self {
        let mut tally = JudgeTally { requests: judgements.len() as u64, ..Self::default() };
        for judgement in judgements {
            tally.usage.add(judgement.usage);
            if let Some(failure) = &judgement.failure {
                *tally.failures.entry(failure.cause).or_default() += 1;
            }
        }
        tally.disagreement =
            mean_of(judgements.iter().filter_map(|judgement| judgement.disagreement));
        tally
    }

    /// Verdicts that could not be had.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

