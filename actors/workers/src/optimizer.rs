//! The optimizer: trains the policy, on a dedicated OS thread, and publishes each new version of the weights.
//!
//! A step arrives as prompts with completions and advantages (GRPO), with targets (SFT), or as clips with their words
//! (the fit of the projector). Those with a language model are split into micro-batches, which bounds the memory of a
//! forward and backward pass.
//!
//! - `OPT-1` a step that panics has no effect: the restarted optimizer continues from the last published version.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use model::loss::{GrpoConfig, LossMetrics, sft_loss};
use model::optim::{AdamW, AdamWConfig, LrSchedule};
use model::{Group, ModelError, NonFiniteTensor, Policy, Prompt, SpokenClip};
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use records::{CheckpointState, ConditionsRecord, FormatVersion, Progress, RecordSums, WrittenCheckpoint};
use runtime::Request;
use runtime::seed::{Purpose, derive};

use crate::checkpoint::write_checkpoint;
use crate::coefficients::{Coefficients, EntropyControl, KlControl};
use crate::compute_slots::ComputeSlots;
use crate::error::WorkerError;
use crate::grpo_pass::{GrpoPass, PassSettings, sampled_kl};
use crate::grpo_settings::GrpoSettings;
use crate::memory::return_freed_memory;
use crate::ratios::SamplingRatios;
use crate::threads::use_threads;
use crate::train_group::{GrpoBatch, SampledKl, SampledKlQuery};
use crate::weight_store::{NamedTensors, Published, WeightStore};

/// The target completions of one prompt, for a supervised step.
#[derive(Clone)]
pub struct SftGroup {
    /// The prompt, with its audio features.
    pub prompt: Prompt,
    /// Token ids of each target, including the end token.
    pub targets: Vec<Vec<i64>>,
}

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
    /// Duration of the step, in seconds.
    pub seconds: f64,
}

/// The arguments of an [`Optimizer`].
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

/// The actor that owns the trained copy of the policy and its optimizer.
#[derive(Default)]
pub struct Optimizer;

/// The policy in training, its optimizer, and the reference policy of the KL term.
pub struct OptimizerState {
    args: OptimizerArgs,
    policy: Policy,
    reference: Option<Policy>,
    adamw: AdamW,
    coefficients: Coefficients,
    policy_version: u64,
}

impl ThreadLocalActor for Optimizer {
    type Msg = OptimizerMsg;
    type State = OptimizerState;
    type Arguments = OptimizerArgs;

    async fn pre_start(
        &self,
        _: ActorRef<OptimizerMsg>,
        args: OptimizerArgs,
    ) -> Result<OptimizerState, ActorProcessingErr> {
        use_threads(args.threads);
        OptimizerState::restore(args)
    }

    async fn handle(
        &self,
        _: ActorRef<OptimizerMsg>,
        message: OptimizerMsg,
        state: &mut OptimizerState,
    ) -> Result<(), ActorProcessingErr> {
        let slots = state.args.compute_slots.clone();
        // A checkpoint is written without computing.
        let computes = !matches!(message, OptimizerMsg::Checkpoint(_));
        let _slot = if computes { slots.take().await } else { None };
        match message {
            OptimizerMsg::Grpo(request) => {
                if let Some((batch, reply)) = request.begin() {
                    reply.send(state.grpo_step(&batch).map_err(WorkerError::from));
                    return_freed_memory();
                }
            }
            OptimizerMsg::SampledKl(request) => {
                if let Some((query, reply)) = request.begin() {
                    reply.send(state.sampled_kl(&query).map_err(WorkerError::from));
                }
            }
            OptimizerMsg::Sft(request) => {
                if let Some((groups, reply)) = request.begin() {
                    reply.send(state.sft_step(&groups).map_err(WorkerError::from));
                    return_freed_memory();
                }
            }
            OptimizerMsg::Align(request) => {
                if let Some((batch, reply)) = request.begin() {
                    reply.send(state.align_step(&batch).map_err(WorkerError::from));
                }
            }
            OptimizerMsg::Checkpoint(request) => {
                if let Some((query, reply)) = request.begin() {
                    reply.send(state.checkpoint(*query));
                }
            }
        }
        Ok(())
    }
}

/// The optimizer steps of one training step.
#[derive(Default)]
struct Updates {
    grad_norm: f64,
    applied: u64,
    skipped: u64,
    nonfinite: Vec<NonFiniteTensor>,
}

impl Updates {
    fn report(self) -> StepReport {
        let Updates { grad_norm, applied, skipped, nonfinite } = self;
        StepReport { grad_norm, applied, skipped, nonfinite, ..StepReport::default() }
    }
}

