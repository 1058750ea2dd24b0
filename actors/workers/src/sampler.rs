//! The sampler: generates completions, on a dedicated OS thread.
//!
//! Before each request it loads the newest weights from the [`WeightStore`]; the answer has the version that it used.
//! `batches.rs` decides how many completions are sampled at the same time.

use std::time::Instant;

use model::Policy;
use model::memory::take_peak;
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use runtime::Request;

use crate::batches::Batches;
use crate::compute_slots::ComputeSlots;
use crate::error::WorkerError;
use crate::generated::{GenerateQuery, Generated};
use crate::memory::return_freed_memory;
use crate::threads::use_threads;
use crate::weight_store::WeightStore;

/// The arguments of a [`Sampler`].
#[derive(Clone)]
pub struct SamplerArgs {
    /// The store from which the newest weights are loaded.
    pub weights: WeightStore,
    /// Number of libtorch threads; 0 leaves the choice to libtorch.
    pub threads: usize,
    /// Number of prompts that are answered at the same time; 0 for all of a request.
    pub batch_prompts: usize,
    /// The slots in which the run's samplers and optimizers compute.
    pub compute_slots: ComputeSlots,
    /// Whether a token's step is replayed as a CUDA graph where that is possible.
    pub cuda_graphs: bool,
}

/// Messages to the sampler.
pub enum SamplerMsg {
    /// Sample the completions of a step or of an evaluation.
    Generate(Request<GenerateQuery, Result<Generated, WorkerError>>),
}

/// The actor that owns a copy of the policy for sampling.
#[derive(Default)]
pub struct Sampler;

/// The policy from which the sampler draws, and the version of its weights.
pub struct SamplerState {
    weights: WeightStore,
    policy: Policy,
    policy_version: Option<u64>,
    batches: Batches,
    compute_slots: ComputeSlots,
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
        let policy = args.weights.replica()?.with_cuda_graphs(args.cuda_graphs);
        Ok(SamplerState {
            batches: Batches::new(policy.device(), args.batch_prompts),
            policy,
            weights: args.weights,
            policy_version: None,
            compute_slots: args.compute_slots,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<SamplerMsg>,
        message: SamplerMsg,
        state: &mut SamplerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SamplerMsg::Generate(request) => {
                let slots = state.compute_slots.clone();
                let _slot = slots.take().await;
                if let Some((query, reply)) = request.begin() {
                    let generated = reply.work().in_scope(|| state.generate(&query));
                    reply.send(generated);
                    return_freed_memory();
                }
            }
        }
        Ok(())
    }
}

impl SamplerState {
    fn generate(&mut self, query: &GenerateQuery) -> Result<Generated, WorkerError> {
        let started = Instant::now();
        if let Some(newest) = self.weights.newer_than(self.policy_version) {
            self.policy.load_trainable(&newest.trainable)?;
            self.policy_version = Some(newest.policy_version);
        }
        let device = self.policy.device();
        let _ = take_peak(device);
        let completions = self.batches.generate(&self.policy, query)?;
        Ok(Generated {
            completions,
            memory_splits: self.batches.take_splits(),
            memory: take_peak(device),
            policy_version: self.policy_version.unwrap_or_default(),
            seconds: started.elapsed().as_secs_f64(),
            ..Generated::default()
        })
    }
}
