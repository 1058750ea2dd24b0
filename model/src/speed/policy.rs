//! How fast a policy generates and trains on a device, phase by phase, for `sandbox bench`.
//!
//! The policy must have no end-of-sequence token, so that every completion has the length that is asked for.

use std::sync::Arc;
use std::time::Instant;

use audio::LogMel;
use serde::Serialize;
use tch::{Device, Tensor};

use crate::error::ModelError;
use crate::logprobs::Group;
use crate::loss::{GrpoConfig, LossInputs, Normalizer, grpo_loss};
use crate::optim::{AdamW, AdamWConfig, OptimError};
use crate::policy::Policy;
use crate::processor::Prompt;
use crate::sampling::{Completion, SamplingParams};

const LEARNING_RATE: f64 = 1e-6;
const QUESTION: &str = "What is it?";

/// Most completions of the same prompt when generation is measured.
const LARGEST_GROUP: usize = 8;

/// What a step has to do.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The clips that the prompts ask about, one each.
    pub clips: Vec<LogMel>,
    /// Completions of each prompt.
    pub group_size: usize,
    /// Tokens of each completion.
    pub tokens: usize,
}

/// The speed of generation for one number of completions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decoding {
    /// Completions that are generated at the same time, up to eight of the same prompt.
    pub batch: usize,
    /// Kernels of a token's step, if it was replayed as a CUDA graph; `None` if libtorch launched its operations one by one.
    pub launches: Option<usize>,
    /// Time until each completion has its first token, with the clips' features still to be encoded.
    pub prefill_seconds: f64,
    /// Tokens of all completions per second, after the first.
    pub tokens_per_second: f64,
}

/// A phase of a GRPO step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// `generation`, `policy`, `reference`, `backward` or `optimizer`.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// Completions of the workload's prompts, for a comparison with another implementation.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Token ids of each prompt.
    pub prompts: Vec<Vec<i64>>,
    /// Token ids of each completion, those of a prompt next to each other.
    pub completions: Vec<Vec<i64>>,
    /// Their log-probabilities as they were drawn.
    pub sampled: Vec<Vec<f32>>,
    /// The same, computed by the learner.
    pub policy: Vec<Vec<f32>>,
}

/// A policy that can't be measured.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// It has no replica.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It has nothing to train.
    #[error(transparent)]
    Optimizer(#[from] OptimError),
}

/// A policy with the replica that samples, its reference and its optimizer, as an arm has them.
pub struct PolicySpeed {
    workload: Workload,
    params: SamplingParams,
    policy: Policy,
    sampler: Policy,
    reference: Policy,
    adamw: AdamW,
}

impl PolicySpeed {
    /// Prepares a policy that is open for training.
    ///
    /// Errors: Its replica or its optimizer can't be made.
    pub fn new(policy: Policy, workload: Workload) -> Result<PolicySpeed, SpeedError> {
        Ok(PolicySpeed {
            params: SamplingParams { max_new_tokens: workload.tokens, ..Default::default() },
            sampler: policy.replica()?,
            reference: policy.reference()?,
            adamw: AdamW::new(policy.trainable(), AdamWConfig::default())?,
            workload,
            policy,
        })
    }

    /// `count` prompts about the clips in turn. Each call copies the clips, so that their features are not in the cache.
    fn prompts(&self, count: usize) -> Result<Vec<Prompt>, ModelError> {
        let prompt = |clip: &LogMel| self.policy.processor().prompt(QUESTION, &[Arc::new(clip.clone())]);
        self.workload.clips.iter().cycle().take(count).map(prompt).collect()
    }

    /// Generates completions of the workload's prompts and computes their log-probabilities.
    ///
    /// Errors: Those of [`Policy::generate`] and [`Policy::logprobs`].
    pub fn sample(&self) -> Result<Sample, ModelError> {
        let prompts = self.prompts(self.workload.clips.len())?;
        let (completions, logprobs) = self.completions_and_logprobs()?;
        Ok(Sample {
            prompts: prompts.iter().map(|prompt| prompt.ids.clone()).collect(),
            completions: completions.iter().map(|completion| completion.ids.clone()).collect(),
            sampled: completions.iter().map(|completion| completion.logprobs.clone()).collect(),
            policy: Vec::try_from(logprobs.to_device(Device::Cpu))?,
        })
    }

    /// Completions of the workload's prompts, and the learner's log-probabilities of them, `[completions, tokens]`.
    pub(super) fn completions_and_logprobs(&self) -> Result<(Vec<Completion>, Tensor), ModelError> {
        let prompts = self.prompts(self.workload.clips.len())?;
        let completions = self.generate(&prompts, 0)?;
        let logprobs = self.policy.logprobs(&groups(&prompts, &completions), 1.0)?.logprobs;
        Ok((completions, logprobs))
    }

