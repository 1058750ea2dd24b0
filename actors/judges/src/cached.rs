//! A judge behind a verdict cache: a request that was judged before is answered from the [`VerdictStore`].
//!
//! Failures are not cached, so they are asked again. Equal requests of one batch are asked once.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rewards::JudgeRequest;
use rewards::judge::guard::content_hash;
use tokio::time::Instant;

use crate::clip::{JudgeClip, JudgeClips, clip_at};
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, Usage};
use crate::store::{VerdictKey, VerdictStore};

/// A judge whose verdicts can be cached.
pub trait Identified {
    /// All on which a verdict depends besides the request, in one text: settings, prompts, model and server. It is part
    /// of the cache key.
    fn identity(&self) -> String;

    /// A hash of what it hears of a clip, which is part of the cache key too; `None` if it hears nothing of it.
    fn hears(&self, clip: &Arc<JudgeClip>) -> Option<String> {
        let _ = clip;
        None
    }
}

/// `judge`, asked only for verdicts that are not in `store`.
pub struct Cached<J> {
    pub judge: J,
    pub store: Arc<VerdictStore>,
}

impl<J: AsyncJudge + Identified> Cached<J> {
    fn key(&self, identity: &str, request: &JudgeRequest, clip: Option<&Arc<JudgeClip>>) -> VerdictKey {
        let mut texts = vec![identity, &request.think, &request.answer, &request.question.text];
        texts.extend(request.question.choices.iter().map(String::as_str));
        let heard = clip.and_then(|clip| self.judge.hears(clip));
        texts.extend(heard.as_deref());
        content_hash(&texts)
    }

    async fn judge_all(
        &self,
        requests: &[JudgeRequest],
        clips: &JudgeClips,
        deadline: Instant,
    ) -> Vec<Judgement> {
        let identity = self.judge.identity();
        let keys: Vec<VerdictKey> = requests
            .iter()
            .enumerate()
            .map(|(place, request)| self.key(&identity, request, clip_at(clips, place)))
            .collect();
        let cached = self.store.get(keys.clone()).await;
        // Completions of a group can be equal; each text is asked once.
        let mut index_of: HashMap<VerdictKey, usize> = HashMap::new();
        let (mut misses, mut missing_clips) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            if cached[place].is_none() && !index_of.contains_key(key) {
                index_of.insert(*key, misses.len());
                misses.push(requests[place].clone());
                // Without any clips, as in a calibration, the judge does not miss them.
                missing_clips.extend(clips.get(place).cloned());
            }
        }
        let judged = match misses.is_empty() {
            true => Vec::new(),
            false => self.judge.judge_heard(&misses, &missing_clips, deadline).await,
        };
        let new = index_of.iter().filter(|(_, index)| judged[**index].failure.is_none());
        self.store.put(new.map(|(key, index)| (*key, judged[*index].verdict.clone())).collect()).await;

        // The first of several equal requests carries the cost; the others count as hits.
        let mut first = vec![true; judged.len()];
        let hit = Usage { lookups: 1, hits: 1, ..Usage::default() };
        keys.iter()
            .zip(cached)
            .map(|(key, cached)| match cached {
                Some(verdict) => Judgement { verdict, usage: hit, ..Judgement::default() },
                None => {
                    let index = index_of[key];
                    let mut judgement = judged[index].clone();
                    if std::mem::replace(&mut first[index], false) {
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

impl<J: AsyncJudge + Identified> AsyncJudge for Cached<J> {
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        self.judge_all(requests, &[], deadline).boxed()
    }

    fn judge_heard<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        clips: &'a JudgeClips,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        self.judge_all(requests, clips, deadline).boxed()
    }

    /// The verdicts are not kept either, so that those of before stay what the judge is compared with.
    fn judge_anew<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        clips: &'a JudgeClips,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        self.judge.judge_anew(requests, clips, deadline)
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

    /// A judge whose quality is 0.1 per letter of the thinking, and which fails on empty thinking.
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

    impl Identified for Counts {
        fn identity(&self) -> String {
            "counts".to_owned()
        }
    }

    #[tokio::test]
    async fn equal_requests_are_asked_once_and_failures_are_not_cached() {
        let store = Arc::new(VerdictStore::open(None, 100, 1));
        let cached = Cached { judge: Counts::default(), store };
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
        let first = AsyncJudge::judge_all(&cached, &requests, deadline).await;
        assert_eq!(qualities(&first), expected);
        assert_eq!(*cached.judge.0.lock().unwrap(), ["abc", "", "a"]);
        let hits = |judged: &[Judgement]| judged.iter().map(|judgement| judgement.usage.hits).sum::<u64>();
        assert_eq!(hits(&first), 2);
        let second = AsyncJudge::judge_all(&cached, &requests, deadline).await;
        assert_eq!(qualities(&second), expected);
        assert_eq!(*cached.judge.0.lock().unwrap(), ["abc", "", "a", ""], "only the failure is asked again");
        assert_eq!(second.iter().filter(|judgement| judgement.failure.is_some()).count(), 2);
        let anew = cached.judge_anew(&requests[..1], &[], deadline).await;
        assert_eq!((qualities(&anew), hits(&anew)), (vec![Some(0.3)], 0));
        assert_eq!(
            cached.judge.0.lock().unwrap().len(),
            5,
            "the judge is asked although the verdict is cached"
        );
    }

    /// A judge that gives its own grade to every request, and counts the requests.
    struct Grades(String, f64, Arc<Mutex<u64>>);

    impl Identified for Grades {
        fn identity(&self) -> String {
            self.0.clone()
        }
    }

    impl AsyncJudge for Grades {
        fn judge_all<'a>(
            &'a self,
            requests: &'a [JudgeRequest],
            _: Instant,
        ) -> BoxFuture<'a, Vec<Judgement>> {
            *self.2.lock().unwrap() += requests.len() as u64;
            let verdict = Verdict { consistency: Some(1.0), think_quality: Some(self.1), note: None };
            let judgement = Judgement { verdict, ..Judgement::default() };
            async move { vec![judgement; requests.len()] }.boxed()
        }
    }

    /// KEPT-1: random requests to random judges, with the file closed and opened between them, against a set of what was
    /// asked before.
    #[tokio::test]
    async fn a_verdict_is_found_by_the_judge_that_gave_it_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.sqlite");
        let mut noise = 11_u64;
        let mut below = |most: u64| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) % most
        };
        let asked = Arc::new(Mutex::new(0));
        let mut known = std::collections::BTreeSet::new();
        let mut store = Arc::new(VerdictStore::open(Some(&file), 5, 10));
        for _ in 0..400 {
            if below(10) == 0 {
                store = Arc::new(VerdictStore::open(Some(&file), 5, 10));
            }
            let (judge, thought) = (below(4), below(12));
            let grade = judge as f64 / 10.0;
            let judge = Grades(format!("judge {judge}"), grade, asked.clone());
            let request = JudgeRequest {
                question: Default::default(),
                think: format!("thought {thought}"),
                answer: String::new(),
            };
            let cached = Cached { judge, store: store.clone() };
            let deadline = Instant::now() + Duration::from_secs(1);
            let judged = AsyncJudge::judge_all(&cached, &[request], deadline).await;
            assert_eq!(judged[0].verdict.think_quality, Some(grade));
            known.insert((cached.judge.0, thought));
            assert_eq!(*asked.lock().unwrap(), known.len() as u64);
        }
        assert_eq!(known.len(), 48, "every judge was asked about every thought");
    }
}
