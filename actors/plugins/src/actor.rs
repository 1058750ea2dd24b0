//! The actor that scores the batches of one reward component.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::RewardBatch;
use runtime::Request;
use tracing::Instrument as _;

use crate::scored::Scored;
use crate::scorer::Scorer;

/// Messages to a reward actor.
pub enum RewardMsg {
    /// Score a batch of completions.
    Score(Request<Arc<RewardBatch>, Scored>),
}

/// The actor that owns one [`Scorer`] and passes batches to it, one at a time.
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
                    let work = reply.work();
                    tokio::select! {
                        scored = scorer.score(batch).instrument(work) => reply.send(scored),
                        // A run that is stopping does not wait for a slow reward.
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
