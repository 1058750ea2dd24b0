//! What the optimizer is made of, what it is asked, and what it answers.

use std::path::PathBuf;
use std::sync::Arc;

use model::loss::LossMetrics;
use model::optim::{AdamWConfig, LrSchedule};
use model::{NonFiniteTensor, SpokenClip};
use records::{ConditionsRecord, Progress, RecordSums, WrittenCheckpoint};
use runtime::Request;

use crate::coefficients::{EntropyControl, KlControl};
use crate::compute_slots::ComputeSlots;
use crate::error::WorkerError;
use crate::peaks::PhaseMemory;
use crate::ranks::ArmRanks;
use crate::ratios::SamplingRatios;
use crate::train_group::{GrpoBatch, SampledKl, SampledKlQuery, SftGroup};
use crate::weight_store::WeightStore;

/// The clips of a step that fits the projector, with the words that are spoken in them.
#[derive(Clone)]
pub struct AlignBatch {
    /// The clips, with indices into `vocabulary`.
    pub clips: Vec<SpokenClip>,
    /// The token ids of all words of the data; the last is that of a pause.
    pub vocabulary: Arc<[i64]>,
}

/// The folder of a checkpoint, and what is stored beside the weights.
#[derive(Clone)]
pub struct CheckpointQuery {
    /// The checkpoint's folder, which is replaced if it exists.
    pub folder: PathBuf,
    /// The arm's progress, stored in `state.json`.
    pub progress: Progress,
    /// The conditions of the next step, stored in `state.json`; `None` for a supervised arm.
    pub conditions: Option<ConditionsRecord>,
    /// The arm's records so far, stored in `state.json`.
    pub records: RecordSums,
}

/// The results of a training step.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// Version of the weights after the step.
    pub policy_version: u64,
    /// Loss of the last iteration over the completions.
    pub loss: f64,
    /// Metrics of the GRPO loss; `None` for a supervised step.
    pub metrics: Option<LossMetrics>,
    /// How far the policy that sampled was from this one; `None` if that is not measured.
    pub ratios: Option<SamplingRatios>,
    /// Fraction of the audio tokens within words that are nearest to their word, before the step; `None` for a step that
    /// does not fit the projector.
    pub align_accuracy: Option<f64>,
    /// Weight of the KL divergence in this step; `None` if it does not follow a target.
    pub kl_coef: Option<f64>,
    /// Weight of the entropy bonus in this step; `None` if it does not follow a target.
    pub entropy_coef: Option<f64>,
    /// L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Number of optimizer steps that changed the weights.
    pub applied: u64,
    /// Number of optimizer steps that were skipped, because the gradient was not finite.
    pub skipped: u64,
    /// The tensors that were not finite when a step was skipped.
    pub nonfinite: Vec<NonFiniteTensor>,
    /// Learning rate of the step.
    pub lr: f64,
    /// Number of completion tokens in the loss.
    pub tokens: u64,
    /// How often micro-batches were halved because memory did not suffice.
    pub memory_splits: u64,
    /// The memory of the device in the phases of the step.
    pub memory: PhaseMemory,
    /// Duration of the step, in seconds.
    pub seconds: f64,
}

/// The arguments of an [`Optimizer`](super::Optimizer).
#[derive(Clone)]
pub struct OptimizerArgs {
    /// The store that the policy comes from, and to which new versions are published.
    pub weights: WeightStore,
    /// Weight of the KL divergence at the beginning, in arms in which it follows a target.
    pub kl_coef: f64,
    /// Weight of the entropy bonus at the beginning, likewise.
    pub entropy_coef: f64,
    /// Whether the KL divergence is subtracted from the rewards instead of being a term of the loss.
    pub kl_in_reward: bool,
    /// The target that the weight of the KL divergence follows.
    pub kl_control: Option<KlControl>,
    /// The target that the weight of the entropy bonus follows.
    pub entropy_control: Option<EntropyControl>,
    /// Prompts per micro-batch; 0 for all prompts at once.
    pub micro_batch_prompts: usize,
    /// Largest number of tokens of a completion, by which the Dr. GRPO loss is normalized.
    pub max_new_tokens: usize,
    /// Whether a reference policy is needed (a KL term, GRPO only).
    pub reference: bool,
    /// Settings of AdamW, except the learning rate.
    pub adamw: AdamWConfig,
    /// Learning rate by step, after those of `align`; the rate itself comes with each GRPO step.
    pub schedule: LrSchedule,
    /// Learning rate of the first steps, which fit the projector, relative to the spread of the word embeddings; their
    /// number is its `total_steps`. `None` if there are none.
    pub align: Option<LrSchedule>,
    /// Whether a checkpoint of weights that are not finite is refused.
    pub finite_checkpoints: bool,
    /// Seed of the dropout masks.
    pub seed: u64,
    /// Number of libtorch threads; 0 leaves the choice to libtorch.
    pub threads: usize,
    /// The slots in which the run's samplers and optimizers compute.
    pub compute_slots: ComputeSlots,
    /// The other processes that train the arm; `None` if this one trains alone.
    pub ranks: Option<ArmRanks>,
}

/// Messages to the optimizer.
pub enum OptimizerMsg {
    /// Train on the completions of a GRPO step.
    Grpo(Request<GrpoBatch, Result<StepReport, WorkerError>>),
    /// Measure the KL divergence of sampled completions to the reference policy.
    SampledKl(Request<SampledKlQuery, Result<SampledKl, WorkerError>>),
    /// Train on the targets of a supervised step.
    Sft(Request<Vec<SftGroup>, Result<StepReport, WorkerError>>),
    /// Fit the projector to the words of some clips.
    Align(Request<AlignBatch, Result<StepReport, WorkerError>>),
    /// Write a checkpoint of the present weights and moments.
    Checkpoint(Request<Box<CheckpointQuery>, Result<WrittenCheckpoint, WorkerError>>),
}