/// Takes an optimizer step, or skips it if the gradient is not finite.
fn apply(adamw: &mut AdamW, policy: &Policy, policy_version: u64, lr: f64, updates: &mut Updates) {
    let step = adamw.step(lr);
    updates.grad_norm = step.grad_norm;
    if step.applied {
        updates.applied += 1;
        return;
    }
    updates.skipped += 1;
    updates.nonfinite = policy.nonfinite();
    tracing::warn!(policy_version, "the gradient is not finite; the step is skipped");
}

impl OptimizerState {
    /// Starts from the last published version, at the beginning and after a restart.
    fn restore(args: OptimizerArgs) -> Result<Self, ActorProcessingErr> {
        let policy = args.weights.learner()?;
        let reference = if args.reference { Some(args.weights.reference()?) } else { None };
        let mut newest = args.weights.newest();
        let mut coefficients = Coefficients::new(args.kl_coef, args.entropy_coef);
        coefficients.take_from(&mut newest.optimizer);
        // Must happen before `AdamW::new`, which copies weights of less than 32 bits to f32.
        policy.load_trainable(&newest.trainable)?;
        let mut adamw = AdamW::new(policy.trainable(), args.adamw.clone())?;
        if !newest.optimizer.is_empty() {
            adamw.load_state(&newest.optimizer)?;
        }
        Ok(OptimizerState {
            policy,
            reference,
            adamw,
            coefficients,
            policy_version: newest.policy_version,
            args,
        })
    }

    fn grpo_step(&mut self, batch: &GrpoBatch) -> Result<StepReport, ModelError> {
        let started = Instant::now();
        let (groups, settings, args) = (&batch.groups, &*batch.settings, &self.args);
        let kl_coef = self.kl_coef(settings);
        let entropy_coef = match args.entropy_control {
            Some(control) => self.coefficients.entropy(control),
            None => settings.grpo.entropy_coef,
        };
        let config = GrpoConfig {
            kl_coef: if args.kl_in_reward { 0.0 } else { kl_coef },
            entropy_coef,
            ..settings.grpo.clone()
        };
        let reference = self.reference.as_ref().filter(|_| !args.kl_in_reward);
        let mut pass = GrpoPass::new(&self.policy, reference, groups, self.pass_settings(settings, config));
        let tokens = pass.tokens();
        let (kl_controlled, entropy_controlled) = (args.kl_control, args.entropy_control);
        let lr = self.lr(settings.lr);
        let mut metrics = LossMetrics::default();
        let mut updates = Updates::default();
        for iteration in 0..settings.iterations.max(1) {
            self.adamw.zero_grad();
            metrics = pass.backward(|index| {
                let place = [self.policy_version, iteration as u64, index as u64];
                derive(self.args.seed, Purpose::Dropout, &place)
            })?;
            apply(&mut self.adamw, &self.policy, self.policy_version, lr, &mut updates);
        }
        let ratios = pass.ratios();
        let kl = batch.sampled_kl.as_ref().map(|kl| kl.mean).or(metrics.kl());
        if let (Some(control), Some(kl)) = (kl_controlled, kl) {
            let completions = groups.iter().map(|group| group.completions.len()).sum();
            self.coefficients.follow_kl(control, kl, completions);
        }
        if let (Some(control), Some(entropy)) = (entropy_controlled, metrics.entropy_trained.mean()) {
            self.coefficients.follow_entropy(control, entropy);
        }
        Ok(self.publish(StepReport {
            policy_version: 0,
            loss: metrics.loss,
            metrics: Some(metrics),
            ratios,
            kl_coef: kl_controlled.map(|_| kl_coef),
            entropy_coef: entropy_controlled.map(|_| entropy_coef),
            align_accuracy: None,
            lr,
            tokens: tokens as u64,
            seconds: started.elapsed().as_secs_f64(),
            ..updates.report()
        }))
    }

    /// The weight of the KL divergence in this step.
    fn kl_coef(&self, settings: &GrpoSettings) -> f64 {
        if self.args.kl_control.is_some() { self.coefficients.kl } else { settings.grpo.kl_coef }
    }

    fn pass_settings(&self, settings: &GrpoSettings, config: GrpoConfig) -> PassSettings {
        let args = &self.args;
        PassSettings {
            config,
            correction: settings.correction,
            entropy_top_fraction: settings.entropy_top_fraction,
            covariance: settings.covariance,
            place: (args.seed, self.policy_version),
            micro_batch_prompts: args.micro_batch_prompts,
            max_new_tokens: args.max_new_tokens,
            mask_truncated: settings.mask_truncated,
            measure_ratios: settings.measure_ratios,
            temperature: settings.temperature,
        }
    }

    fn sampled_kl(&self, query: &SampledKlQuery) -> Result<SampledKl, ModelError> {
        let SampledKlQuery { groups, settings } = query;
        let coefficient = self.kl_coef(settings);
        match &self.reference {
            Some(reference) => {
                let pass = self.pass_settings(settings, settings.grpo.clone());
                sampled_kl(reference, groups, pass, coefficient)
            }
            None => Ok(SampledKl { sums: Vec::new(), mean: 0.0, coefficient }),
        }
    }

