//! A reward actor: one component, scoring a step's completions.
//!
//! [`RewardSource`] is what a scenario says of a reward; it opens a [`Scorer`], which the actor owns. The same source
//! opens the next one after a failure.
//!
//! - `REWARD-1` a score that could not be had stays `None`, and is counted under a [`Cause`]; a reward that errs or
//!   answers with the wrong number of scores gives `None` for all of them, and says why.
//! - `REWARD-4` scoring takes no runtime thread: a reward in Rust runs on one that may block.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::RewardBatch;
use serde::{Deserialize, Serialize};

use crate::slot::Request;

mod scorer;
mod source;
mod trial;

pub use scorer::Scorer;
pub use source::{RewardSource, sample_batch};
pub use trial::{TriedReward, try_plugins};

/// Why a score is missing, as it is counted in `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The reward itself had none for this completion.
    Null,
    /// It was NaN or infinite.
    NotANumber,
    /// There were more or fewer scores than completions.
    WrongLength,
    /// The reward said that it could not score the batch.
    Error,
    /// What came was no answer.
    BadAnswer,
    /// No answer came in time.
    TimedOut,
    /// Its process ended over the batch, twice.
    Died,
    /// It could not be started, or not be reached.
    Unavailable,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What a reward failed with: every score of the batch is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is counted under.
    pub cause: Cause,
    /// One line for people.
    pub message: String,
}

/// The answer to [`RewardMsg::Score`].
#[derive(Clone, Debug)]
pub struct Scored {
    /// In the order of the batch's items.
    pub scores: Vec<Option<f64>>,
    /// How many are missing, by cause.
    pub missing: BTreeMap<Cause, u64>,
    /// Why, if there is more to say than the count.
    pub failure: Option<String>,
    /// Time spent in the reward.
    pub seconds: f64,
}

impl Scored {
    /// What a reward said of `wanted` completions, made sound.
    pub fn of(answer: Result<Vec<Option<f64>>, Failure>, wanted: usize, seconds: f64) -> Self {
        let scores = match answer {
            Ok(scores) if scores.len() == wanted => scores,
            Ok(scores) => {
                let message = format!("gave {} scores for {wanted} completions", scores.len());
                return Self::failed(Failure { cause: Cause::WrongLength, message }, wanted, seconds);
            }
            Err(failure) => return Self::failed(failure, wanted, seconds),
        };
        let mut missing = BTreeMap::new();
        let mut checked = |score: Option<f64>| {
            // A number that is none would poison every mean it enters.
            let sound = score.filter(|value| value.is_finite());
            if sound.is_none() {
                let cause = if score.is_some() { Cause::NotANumber } else { Cause::Null };
                *missing.entry(cause).or_default() += 1;
            }
            sound
        };
        let scores = scores.into_iter().map(&mut checked).collect();
        let failure = missing
            .get(&Cause::NotANumber)
            .map(|count| format!("{count} of {wanted} scores were NaN or infinite; they count as missing"));
        Scored { scores, missing, failure, seconds }
    }

    fn failed(failure: Failure, wanted: usize, seconds: f64) -> Self {
        let missing = if wanted == 0 { BTreeMap::new() } else { [(failure.cause, wanted as u64)].into() };
        Scored { scores: vec![None; wanted], missing, failure: Some(failure.message), seconds }
    }
}

/// Messages to a reward actor.
pub enum RewardMsg {
    /// Score these completions.
    Score(Request<Arc<RewardBatch>, Scored>),
}

/// The actor.
pub struct RewardActor;

impl Actor for RewardActor {
    type Msg = RewardMsg;
    type State = Scorer;
    type Arguments = Scorer;

    async fn pre_start(&self, _: ActorRef<RewardMsg>, scorer: Scorer) -> Result<Scorer, ActorProcessingErr> {
        Ok(scorer)
    }

    async fn handle(
        &self,
        _: ActorRef<RewardMsg>,
        message: RewardMsg,
        scorer: &mut Scorer,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RewardMsg::Score(request) => {
                if let Some((batch, mut reply)) = request.begin() {
                    tokio::select! {
                        scored = scorer.score(batch) => reply.send(scored),
                        // A run that stops does not wait for a reward that is slow.
                        () = reply.abandoned() => {}
                    }
                }
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<RewardMsg>, scorer: &mut Scorer) -> Result<(), ActorProcessingErr> {
        scorer.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_scores_are_counted_by_cause() {
        let scored = Scored::of(Ok(vec![Some(0.5), None, Some(f64::NAN), Some(f64::INFINITY)]), 4, 0.0);
        assert_eq!(scored.scores, [Some(0.5), None, None, None]);
        assert_eq!(scored.missing, [(Cause::Null, 1), (Cause::NotANumber, 2)].into());
        assert_eq!(
            scored.failure.as_deref(),
            Some("2 of 4 scores were NaN or infinite; they count as missing")
        );
        assert_eq!(Scored::of(Ok(vec![None]), 1, 0.0).failure, None, "a reward may have no score");
    }

    #[test]
    fn a_wrong_number_of_scores_is_no_score_at_all() {
        let scored = Scored::of(Ok(vec![Some(1.0); 3]), 2, 0.0);
        assert_eq!(scored.scores, [None, None]);
        assert_eq!(scored.missing, [(Cause::WrongLength, 2)].into());
        assert_eq!(scored.failure.as_deref(), Some("gave 3 scores for 2 completions"));
    }
}
