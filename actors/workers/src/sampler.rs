//! The sampler: generates completions, on a dedicated OS thread.
//!
//! Before each request it loads the newest weights from the [`WeightStore`]; the answer has the version that it used.
//! `batches.rs` decides how many completions are sampled at the same time.

use std::time::Instant;

use model::memory::take_peak;
use model::{Completion, Policy, Prompt, SamplingParams};
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use runtime::Request;

use crate::batches::Batches;
use crate::compute_slots::ComputeSlots;
use crate::error::WorkerError;
use crate::memory::return_freed_memory;
use crate::threads::use_threads;
use crate::weight_store::WeightStore;

/// The prompts to answer, and how.
#[derive(Clone)]
pub struct GenerateQuery {
    /// The prompts, each answered `group_size` times.
    pub prompts: Vec<Prompt>,
    /// Number of completions per prompt.
    pub group_size: usize,
    /// Temperature, length limit and other sampling settings.
    pub params: SamplingParams,
    /// One seed per completion, in the order of [`Generated::completions`].
    pub seeds: Vec<u64>,
}

/// The answer to [`SamplerMsg::Generate`].
#[derive(Default)]
pub struct Generated {
    /// All completions of the first prompt, then those of the second, and so on, without the prompts of `incomplete`.
    pub completions: Vec<Completion>,
    /// Version of the weights that were used; the oldest if several were.
    pub policy_version: u64,
    /// The versions that drew each completion, if servers did; else empty.
    pub spans: Vec<Vec<VersionSpan>>,
    /// Time for loading the weights and sampling, in seconds.
    pub seconds: f64,
    /// The places of prompts of which a completion had no usable answer, in rising order. Only servers have such.
    pub incomplete: Vec<usize>,
    /// What sampling on servers took; `None` without servers.
    pub servers: Option<ServerFigures>,
    /// How often a batch was halved because memory did not suffice.
    pub memory_splits: u64,
    /// The most memory of the device while sampling, in bytes; see [`take_peak`].
    pub memory: Option<u64>,
}

/// Successive tokens of a completion that one version of the policy drew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionSpan {
    /// The version.
    pub policy_version: u64,
    /// Number of its tokens.
    pub tokens: u64,
}

/// What sampling on servers took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerFigures {
    /// Answers that failed a check and were asked again.
    pub retried: u64,
    /// Completions that were dropped, because all of their answers failed.
    pub dropped: u64,
    /// Completions with tokens of more than one version.
    pub continued: u64,
    /// How often a completion began again with a newer version.
    pub restarted: u64,
    /// The tokens that these had.
    pub restarted_tokens: u64,
    /// How often a completion moved to another server, because its own was slow.
    pub moved: u64,
    /// Largest difference between log-probabilities of the servers and of the policy, for this version of the weights.
    pub canary_gap: Option<f64>,
}

impl ServerFigures {
    /// Adds what further completions took.
    pub fn add(&mut self, other: &ServerFigures) {
        self.retried += other.retried;
        self.dropped += other.dropped;
        self.continued += other.continued;
        self.restarted += other.restarted;
        self.restarted_tokens += other.restarted_tokens;
        self.moved += other.moved;
        let gaps = [self.canary_gap, other.canary_gap];
        self.canary_gap = gaps.into_iter().flatten().reduce(f64::max);
    }
}

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