    fn sft_step(&mut self, groups: &[SftGroup]) -> Result<StepReport, ModelError> {
        let started = Instant::now();
        let tokens: usize = groups.iter().flat_map(|group| group.targets.iter().map(Vec::len)).sum();
        let size =
            if self.args.micro_batch_prompts == 0 { groups.len() } else { self.args.micro_batch_prompts };
        let lr = self.lr(self.args.schedule.lr);
        let mut total = 0.0;
        if self.args.align.as_ref().is_some_and(|align| align.total_steps == self.policy_version) {
            // The moments of the fit belong to another loss.
            self.adamw.reset();
        }
        self.adamw.zero_grad();
        for (index, micro_batch) in groups.chunks(size.max(1)).enumerate() {
            let packed: Vec<Group<'_>> = micro_batch
                .iter()
                .map(|group| Group {
                    prompt: &group.prompt,
                    completions: group.targets.iter().map(Vec::as_slice).collect(),
                })
                .collect();
            let current = self.policy.forward(&packed, 1.0, self.dropout_seed(0, index))?;
            let loss = sft_loss(&current.logprobs, &current.mask, tokens);
            current.backward(&loss)?;
            total += loss.f_double_value(&[])?;
        }
        let mut updates = Updates::default();
        self.apply(lr, &mut updates);
        Ok(self.publish(StepReport {
            loss: total,
            lr,
            tokens: tokens as u64,
            seconds: started.elapsed().as_secs_f64(),
            ..updates.report()
        }))
    }

    fn align_step(&mut self, batch: &AlignBatch) -> Result<StepReport, ModelError> {
        let started = Instant::now();
        self.adamw.zero_grad();
        let aligned = self.policy.align(&batch.clips, &batch.vocabulary)?;
        aligned.loss.f_backward()?;
        let lr =
            self.args.align.as_ref().map_or(0.0, |align| align.lr_at(self.policy_version)) * aligned.spread;
        let mut updates = Updates::default();
        self.apply(lr, &mut updates);
        Ok(self.publish(StepReport {
            loss: aligned.loss.f_double_value(&[])?,
            align_accuracy: Some(aligned.accuracy),
            lr,
            tokens: aligned.tokens,
            seconds: started.elapsed().as_secs_f64(),
            ..updates.report()
        }))
    }

    /// The learning rate of the next step with the language model, where the schedule is one of `lr`.
    fn lr(&self, lr: f64) -> f64 {
        let aligned = self.args.align.as_ref().map_or(0, |align| align.total_steps);
        let schedule = LrSchedule { lr, ..self.args.schedule.clone() };
        schedule.lr_at(self.policy_version.saturating_sub(aligned))
    }

    /// The seed of one forward pass. A repeated step has the same seeds.
    fn dropout_seed(&self, iteration: usize, micro_batch: usize) -> u64 {
        let place = [self.policy_version, iteration as u64, micro_batch as u64];
        derive(self.args.seed, Purpose::Dropout, &place)
    }

    fn apply(&mut self, lr: f64, updates: &mut Updates) {
        apply(&mut self.adamw, &self.policy, self.policy_version, lr, updates);
    }

    /// AdamW's moments, and the coefficients if they follow a target.
    fn optimizer_state(&self) -> NamedTensors {
        let mut state = self.adamw.state();
        if self.args.kl_control.is_some() || self.args.entropy_control.is_some() {
            state.extend(self.coefficients.tensors());
        }
        state
    }

    /// Writes a checkpoint, unless it would be of weights that are not finite (HEALTH-3).
    fn checkpoint(&self, query: CheckpointQuery) -> Result<WrittenCheckpoint, WorkerError> {
        if self.args.finite_checkpoints && !self.policy.is_finite() {
            let broken = self.policy.nonfinite().into_iter().filter(|tensor| tensor.weights > 0);
            let named: Vec<String> = broken.take(3).map(|tensor| tensor.name).collect();
            return Err(WorkerError::NotFinite { tensors: named.join(", ") });
        }
        let checkpoint = CheckpointState {
            format_version: FormatVersion::CURRENT,
            policy_version: self.policy_version,
            progress: query.progress,
            conditions: query.conditions,
            records: Some(query.records),
        };
        write_checkpoint(&checkpoint, &query.folder, &self.policy, &self.optimizer_state())
    }

    /// Publishes the new weights, and sets their version in the report.
    fn publish(&mut self, report: StepReport) -> StepReport {
        self.policy_version += 1;
        self.args.weights.publish(Published {
            policy_version: self.policy_version,
            trainable: self.policy.publish(),
            optimizer: self.optimizer_state(),
        });
        StepReport { policy_version: self.policy_version, ..report }
    }
}
