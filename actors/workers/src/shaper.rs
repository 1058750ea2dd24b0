//! The shaper: turns component scores into rewards and advantages, with the formula and the weights of the step.
//!
//! It has no state: formula, weights and options come with each request; the answer has their version (LIVE-1).

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{AdvantageOptions, Advantages, Formula, Weights, shaped_advantages};
use runtime::Request;

/// The scores of a step by reward component, each in the order of the completions.
pub type Components = BTreeMap<String, Vec<Option<f64>>>;

/// The scores of a step, and how to shape them.
#[derive(Clone)]
pub struct ShapeQuery {
    /// Scores of all completions of the step.
    pub components: Arc<Components>,
    /// Number of completions per prompt.
    pub group_size: usize,
    /// The formula that combines the components to one reward.
    pub formula: Arc<Formula>,
    /// Values of the formula's weights at this step.
    pub weights: Weights,
    /// How advantages are computed from the rewards.
    pub advantages: AdvantageOptions,
    /// What is subtracted from the reward of each completion before rewards are compared; `None` for nothing.
    pub penalties: Option<Vec<f64>>,
    /// Whether each completion thinks.
    pub thinks: Vec<bool>,
}

/// The answer to [`ShaperMsg::Shape`].
pub struct Shaped {
    /// Reward per completion, without penalties; `None` where a component the formula uses is missing.
    pub rewards: Vec<Option<f64>>,
    /// Advantages of the rewards within their groups.
    pub advantages: Advantages,
    /// Version of the weights that were used.
    pub weights_version: u64,
}

impl ShapeQuery {
    fn shape(&self) -> Shaped {
        let ShapeQuery { components, group_size, formula, weights, advantages, penalties, thinks } = self;
        let penalties = penalties.as_deref();
        let (rewards, advantages) =
            shaped_advantages(formula, components, weights, *group_size, advantages, penalties, thinks);
        Shaped { rewards, advantages, weights_version: self.weights.version }
    }
}

/// Messages to the shaper.
pub enum ShaperMsg {
    /// Compute the rewards and advantages of a step.
    Shape(Request<ShapeQuery, Shaped>),
}

/// The actor that computes rewards and advantages.
pub struct Shaper;

impl Actor for Shaper {
    type Msg = ShaperMsg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<ShaperMsg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<ShaperMsg>,
        message: ShaperMsg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShaperMsg::Shape(request) => {
                if let Some((query, reply)) = request.begin() {
                    reply.send(query.shape());
                }
            }
        }
        Ok(())
    }
}
