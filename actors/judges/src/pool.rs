//! The judge pool: the actor that judges a step's completions as one batch.
//!
//! - `POOL-1` a batch is answered in full before the slot's call times out: requests without a verdict by then count as
//!   timed out.
//! - `POOL-2` every request ends in exactly one of a verdict and a cause; a cause is never a score (REWARD-1).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use runtime::Request;
use tokio::time::Instant;

use crate::judgement::{AsyncJudge, JudgeTally, Judgement};

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
    use futures_util::future::BoxFuture;

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
