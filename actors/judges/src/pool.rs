//! The judge pool: the actor that judges a step's completions as one batch.
//!
//! The conductor sends the requests of a step, and passes the verdicts on to the rewards.
//!
//! - `POOL-1` a batch is answered in full before the slot's call times out: requests without a verdict by then
//!   count as timed out.
//! - `POOL-2` every request has either a verdict or a cause; a cause never becomes a score (REWARD-1).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{FailureCause, Graded, JudgeFailure, JudgeRequest, JudgeTask, RewardItem, Verdict};
use runtime::Request;
use scenarios::JudgeConfig;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::account::Spent;
use crate::clip::JudgeClip;
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, JudgeTally, Judgement};
use crate::judges::Judges;
use crate::tasks::{Completions, GradedTask};

/// The answer to [`JudgeMsg::Judge`].
pub struct Judged {
    /// One verdict per request, in their order; its scores are `None` where they are missing.
    pub verdicts: Vec<Verdict>,
    /// For each request the largest difference between two members of a panel; `None` if it is no panel, or fewer than two
    /// gave a score.
    pub disagreements: Vec<Option<f64>>,
    /// Failures and cost of the batch.
    pub tally: JudgeTally,
    /// The failure of the first request without a verdict.
    pub first_failure: Option<JudgeFailure>,
    /// Time from the batch's arrival to its answer, in seconds.
    pub seconds: f64,
}

/// Tasks over the completions of a step.
#[derive(Clone)]
pub struct GradeQuery {
    /// What to do; each task once.
    pub tasks: Vec<Arc<JudgeTask>>,
    /// The completions, group after group.
    pub items: Vec<RewardItem>,
    /// Their clips; empty if no judge hears them.
    pub clips: Vec<Option<Arc<JudgeClip>>>,
}

/// Completions of a step to be judged.
#[derive(Clone, Default)]
pub struct JudgeQuery {
    /// One request per completion.
    pub requests: Vec<JudgeRequest>,
    /// Their clips; empty if no judge hears them.
    pub clips: Vec<Option<Arc<JudgeClip>>>,
    /// Whether the judge is to be asked even where its verdict is cached.
    pub anew: bool,
}

/// The answer to [`JudgeMsg::Grade`].
pub struct GradedItems {
    /// The results for each completion, in their order; none of a task that does not concern it.
    pub graded: Vec<Vec<Graded>>,
    /// Failures and cost of all tasks.
    pub tally: JudgeTally,
    /// The first failure, for the warning; `None` if there was none.
    pub first_failure: Option<JudgeFailure>,
    /// Time from the query's arrival to its answer, in seconds.
    pub seconds: f64,
}

/// The arguments of a [`JudgePool`].
#[derive(Clone)]
pub struct JudgeArgs {
    /// The judge to which batches are passed.
    pub judge: Arc<dyn AsyncJudge>,
    /// The judges of the run, among them those that carry out tasks.
    pub judges: Arc<Judges>,
    /// The settings of the arm's judge.
    pub config: JudgeConfig,
    /// Time limit of a batch, shorter than the time limit of a call to the pool's slot.
    pub timeout: Duration,
}

/// Messages to the judge pool.
pub enum JudgeMsg {
    /// Judge the completions of a step.
    Judge(Request<JudgeQuery, Judged>),
    /// Carry out tasks over the completions of a step.
    Grade(Request<GradeQuery, GradedItems>),
}

/// The actor that passes batches to the judge. Batches of several steps are judged concurrently.
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
                if let Some((query, reply)) = request.begin() {
                    // In its own task, so that batches of several steps overlap.
                    let state = state.clone();
                    let work = reply.work();
                    let judged = async move { reply.send(state.judge(&query).await) };
                    tokio::spawn(judged.instrument(work));
                }
            }
            JudgeMsg::Grade(request) => {
                if let Some((query, reply)) = request.begin() {
                    let state = state.clone();
                    let work = reply.work();
                    let graded = async move { reply.send(state.grade(&query).await) };
                    tokio::spawn(graded.instrument(work));
                }
            }
        }
        Ok(())
    }
}

