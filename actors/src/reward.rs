//! A reward actor: one component, scoring a step's completions.
//!
//! A score that could not be had stays `None` (REWARD-1); a reward that errs or answers with the wrong number of
//! scores gives `None` for all of them, and says why.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{Reward, RewardBatch};

use crate::slot::Request;

/// The answer to [`RewardMsg::Score`].
pub struct Scored {
    /// In the order of the batch's items.
    pub scores: Vec<Option<f64>>,
    /// Why scores are missing, if the reward said so.
    pub failure: Option<String>,
    /// Time spent in the reward.
    pub seconds: f64,
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
    type State = Box<dyn Reward>;
    type Arguments = Box<dyn Reward>;

    async fn pre_start(
        &self,
        _: ActorRef<RewardMsg>,
        reward: Box<dyn Reward>,
    ) -> Result<Box<dyn Reward>, ActorProcessingErr> {
        Ok(reward)
    }

    async fn handle(
        &self,
        _: ActorRef<RewardMsg>,
        message: RewardMsg,
        reward: &mut Box<dyn Reward>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RewardMsg::Score(request) => {
                if let Some((batch, reply)) = request.begin() {
                    reply.send(score(reward.as_mut(), &batch));
                }
            }
        }
        Ok(())
    }
}

fn score(reward: &mut dyn Reward, batch: &RewardBatch) -> Scored {
    let started = Instant::now();
    let wanted = batch.items.len();
    let (scores, failure) = match reward.score(batch) {
        Ok(scores) if scores.len() == wanted => {
            // A number that is none would poison every mean it enters.
            (scores.into_iter().map(|score| score.filter(|value| value.is_finite())).collect(), None)
        }
        Ok(scores) => {
            (vec![None; wanted], Some(format!("gave {} scores for {wanted} completions", scores.len())))
        }
        Err(error) => (vec![None; wanted], Some(error.to_string())),
    };
    Scored { scores, failure, seconds: started.elapsed().as_secs_f64() }
}
