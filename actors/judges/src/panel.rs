//! A panel: several judges grade the same completions, and the scores are the mean or the median of theirs.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use scenarios::Aggregate;
use tokio::time::Instant;

use crate::clip::JudgeClips;
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, Usage};

/// A judge that asks all its members.
pub struct Panel {
    pub members: Vec<Arc<dyn AsyncJudge>>,
    pub aggregate: Aggregate,
    /// Members that must give a score for the panel to give one.
    pub quorum: usize,
}

impl AsyncJudge for Panel {
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        self.judge_heard(requests, &[], deadline)
    }

    fn judge_heard<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        clips: &'a JudgeClips,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        let asked = self.members.iter().map(|member| member.judge_heard(requests, clips, deadline));
        self.combine_all(requests.len(), asked.collect())
    }

    fn judge_anew<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        clips: &'a JudgeClips,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        let asked = self.members.iter().map(|member| member.judge_anew(requests, clips, deadline));
        self.combine_all(requests.len(), asked.collect())
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        async move { join_all(self.members.iter().map(|member| member.probe())).await.into_iter().collect() }
            .boxed()
    }
}

impl Panel {
    /// The judgement of each of `count` requests, from the answers of all members.
    fn combine_all<'a>(
        &'a self,
        count: usize,
        asked: Vec<BoxFuture<'a, Vec<Judgement>>>,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        async move {
            let answers = join_all(asked).await;
            let of_members =
                |place: usize| answers.iter().map(|judgements| &judgements[place]).collect::<Vec<_>>();
            (0..count).map(|place| self.combine(&of_members(place))).collect()
        }
        .boxed()
    }

    fn combine(&self, judgements: &[&Judgement]) -> Judgement {
        let mut usage = Usage::default();
        judgements.iter().for_each(|judgement| usage.add(judgement.usage));
        let scores = |score: fn(&Verdict) -> Option<f64>| -> Vec<f64> {
            judgements.iter().filter_map(|judgement| score(&judgement.verdict)).collect()
        };
        let consistency = scores(|verdict| verdict.consistency);
        let quality = scores(|verdict| verdict.think_quality);
        let disagreement =
            [&consistency, &quality].into_iter().filter_map(|scores| spread(scores)).reduce(f64::max);
        let verdict = Verdict {
            consistency: self.aggregate(consistency),
            think_quality: self.aggregate(quality),
            note: None,
        };
        // A member's failure fails the panel only if a score is missing because of it.
        let failed = judgements.iter().find_map(|judgement| judgement.failure.as_ref());
        let missing = verdict.consistency.is_none() || verdict.think_quality.is_none();
        let failure = failed.filter(|_| missing).map(|first| {
            let message =
                format!("fewer than {} of {} members have a score; {first}", self.quorum, judgements.len());
            JudgeFailure::new(FailureCause::NoQuorum, message)
        });
        Judgement { verdict, failure, usage, disagreement }
    }

    fn aggregate(&self, mut scores: Vec<f64>) -> Option<f64> {
        if scores.len() < self.quorum.max(1) {
            return None;
        }
        match self.aggregate {
            Aggregate::Mean => records::statistics::mean(&scores),
            Aggregate::Median => {
                scores.sort_by(f64::total_cmp);
                let middle = scores.len() / 2;
                Some(if scores.len() % 2 == 1 {
                    scores[middle]
                } else {
                    f64::midpoint(scores[middle - 1], scores[middle])
                })
            }
        }
    }
}

/// The difference between the largest and the smallest score; `None` for fewer than two.
fn spread(scores: &[f64]) -> Option<f64> {
    let largest = scores.iter().copied().reduce(f64::max)?;
    let smallest = scores.iter().copied().reduce(f64::min)?;
    (scores.len() > 1).then_some(largest - smallest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(consistency: Option<f64>, think_quality: Option<f64>) -> Judgement {
        let failure = consistency.is_none().then(|| JudgeFailure::new(FailureCause::Timeout, "slow"));
        let verdict = Verdict { consistency, think_quality, note: None };
        Judgement { verdict, failure, ..Judgement::default() }
    }

    fn combine(aggregate: Aggregate, quorum: usize, members: &[Judgement]) -> Judgement {
        Panel { members: Vec::new(), aggregate, quorum }.combine(&members.iter().collect::<Vec<_>>())
    }

    #[test]
    fn mean_and_median_are_over_the_members_with_a_score() {
        let members = [
            judgement(Some(1.0), Some(0.9)),
            judgement(Some(0.0), Some(0.1)),
            judgement(Some(1.0), Some(0.8)),
        ];
        let mean = combine(Aggregate::Mean, 3, &members);
        assert!((mean.verdict.think_quality.unwrap() - 0.6).abs() < 1e-12);
        assert!((mean.verdict.consistency.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(mean.disagreement, Some(1.0));
        let median = combine(Aggregate::Median, 3, &members).verdict;
        assert_eq!((median.consistency, median.think_quality), (Some(1.0), Some(0.8)));
        let two = combine(Aggregate::Median, 2, &members[..2]).verdict;
        assert_eq!((two.consistency, two.think_quality), (Some(0.5), Some(0.5)));
    }

    #[test]
    fn without_a_quorum_there_is_no_score_and_with_one_a_failed_member_does_not_matter() {
        let members =
            [judgement(Some(1.0), Some(0.9)), judgement(None, None), judgement(Some(1.0), Some(0.7))];
        let missing = combine(Aggregate::Mean, 3, &members);
        assert_eq!((missing.verdict.consistency, missing.verdict.think_quality), (None, None));
        assert_eq!(missing.failure.unwrap().cause, FailureCause::NoQuorum);
        let enough = combine(Aggregate::Mean, 2, &members);
        assert!((enough.verdict.think_quality.unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(enough.failure, None);
    }
}
