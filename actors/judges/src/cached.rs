//! A judge with a memory: what was judged before is not asked again.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rewards::JudgeRequest;
use rewards::judge::guard::content_hash;
use tokio::time::Instant;

use crate::store::{VerdictKey, VerdictStore};
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, Usage};

/// Asks `judge` for the verdicts that are not kept.
pub struct Cached<J> {
    /// Who judges.
    pub judge: J,
    /// Who judges and how, in one text: another identity, another verdict.
    pub identity: String,
    /// What it keeps.
    pub store: Arc<VerdictStore>,
}

impl<J: AsyncJudge> Cached<J> {
    fn key(&self, request: &JudgeRequest) -> VerdictKey {
        let mut texts = vec![self.identity.as_str(), &request.think, &request.answer, &request.question.text];
        texts.extend(request.question.choices.iter().map(String::as_str));
        content_hash(&texts)
    }

    async fn judge_all(&self, requests: &[JudgeRequest], deadline: Instant) -> Vec<Judgement> {
        let keys: Vec<VerdictKey> = requests.iter().map(|request| self.key(request)).collect();
        let kept = self.store.get(keys.clone()).await;
        // The policy says the same thing more than once in a group: that is asked once.
        let mut places: HashMap<VerdictKey, usize> = HashMap::new();
        let mut asked = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            if kept[place].is_none() && !places.contains_key(key) {
                places.insert(*key, asked.len());
                asked.push(requests[place].clone());
            }
        }
        let said = if asked.is_empty() { Vec::new() } else { self.judge.judge_all(&asked, deadline).await };
        let new = places.iter().filter(|(_, place)| said[**place].failure.is_none());
        self.store.put(new.map(|(key, place)| (*key, said[*place].verdict.clone())).collect()).await;

        let mut first = vec![true; said.len()];
        let hit = Usage { lookups: 1, hits: 1, ..Usage::default() };
        keys.iter()
            .zip(kept)
            .map(|(key, kept)| match kept {
                Some(verdict) => Judgement { verdict, usage: hit, ..Judgement::default() },
                None => {
                    let place = places[key];
                    let mut judgement = said[place].clone();
                    if std::mem::replace(&mut first[place], false) {
                        judgement.usage.lookups += 1;
                    } else {
                        judgement.usage = hit;
                    }
                    judgement
                }
            })
            .collect()
    }
}

impl<J: AsyncJudge> AsyncJudge for Cached<J> {
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        self.judge_all(requests, deadline).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        self.judge.probe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use rewards::{FailureCause, JudgeFailure, Verdict};

    use super::*;

    /// Gives 0.1 for each letter of the thinking; fails over none.
    #[derive(Default)]
    struct Counts(Mutex<Vec<String>>);

    impl AsyncJudge for Counts {
        fn judge_all<'a>(
            &'a self,
            requests: &'a [JudgeRequest],
            _: Instant,
        ) -> BoxFuture<'a, Vec<Judgement>> {
            self.0.lock().unwrap().extend(requests.iter().map(|request| request.think.clone()));
            let judge = |request: &JudgeRequest| match request.think.len() {
                0 => Judgement::failed(JudgeFailure::new(FailureCause::Empty, "nothing")),
                letters => {
                    let think_quality = Some(letters as f64 / 10.0);
                    let verdict = Verdict { think_quality, ..Verdict::default() };
                    Judgement { verdict, ..Judgement::default() }
                }
            };
            async move { requests.iter().map(judge).collect() }.boxed()
        }
    }

    #[tokio::test]
    async fn equal_requests_are_asked_once_and_failures_are_not_kept() {
        let store = Arc::new(VerdictStore::open(None, 100, 1));
        let cached = Cached { judge: Counts::default(), identity: "counts".to_owned(), store };
        let request = |think: &str| JudgeRequest {
            question: Default::default(),
            think: think.to_owned(),
            answer: String::new(),
        };
        let requests = ["abc", "", "a", "abc", ""].map(request);
        let deadline = Instant::now() + Duration::from_secs(1);
        let qualities = |judged: &[Judgement]| -> Vec<Option<f64>> {
            judged.iter().map(|judgement| judgement.verdict.think_quality).collect()
        };
        let expected = [Some(0.3), None, Some(0.1), Some(0.3), None];
        let first = cached.judge_all(&requests, deadline).await;
        assert_eq!(qualities(&first), expected);
        assert_eq!(*cached.judge.0.lock().unwrap(), ["abc", "", "a"]);
        let hits = |judged: &[Judgement]| judged.iter().map(|judgement| judgement.usage.hits).sum::<u64>();
        assert_eq!(hits(&first), 2);
        let second = cached.judge_all(&requests, deadline).await;
        assert_eq!(qualities(&second), expected);
        assert_eq!(*cached.judge.0.lock().unwrap(), ["abc", "", "a", ""], "only the failure is asked again");
        assert_eq!(second.iter().filter(|judgement| judgement.failure.is_some()).count(), 2);
    }
}
