//! Audio features, audio-language models, sampling, losses, checkpoints.

pub mod audio;
mod audio_tower;
pub mod checkpoint;
mod clip_cache;
pub mod config;
mod decoder;
pub mod device;
mod error;
mod generate;
mod kv_cache;
mod logprobs;
pub mod loss;
mod nn;
pub mod optim;
mod params;
mod policy;
mod processor;
mod qwen2_audio;
mod rng;
mod sampling;

pub use audio_tower::ClipFeatures;
pub use error::ModelError;
pub use logprobs::{Group, GroupLogprobs};
pub use policy::{Policy, PolicyOptions};
pub use processor::{Processor, Prompt};
pub use sampling::{Completion, Finish, SamplingParams};
