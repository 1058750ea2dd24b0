//! The rules judge of the crate `rewards` as an [`AsyncJudge`]. It answers at once.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rewards::{FailureCause, Judge, JudgeFailure, JudgeRequest, RulesJudge};
use tokio::time::Instant;

use crate::judgement::{AsyncJudge, Judgement};

impl AsyncJudge for RulesJudge {
    fn judge_all<'a>(&'a self, requests: &'a [JudgeRequest], _: Instant) -> BoxFuture<'a, Vec<Judgement>> {
        let judge = |request| {
            let verdict = self.judge(request);
            let decided = verdict.consistency.is_some() || verdict.think_quality.is_some();
            let undecided = || {
                let message = verdict.note.clone().unwrap_or_default();
                JudgeFailure::new(FailureCause::Undecided, message)
            };
            Judgement { failure: (!decided).then(undecided), verdict, ..Judgement::default() }
        };
        async move { requests.iter().map(judge).collect() }.boxed()
    }
}