    /// Kernels of the step that the last generation replayed; `None` if it was without a graph.
    pub(super) fn launches(&self) -> Option<usize> {
        self.sampler.launches_per_token()
    }

    /// Switches CUDA graphs on or off for what is measured from now on.
    pub fn use_cuda_graphs(&self, on: bool) {
        self.sampler.use_cuda_graphs(on);
    }

    /// Measures generation with `batch` completions: the fastest of four tries.
    ///
    /// Errors: Those of [`Policy::generate`].
    pub fn decode(&self, batch: usize) -> Result<Decoding, ModelError> {
        let group = batch.min(LARGEST_GROUP);
        let seeds: Vec<u64> = (0..batch as u64).collect();
        let time = |prompts: &[Prompt], max_new_tokens: usize| -> Result<f64, ModelError> {
            let params = SamplingParams { max_new_tokens, ..self.params };
            let started = Instant::now();
            self.sampler.generate(prompts, group, &params, &seeds)?;
            Ok(started.elapsed().as_secs_f64())
        };
        let (mut first, mut one, mut all) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        for _ in 0..4 {
            let prompts = self.prompts(batch / group)?;
            first = first.min(time(&prompts, 1)?);
            // The clips' features are in the cache now, so that only the decoder is measured.
            one = one.min(time(&prompts, 1)?);
            all = all.min(time(&prompts, 1 + self.params.max_new_tokens)?);
        }
        let tokens = (batch * self.params.max_new_tokens) as f64;
        let tokens_per_second = tokens / (all - one).max(1e-9);
        let launches = self.launches();
        Ok(Decoding { batch, launches, prefill_seconds: first, tokens_per_second })
    }

    /// Takes one GRPO step with made-up advantages. `step` seeds the draws.
    ///
    /// Errors: Those of the policy's methods.
    pub fn step(&mut self, step: u64) -> Result<Vec<Phase>, ModelError> {
        let prompts = self.prompts(self.workload.clips.len())?;
        let mut clock = Clock::start(self.policy.device());

        let completions = self.generate(&prompts, step)?;
        clock.end("generation");
        let groups = groups(&prompts, &completions);
        let current = self.policy.forward(&groups, 1.0, step)?;
        clock.end("policy");
        let reference = self.reference.logprobs(&groups, 1.0)?.logprobs;
        clock.end("reference");
        let advantages: Vec<f32> = (0..completions.len()).map(|index| [1.0, -1.0][index % 2]).collect();
        let advantages = Tensor::from_slice(&advantages).to_device(self.policy.device());
        let lengths = completions.iter().map(|completion| completion.ids.len());
        let loss = grpo_loss(
            &LossInputs {
                logprobs: &current.logprobs,
                old_logprobs: None,
                sampling_logprobs: None,
                correction: None,
                covariant: None,
                entropy: None,
                ref_logprobs: Some(&reference),
                advantages: &advantages,
                mask: &current.mask,
                normalizer: Normalizer::of_lengths(lengths, self.params.max_new_tokens),
            },
            &GrpoConfig::default(),
        );
        self.adamw.zero_grad();
        current.backward(&loss.loss)?;
        clock.end("backward");
        self.adamw.step(LEARNING_RATE);
        self.sampler.load_trainable(&self.policy.publish())?;
        clock.end("optimizer");
        Ok(clock.phases)
    }

    fn generate(&self, prompts: &[Prompt], step: u64) -> Result<Vec<Completion>, ModelError> {
        let count = (prompts.len() * self.workload.group_size) as u64;
        let seeds: Vec<u64> = (0..count).map(|seed| seed + step * count).collect();
        self.sampler.generate(prompts, self.workload.group_size, &self.params, &seeds)
    }
}

fn groups<'a>(prompts: &'a [Prompt], completions: &'a [Completion]) -> Vec<Group<'a>> {
    let group = |(prompt, own): (&'a Prompt, &'a [Completion])| Group {
        prompt,
        completions: own.iter().map(|completion| &completion.ids[..]).collect(),
    };
    prompts.iter().zip(completions.chunks(completions.len() / prompts.len())).map(group).collect()
}

/// Measures consecutive phases. Waits for the device at the end of each.
struct Clock {
    device: Device,
    last: Instant,
    phases: Vec<Phase>,
}

impl Clock {
    fn start(device: Device) -> Clock {
        Clock { device, last: Instant::now(), phases: Vec::new() }
    }

    fn end(&mut self, name: &'static str) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
        let now = Instant::now();
        self.phases.push(Phase { name, seconds: (now - self.last).as_secs_f64() });
        self.last = now;
    }
}