impl JudgeArgs {
    /// Checks before a run that tasks can be carried out.
    ///
    /// Errors: [`JudgeError`] tells what is wrong and what to do.
    pub async fn probe_tasks(&self, tasks: &[Arc<JudgeTask>]) -> Result<(), JudgeError> {
        for task in tasks {
            self.judges.grader(&self.config, task)?.probe().await?;
        }
        Ok(())
    }

    /// What the run has spent, if the arm has a budget.
    fn spent(&self) -> Option<Spent> {
        self.config.budget.is_limited().then(|| self.judges.spent())
    }

    /// Carries out tasks over the completions of a step.
    pub async fn grade(&self, query: &GradeQuery) -> GradedItems {
        let arrived = Instant::now();
        let deadline = arrived + self.timeout;
        let of_task = |task: &Arc<JudgeTask>| {
            let task = task.clone();
            async move {
                let grading = async {
                    match self.judges.grader(&self.config, &task) {
                        Ok(grader) => {
                            let completions = Completions { items: &query.items, clips: &query.clips };
                            grader.grade(&task, completions, deadline).await
                        }
                        Err(error) => {
                            let failure = JudgeFailure::new(FailureCause::Connection, error.to_string());
                            GradedTask::failed(query.items.len(), failure)
                        }
                    }
                };
                AssertUnwindSafe(grading).catch_unwind().await.unwrap_or_else(|_| {
                    let panicked =
                        JudgeFailure::new(FailureCause::Panicked, "the judge panicked; see run.log");
                    GradedTask::failed(query.items.len(), panicked)
                })
            }
        };
        let done = join_all(query.tasks.iter().map(of_task)).await;
        let mut graded = vec![Vec::new(); query.items.len()];
        let (mut tally, mut first_failure) = (JudgeTally::default(), None);
        for task in done {
            tally.add(&task.tally);
            first_failure = first_failure.or(task.first_failure);
            for (item, of_item) in graded.iter_mut().zip(task.graded) {
                item.extend(of_item);
            }
        }
        tally.spent = self.spent();
        GradedItems { graded, tally, first_failure, seconds: arrived.elapsed().as_secs_f64() }
    }

    /// The verdicts on the completions of a query.
    pub async fn judge(&self, query: &JudgeQuery) -> Judged {
        let arrived = Instant::now();
        let deadline = arrived + self.timeout;
        let judging = match query.anew {
            false => self.judge.judge_heard(&query.requests, &query.clips, deadline),
            true => self.judge.judge_anew(&query.requests, &query.clips, deadline),
        };
        let judging = AssertUnwindSafe(judging);
        let judgements = judging.catch_unwind().await.unwrap_or_else(|_| {
            let panicked = JudgeFailure::new(FailureCause::Panicked, "the judge panicked; see run.log");
            vec![Judgement::failed(panicked); query.requests.len()]
        });
        let tally = JudgeTally { spent: self.spent(), ..JudgeTally::of(&judgements) };
        let first_failure = judgements.iter().find_map(|judgement| judgement.failure.clone());
        let disagreements = judgements.iter().map(|judgement| judgement.disagreement).collect();
        let verdicts = judgements.into_iter().map(|judgement| judgement.verdict).collect();
        Judged { verdicts, disagreements, tally, first_failure, seconds: arrived.elapsed().as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::BoxFuture;

    struct Panics;

    impl AsyncJudge for Panics {
        fn judge_all<'a>(&'a self, _: &'a [JudgeRequest], _: Instant) -> BoxFuture<'a, Vec<Judgement>> {
            async { panic!("on purpose") }.boxed()
        }
    }

    #[tokio::test]
    async fn a_judge_that_panics_costs_the_batch_its_verdicts_and_gives_no_zero() {
        let pool = JudgeArgs {
            judge: Arc::new(Panics),
            judges: Arc::default(),
            config: JudgeConfig::default(),
            timeout: Duration::from_secs(1),
        };
        let request =
            JudgeRequest { question: Default::default(), think: "so dog".into(), answer: "dog".into() };
        let query = JudgeQuery { requests: vec![request.clone(), request], ..JudgeQuery::default() };
        let judged = pool.judge(&query).await;
        assert_eq!(judged.tally.failures, [(FailureCause::Panicked, 2)].into());
        assert!(judged.verdicts.iter().all(|verdict| verdict.consistency.is_none()));
    }
}
