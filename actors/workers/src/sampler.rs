//! The sampler: generates completions, on an OS thread of its own.
//!
//! Before each request it loads the newest published weights; the answer names the version that it used.

use std::time::Instant;

use model::{Completion, ModelError, Policy, Prompt, SamplingParams};
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use runtime::Request;

use crate::error::WorkerError;
use crate::threads::use_threads;
use crate::weight_store::WeightStore;

/// What to sample.
#[derive(Clone)]
pub struct GenerateQuery {
    /// The prompts.
    pub prompts: Vec<Prompt>,
    /// Completions of each.
    pub group_size: usize,
    /// Temperature and the like.
    pub params: SamplingParams,
    /// One seed per completion, prompt-major.
    pub seeds: Vec<u64>,
}

/// The answer to [`SamplerMsg::Generate`].
pub struct Generated {
    /// Prompt-major.
    pub completions: Vec<Completion>,
    /// Version of the weights that made them.
    pub policy_version: u64,
    /// Time spent sampling.
    pub seconds: f64,
}

/// What a sampler is made of.
#[derive(Clone)]
pub struct SamplerArgs {
    /// Where its weights come from.
    pub weights: WeightStore,
    /// Torch threads; 0 leaves libtorch's own choice.
    pub threads: usize,
}

/// Messages to the sampler.
pub enum SamplerMsg {
    /// Sample completions.
    Generate(Request<GenerateQuery, Result<Generated, WorkerError>>),
}

/// The actor.
#[derive(Default)]
pub struct Sampler;

/// The policy it samples from and the version of its weights.
pub struct SamplerState {
    weights: WeightStore,
    policy: Policy,
    policy_version: Option<u64>,
}

impl ThreadLocalActor for Sampler {
    type Msg = SamplerMsg;
    type State = SamplerState;
    type Arguments = SamplerArgs;

    async fn pre_start(
        &self,
        _: ActorRef<SamplerMsg>,
        args: SamplerArgs,
    ) -> Result<SamplerState, ActorProcessingErr> {
        use_threads(args.threads);
        Ok(SamplerState { policy: args.weights.replica()?, weights: args.weights, policy_version: None })
    }

    async fn handle(
        &self,
        _: ActorRef<SamplerMsg>,
        message: SamplerMsg,
        state: &mut SamplerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SamplerMsg::Generate(request) => {
                if let Some((query, reply)) = request.begin() {
                    reply.send(state.generate(&query).map_err(WorkerError::from));
                }
            }
        }
        Ok(())
    }
}

impl SamplerState {
    fn generate(&mut self, query: &GenerateQuery) -> Result<Generated, ModelError> {
        let started = Instant::now();
        if let Some(newest) = self.weights.newer_than(self.policy_version) {
            self.policy.load_trainable(&newest.trainable)?;
            self.policy_version = Some(newest.policy_version);
        }
        let completions =
            self.policy.generate(&query.prompts, query.group_size, &query.params, &query.seeds)?;
        Ok(Generated {
            completions,
            policy_version: self.policy_version.unwrap_or_default(),
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}
