//! Tasks: what rewards ask a judge's servers for besides verdicts ([`JudgeTask`]).
//!
//! A [`Grader`] has each task's own file make its requests and read the replies, and sends them through `ask`, which caches
//! the replies, asks equal requests once, and counts what they cost. A rating that could not be had stays missing (TASK-1).

use std::sync::Arc;

use rewards::{FailureCause, Graded, JudgeFailure, JudgeTask, RewardItem};
use tokio::time::Instant;

use self::ask::Asker;
use crate::account::Account;
use crate::clip::{JudgeClip, JudgeClips, clip_at};
use crate::error::JudgeError;
use crate::judgement::JudgeTally;
use crate::openai::server::OpenAiServer;
use crate::store::VerdictStore;

mod ask;
mod caption;
mod ranking;
mod rubric;

/// The results of a task.
pub struct GradedTask {
    /// One per completion, in their order; `None` for those that the task does not concern.
    pub graded: Vec<Option<Graded>>,
    /// Failures and cost; each reply that was asked for counts as a request.
    pub tally: JudgeTally,
    pub first_failure: Option<JudgeFailure>,
}

impl GradedTask {
    /// A task that failed as a whole, over this many completions.
    pub fn failed(items: usize, failure: JudgeFailure) -> Self {
        let failures = [(failure.cause, 1)].into();
        let tally = JudgeTally { requests: 1, failures, ..JudgeTally::default() };
        Self { graded: vec![None; items], tally, first_failure: Some(failure) }
    }
}

/// The completions of a step, with what the policy heard.
#[derive(Clone, Copy)]
pub struct Completions<'a> {
    pub items: &'a [RewardItem],
    pub clips: &'a JudgeClips,
}

impl Completions<'_> {
    fn clip(&self, place: usize) -> Option<Arc<JudgeClip>> {
        clip_at(self.clips, place).cloned()
    }
}

/// Carries out tasks by one or several servers, which take turns as raters.
pub struct Grader {
    asker: Asker,
}

impl Grader {
    pub fn new(servers: Vec<Arc<OpenAiServer>>, store: Arc<VerdictStore>, account: Account) -> Self {
        Self { asker: Asker::new(servers, store, account) }
    }

    /// Checks that every server can be used.
    pub async fn probe(&self) -> Result<(), JudgeError> {
        self.asker.probe().await
    }

    /// Carries out a task over the completions of a step.
    pub async fn grade(
        &self,
        task: &Arc<JudgeTask>,
        completions: Completions<'_>,
        deadline: Instant,
    ) -> GradedTask {
        match &**task {
            JudgeTask::Rubric(options) => {
                rubric::grade(&self.asker, task, options, completions, deadline).await
            }
            JudgeTask::CaptionGrounding(options) => {
                caption::grounding(&self.asker, task, options, completions, deadline).await
            }
            JudgeTask::AnswerFromCaption(options) => {
                caption::answer(&self.asker, task, options, completions, deadline).await
            }
            JudgeTask::Listwise(options) => {
                ranking::listwise(&self.asker, task, options, completions, deadline).await
            }
            JudgeTask::Pairwise(options) => {
                ranking::pairwise(&self.asker, task, options, completions, deadline).await
            }
        }
    }
}

/// The note of a completion without a score: how many replies there are of those that it takes, and the first failure.
fn too_few(what: &str, given: usize, asked: usize, needed: usize, failure: Option<&JudgeFailure>) -> String {
    let first = failure.map_or_else(String::new, |failure| format!("; the first failure: {failure}"));
    format!("{given} of {asked} {what}, and it takes {needed}{first}")
}

/// The failure of a row whose rubric or caption can't be used.
fn of_row(item: &RewardItem, cause: FailureCause, what: &str) -> JudgeFailure {
    JudgeFailure::new(cause, format!("the row `{}` {what}", item.question.id))
}
