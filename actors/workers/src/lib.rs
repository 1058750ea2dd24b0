//! The actors that do the work of a training step, one per file.
//!
//! [`Loader`] decodes audio, [`Sampler`] generates completions, [`Shaper`] turns scores into advantages, [`Optimizer`]
//! trains and writes checkpoints, [`Recorder`] writes the run directory. They do not call each other: the conductor
//! (crate `run`) calls them in the order of a step. Sampler and optimizer share the [`WeightStore`].

#![warn(missing_docs)]

mod batches;
mod checkpoint;
mod coefficients;
mod compute_slots;
mod covariance;
mod error;
mod fit;
mod follower;
mod generated;
mod grpo_pass;
mod grpo_settings;
mod grpo_share;
mod loader;
mod memory;
mod micro_batch;
mod optimizer;
mod peaks;
mod ranks;
mod ratios;
mod recorder;
mod sampler;
mod sft_pass;
mod shaper;
mod threads;
mod train_group;
mod weight_store;

pub use checkpoint::resume_checkpoint;
pub use coefficients::{EntropyControl, KlControl};
pub use compute_slots::ComputeSlots;
pub use error::{ClipError, WorkerError};
pub use follower::follow;
pub use generated::{GenerateQuery, Generated, ServerFigures, VersionSpan};
pub use grpo_settings::{CovarianceSettings, GrpoSettings};
pub use loader::{AudioSource, Clip, ClipRequest, HeardClip, Loaded, Loader, LoaderArgs, LoaderMsg, Sound};
pub use optimizer::{AlignBatch, CheckpointQuery, Optimizer, OptimizerArgs, OptimizerMsg, StepReport};
pub use peaks::PhaseMemory;
pub use ranks::{ArmRanks, Opening, Ranks};
pub use ratios::SamplingRatios;
pub use recorder::{Lines, Recorder, RecorderArgs, RecorderMsg};
pub use sampler::{Sampler, SamplerArgs, SamplerMsg};
pub use shaper::{Components, ShapeQuery, Shaped, Shaper, ShaperMsg};
pub use train_group::{GrpoBatch, SampledKl, SampledKlQuery, SftGroup, TrainGroup};
pub use weight_store::{NamedTensors, Published, WeightStore};
