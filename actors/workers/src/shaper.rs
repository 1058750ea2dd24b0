//! The shaper: component scores in, shaped rewards and advantages out, under the formula and the weights of the step.
//!
//! It keeps neither: they come with each request, and every answer carries their version (LIVE-1).

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{AdvantageOptions, Advantages, Formula, Weights, advantages, shape};
use runtime::Request;

/// Scores of a step by component, each in the order of the completions.
pub type Components = BTreeMap<String, Vec<Option<f64>>>;

/// What to shape.
#[derive(Clone)]
pub struct ShapeQuery {
    /// Scores of all completions of the step.
    pub components: Arc<Components>,
    /// Completions of one prompt.
    pub group_size: usize,
    /// How components become one reward.
    pub formula: Arc<Formula>,
    /// The weights of the step.
    pub weights: Weights,
}

/// The answer to [`ShaperMsg::Shape`].
pub struct Shaped {
    /// Reward per completion; `None` where a component the formula uses is missing.
    pub rewards: Vec<Option<f64>>,
    /// What they are worth within their groups.
    pub advantages: Advantages,
    /// Version of the weights that made them.
    pub weights_version: u64,
}

/// What a shaper is made of.
#[derive(Clone)]
pub struct ShaperArgs {
    /// How rewards become advantages.
    pub advantages: AdvantageOptions,
}

/// Messages to the shaper.
pub enum ShaperMsg {
    /// Shape these scores.
    Shape(Request<ShapeQuery, Shaped>),
}

/// The actor.
pub struct Shaper;

impl Actor for Shaper {
    type Msg = ShaperMsg;
    type State = ShaperArgs;
    type Arguments = ShaperArgs;

    async fn pre_start(
        &self,
        _: ActorRef<ShaperMsg>,
        args: ShaperArgs,
    ) -> Result<ShaperArgs, ActorProcessingErr> {
        Ok(args)
    }

    async fn handle(
        &self,
        _: ActorRef<ShaperMsg>,
        message: ShaperMsg,
        state: &mut ShaperArgs,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShaperMsg::Shape(request) => {
                if let Some((query, reply)) = request.begin() {
                    let rewards = shape(&query.formula, &query.components, &query.weights);
                    let advantages = advantages(&rewards, query.group_size, &state.advantages);
                    reply.send(Shaped { rewards, advantages, weights_version: query.weights.version });
                }
            }
        }
        Ok(())
    }
}
