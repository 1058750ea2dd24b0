//! Audio-language models, sampling, losses and checkpoints on libtorch.
//!
//! A [`Policy`] is a model with its [`Processor`]. The processor turns a question and its clips ([`audio::LogMel`])
//! into a [`Prompt`]. [`Policy::generate`] generates [`Completion`]s of prompts. [`Policy::logprobs`] computes the
//! log-probabilities of completions, in [`Group`]s of the same prompt, and [`Policy::forward`] computes them with
//! gradients for a [`loss`]. After the backward pass, [`optim::AdamW`] updates the [`trainable`](Policy::trainable)
//! tensors: the weights, or those of an [`Adapter`].
//!
//! Several policies share the frozen weights. A [`replica`](Policy::replica) samples while the original trains, and the
//! [`reference`](Policy::reference) is the policy that the KL term compares with.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//!
//! use audio::Hearing;
//! use model::{Group, Policy, PolicyOptions, SamplingParams};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = model::device::resolve("auto")?.device;
//! let policy = Policy::open(Path::new("Qwen2-Audio-7B-Instruct"), &PolicyOptions { device, ..Default::default() })?;
//! let processor = policy.processor();
//! let clip = Arc::new(processor.extract(&audio::load(Path::new("dog.wav"), &Hearing::default())?.samples)?);
//! let prompts = [processor.prompt("What animal is it?", &[clip])?];
//!
//! let completions = policy.replica()?.generate(&prompts, 2, &SamplingParams::default(), &[1, 2])?;
//! println!("{}", processor.decode(&completions[0].ids));
//!
//! let group = Group { prompt: &prompts[0], completions: completions.iter().map(|each| &each.ids[..]).collect() };
//! let forward = policy.forward(&[group], 1.0, 0)?;
//! let loss = -forward.logprobs.mean(tch::Kind::Float); // of [2, longest]
//! forward.backward(&loss)?;
//! # Ok(())
//! # }
//! ```

mod align;
mod base;
pub mod checkpoint;
mod choose;
mod clip_cache;
mod compose;
pub mod config;
mod decoder;
pub mod device;
mod dropout;
mod error;
mod forward;
mod generate;
mod graph;
mod init;
mod kv_cache;
mod logprobs;
pub mod lora;
pub mod loss;
pub mod memory;
mod network;
mod nn;
mod opening;
pub mod optim;
mod params;
mod parts;
mod policy;
mod processor;
mod rng;
mod sampling;
pub mod speed;
mod think_budget;
mod tower;

pub use align::{Aligned, SpokenClip, SpokenWord};
pub use base::Bases;
pub use choose::{Chosen, ChosenToken};
pub use compose::{Composed, Parts, compose};
pub use error::{
    CheckpointError, ConfigError, CudaError, DeviceError, GraphError, InputError, ModelError, ProcessorError,
};
pub use forward::Forward;
pub use logprobs::{Entropies, Group, GroupLogprobs};
pub use lora::{Adapter, LoraConfig, TargetModules};
pub use parts::{Trained, lr_factors};
pub use policy::{Fingerprint, NonFiniteTensor, Policy, PolicyOptions};
pub use processor::{Processor, Prompt, Turn};
pub use sampling::{Completion, Finish, SamplingParams};
pub use tower::ClipFeatures;
