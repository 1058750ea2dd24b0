//! The interface of all judges: an [`AsyncJudge`] answers each [`JudgeRequest`] with a [`Judgement`].

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use records::statistics::mean_of;
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use tokio::time::Instant;

use crate::account::Spent;
use crate::clip::JudgeClips;
use crate::error::JudgeError;

/// The answer to one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// The scores; those that are missing are `None`.
    pub verdict: Verdict,
    /// Why scores are missing, if any are.
    pub failure: Option<JudgeFailure>,
    /// Requests, tokens and time that it took.
    pub usage: Usage,
    /// Of a panel: the largest difference between two members' scores.
    pub disagreement: Option<f64>,
}

impl Judgement {
    /// A judgement without scores, whose note is the failure's message.
    pub fn failed(failure: JudgeFailure) -> Self {
        let verdict = Verdict { note: Some(failure.to_string()), ..Verdict::default() };
        Self { verdict, failure: Some(failure), ..Self::default() }
    }
}

/// The failure of a request that had no verdict when its batch had to be answered (POOL-1).
pub(crate) fn out_of_time() -> JudgeFailure {
    let message =
        "no verdict within the time limit of the step's batch; raise supervision.call_timeout_seconds";
    JudgeFailure::new(FailureCause::Timeout, message)
}

/// The cost of a verdict, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Lookups in the verdict cache.
    pub lookups: u64,
    /// Lookups that found a verdict, or that an equal request of the same batch answered.
    pub hits: u64,
    /// Requests to a server that were repeated.
    pub retries: u64,
    /// Tokens of the prompts; 0 if the judge does not count them.
    pub prompt_tokens: u64,
    /// Tokens of the replies; 0 if the judge does not count them.
    pub reply_tokens: u64,
    /// Time from the request to the verdict, in seconds; 0 for a cached one.
    pub seconds: f64,
}

impl Usage {
    /// Adds the cost of another request. The two run concurrently, so the time is the longer of both.
    pub fn add(&mut self, other: Usage) {
        self.lookups += other.lookups;
        self.hits += other.hits;
        self.retries += other.retries;
        self.prompt_tokens += other.prompt_tokens;
        self.reply_tokens += other.reply_tokens;
        self.seconds = self.seconds.max(other.seconds);
    }
}

/// A judge of completions that think. It may take long, and is asked for a whole batch at once.
pub trait AsyncJudge: Send + Sync {
    /// Judges the requests, and returns one judgement for each, in their order. A request without a verdict at
    /// `deadline` is answered with a failure.
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>>;

    /// As [`judge_all`](Self::judge_all), with the clip of each request for judges that hear it. The others ignore them.
    fn judge_heard<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        clips: &'a JudgeClips,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        let _ = clips;
        self.judge_all(requests, deadline)
    }

    /// As [`judge_heard`](Self::judge_heard), and never answered from a cache.
    fn judge_anew<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        clips: &'a JudgeClips,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        self.judge_heard(requests, clips, deadline)
    }

    /// Checks before a run that the judge can be used, for example that its server answers.
    ///
    /// Errors: [`JudgeError`] tells what is wrong and what to do.
    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        async { Ok(()) }.boxed()
    }
}

/// The results of a batch of requests, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgeTally {
    /// Number of requests in the batch.
    pub requests: u64,
    /// Number of requests without a verdict, by cause.
    pub failures: BTreeMap<FailureCause, u64>,
    /// The cost of all requests together.
    pub usage: Usage,
    /// Mean of [`Judgement::disagreement`]; `None` without a panel.
    pub disagreement: Option<f64>,
    /// Which limit of the budget is reached, if requests failed for that.
    pub budget: Option<String>,
    /// What the run has spent, if the arm has a budget.
    pub spent: Option<Spent>,
}

impl JudgeTally {
    pub(crate) fn of(judgements: &[Judgement]) -> Self {
        let mut tally = JudgeTally { requests: judgements.len() as u64, ..Self::default() };
        for judgement in judgements {
            tally.usage.add(judgement.usage);
            if let Some(failure) = &judgement.failure {
                tally.count(failure);
            }
        }
        tally.disagreement = mean_of(judgements.iter().filter_map(|judgement| judgement.disagreement));
        tally
    }

    /// Adds the tally of another batch.
    pub fn add(&mut self, other: &JudgeTally) {
        let weighted =
            [&*self, other].map(|tally| tally.disagreement.map(|mean| (mean, tally.requests as f64)));
        let weights: f64 = weighted.iter().flatten().map(|(_, requests)| requests).sum();
        let sum: f64 = weighted.iter().flatten().map(|(mean, requests)| mean * requests).sum();
        self.disagreement = (weights > 0.0).then(|| sum / weights);
        self.budget = self.budget.take().or_else(|| other.budget.clone());
        self.spent = other.spent.or(self.spent);
        self.requests += other.requests;
        for (cause, count) in &other.failures {
            *self.failures.entry(*cause).or_default() += count;
        }
        self.usage.add(other.usage);
    }

    pub(crate) fn count(&mut self, failure: &JudgeFailure) {
        *self.failures.entry(failure.cause).or_default() += 1;
        if failure.cause == FailureCause::Budget {
            self.budget.get_or_insert_with(|| failure.message.clone());
        }
    }

    /// Number of requests without a verdict.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}
