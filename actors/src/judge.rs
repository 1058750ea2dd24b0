//! The judge pool: reads the thinking of completions and says whether it supports the answer and how good it is.
//!
//! A step's completions come as one batch; [`AsyncJudge`] answers each with a [`Judgement`]: a verdict, or the cause
//! for which there is none. Who judges is one of `rules`, `openai`, `local` and `panel`, see [`judges::Judges`].
//!
//! - `POOL-1` a batch is answered in full before the slot's call runs out: what has no verdict by then has timed out.
//! - `POOL-2` every request ends in exactly one of a verdict and a cause; a cause is never a score (REWARD-1).

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{FailureCause, Judge, JudgeFailure, JudgeRequest, RulesJudge, Verdict};
use tokio::time::Instant;

use crate::slot::Request;

mod cached;
pub mod calibration;
pub mod judges;
mod local;
mod openai;
mod panel;
mod store;
mod wording;

pub use store::VerdictStore;

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
fn out_of_time() -> JudgeFailure {
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
    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
}

/// The rules answer at once.
impl AsyncJudge for RulesJudge {
    fn judge_all<'a>(&'a self, requests: &'a [JudgeRequest], _: Instant) -> BoxFuture<'a, Vec<Judgement>> {
        let judge = |request| {
            let verdict = self.judge(request);
            let told = verdict.consistency.is_some() || verdict.think_quality.is_some();
            let undecided = || {
                let message = verdict.note.clone().unwrap_or_default();
                JudgeFailure::new(FailureCause::Undecided, message)
            };
            Judgement { failure: (!told).then(undecided), verdict, ..Judgement::default() }
        };
        async move { requests.iter().map(judge).collect() }.boxed()
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
    fn of(judgements: &[Judgement]) -> Self {
        let mut tally = JudgeTally { requests: judgements.len() as u64, ..Self::default() };
        for judgement in judgements {
            tally.usage.add(judgement.usage);
            if let Some(failure) = &judgement.failure {
                *tally.failures.entry(failure.cause).or_default() += 1;
            }
        }
        tally.disagreement =
            crate::statistics::mean_of(judgements.iter().filter_map(|judgement| judgement.disagreement));
        tally
    }

    /// Verdicts that could not be had.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// The answer to [`JudgeMsg::Judge`].
pub struct Judged {
    /// In the order of the requests.
    pub verdicts: Vec<Verdict>,
    /// What came of them.
    pub tally: JudgeTally,
    /// Why the first verdict that could not be had is missing.
    pub first_failure: Option<JudgeFailure>,
    /// From the batch's arrival to its answer.
    pub seconds: f64,
}

/// What a judge pool is made of.
#[derive(Clone)]
pub struct JudgeArgs {
    /// Who judges.
    pub judge: Arc<dyn AsyncJudge>,
    /// Longest time for a batch.
    pub patience: Duration,
}

/// Messages to the judge pool.
pub enum JudgeMsg {
    /// Judge these completions.
    Judge(Request<Vec<JudgeRequest>, Judged>),
}

/// The actor in front of the judge.
pub struct JudgePool;

impl Actor for JudgePool {
    type Msg = JudgeMsg;
    type State = JudgeArgs;
    type Arguments = JudgeArgs;

    async fn pre_start(
        &self,
        _: ActorRef<JudgeMsg>,
        args: JudgeArgs,
    ) -> Result<JudgeArgs, ActorProcessingErr> {
        Ok(args)
    }

    async fn handle(
        &self,
        _: ActorRef<JudgeMsg>,
        message: JudgeMsg,
        state: &mut JudgeArgs,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JudgeMsg::Judge(request) => {
                if let Some((requests, reply)) = request.begin() {
                    // A task of its own, so that the requests of several steps overlap.
                    let state = state.clone();
                    tokio::spawn(async move { reply.send(state.judge(&requests).await) });
                }
            }
        }
        Ok(())
    }
}

impl JudgeArgs {
    async fn judge(&self, requests: &[JudgeRequest]) -> Judged {
        let arrived = Instant::now();
        let judging = AssertUnwindSafe(self.judge.judge_all(requests, arrived + self.patience));
        let judgements = judging.catch_unwind().await.unwrap_or_else(|_| {
            let panicked = JudgeFailure::new(FailureCause::Panicked, "the judge broke down; see run.log");
            vec![Judgement::failed(panicked); requests.len()]
        });
        let tally = JudgeTally::of(&judgements);
        let first_failure = judgements.iter().find_map(|judgement| judgement.failure.clone());
        let verdicts = judgements.into_iter().map(|judgement| judgement.verdict).collect();
        Judged { verdicts, tally, first_failure, seconds: arrived.elapsed().as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Breaks;

    impl AsyncJudge for Breaks {
        fn judge_all<'a>(&'a self, _: &'a [JudgeRequest], _: Instant) -> BoxFuture<'a, Vec<Judgement>> {
            async { panic!("out of order") }.boxed()
        }
    }

    #[tokio::test]
    async fn a_judge_that_panics_costs_the_verdicts_in_hand_and_no_zero() {
        let pool = JudgeArgs { judge: Arc::new(Breaks), patience: Duration::from_secs(1) };
        let request =
            JudgeRequest { question: Default::default(), think: "so dog".into(), answer: "dog".into() };
        let judged = pool.judge(&[request.clone(), request]).await;
        assert_eq!(judged.tally.failures, [(FailureCause::Panicked, 2)].into());
        assert!(judged.verdicts.iter().all(|verdict| verdict.consistency.is_none()));
    }
}
