//! The optimizer: trains the policy, on a dedicated OS thread, and publishes each new version of the weights.
//!
//! A step arrives as prompts with completions and advantages (GRPO), with targets (SFT), or as clips with their words
//! (the fit of the projector). Those with a language model are split into micro-batches, which bounds the memory of a
//! forward and backward pass.
//!
//! - `OPT-1` a step that panics has no effect: the restarted optimizer continues from the last published version.

mod messages;

use std::time::Instant;

use model::loss::{GrpoConfig, LossMetrics, Normalizer};
use model::optim::{AdamW, LrSchedule};
use model::{ModelError, NonFiniteTensor, Policy};
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use records::{CheckpointState, FormatVersion, WrittenCheckpoint};
use runtime::seed::{Purpose, derive};

use crate::checkpoint::write_checkpoint;
use crate::coefficients::Coefficients;
use crate::covariance::covariant_tokens;
use crate::error::WorkerError;
use crate::fit::Fit;
use crate::grpo_pass::{GrpoPass, sampled_kl};
use crate::grpo_settings::GrpoSettings;
use crate::grpo_share::{GrpoShare, PassSettings};
use crate::memory::return_freed_memory;
use crate::micro_batch::trained_tokens;
use crate::peaks::{Peaks, PhaseMemory};
use crate::ranks::{ArmRanks, LeavingOrder, Moments, Part, Peers, Seat, grpo_orders, sft_orders};
use crate::ratios::SamplingRatios;
use crate::sft_pass::{SftShare, sft_backward};
use crate::threads::use_threads;
use crate::train_group::{GrpoBatch, SampledKl, SampledKlQuery, SftGroup, TrainGroup};
use crate::weight_store::{NamedTensors, Published};

pub use messages::{AlignBatch, CheckpointQuery, OptimizerArgs, OptimizerMsg, StepReport};

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
    fit: Fit,
    /// The arm's replicas on the other ranks, which end with it.
    _seat: Option<Seat>,
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
                    reply.send(state.grpo_step(&batch));
                    return_freed_memory();
                }
            }
            OptimizerMsg::SampledKl(request) => {
                if let Some((query, reply)) = request.begin() {
                    reply.send(state.sampled_kl(&query));
                }
            }
            OptimizerMsg::Sft(request) => {
                if let Some((groups, reply)) = request.begin() {
                    reply.send(state.sft_step(&groups));
                    return_freed_memory();
                }
            }
            OptimizerMsg::Align(request) => {
                if let Some((batch, reply)) = request.begin() {
                    reply.send(state.align_step(&batch));
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
    memory: PhaseMemory,
}

impl Updates {
    fn report(self) -> StepReport {
        let Updates { grad_norm, applied, skipped, nonfinite, memory } = self;
        StepReport { grad_norm, applied, skipped, nonfinite, memory, ..StepReport::default() }
    }
}

/// What rank 0 ordered a follower to do for an arm.
pub(crate) enum FollowerWork {
    Grpo(Box<GrpoShare>, Vec<TrainGroup>),
    Sft(SftShare, Vec<SftGroup>),
    Align(f64),
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
        let moments = Moments { adamw: &adamw, restored: !newest.optimizer.is_empty() };
        let seat = match &args.ranks {
            Some(ranks) => {
                Some(ranks.open(&policy, args.weights.fingerprint(), moments, newest.policy_version)?)
            }
            None => None,
        };
        Ok(OptimizerState {
            fit: Fit::new(policy.device(), args.micro_batch_prompts),
            policy,
            reference,
            adamw,
            coefficients,
            policy_version: newest.policy_version,
            args,
            _seat: seat,
        })
    }

    fn grpo_step(&mut self, batch: &GrpoBatch) -> Result<StepReport, WorkerError> {
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
        let (kl_controlled, entropy_controlled) = (args.kl_control, args.entropy_control);
        let whole = self.whole_step(groups, settings, config);
        let (metrics, ratios, updates) = match self.args.ranks.clone() {
            None => self.grpo_work(groups, &whole, None)?,
            Some(ranks) => self.on_ranks(&ranks, |state, peers| {
                let (size, arm) = (state.args.micro_batch_prompts, ranks.arm());
                let shares = grpo_orders(arm, groups, &whole, size, peers.ranks());
                peers.order(&shares.orders)?;
                state.grpo_work(&shares.groups, &shares.own, Some(peers))
            })?,
        };
        let kl = batch.sampled_kl.as_ref().map(|kl| kl.mean).or(metrics.kl());
        if let (Some(control), Some(kl)) = (kl_controlled, kl) {
            let completions = groups.iter().map(|group| group.completions.len()).sum();
            self.coefficients.follow_kl(control, kl, completions);
        }
        if let (Some(control), Some(entropy)) = (entropy_controlled, metrics.entropy_trained.mean()) {
            self.coefficients.follow_entropy(control, entropy);
        }
        let memory_splits = self.fit.take_splits();
        Ok(self.publish(StepReport {
            policy_version: 0,
            loss: metrics.loss,
            metrics: Some(metrics),
            ratios: settings.measure_ratios.then_some(ratios),
            kl_coef: kl_controlled.map(|_| kl_coef),
            entropy_coef: entropy_controlled.map(|_| entropy_coef),
            align_accuracy: None,
            lr: whole.lr,
            tokens: whole.normalizer.tokens as u64,
            memory_splits,
            seconds: started.elapsed().as_secs_f64(),
            ..updates.report()
        }))
    }

    /// The share of a process that trains on all groups of a step.
    fn whole_step(&self, groups: &[TrainGroup], settings: &GrpoSettings, config: GrpoConfig) -> GrpoShare {
        let (seed, mask_truncated) = (self.args.seed, settings.mask_truncated);
        let completions = groups.iter().flat_map(|group| &group.completions);
        let lengths = completions.map(|completion| trained_tokens(completion, mask_truncated));
        let covariant = settings.covariance.as_ref().map(|covariance| {
            covariant_tokens(groups, covariance, mask_truncated, (seed, self.policy_version))
        });
        GrpoShare {
            normalizer: Normalizer::of_lengths(lengths, self.args.max_new_tokens),
            settings: self.pass_settings(settings, config),
            covariant: covariant.unwrap_or_default(),
            first_micro_batch: 0,
            tokens_before: 0,
            iterations: settings.iterations.max(1),
            lr: self.lr(settings.lr),
        }
    }

    /// Takes the optimizer steps of a GRPO step on a share of its groups. All ranks do this at the same time.
    fn grpo_work(
        &mut self,
        groups: &[TrainGroup],
        share: &GrpoShare,
        mut peers: Option<&mut Peers<'_>>,
    ) -> Result<(LossMetrics, SamplingRatios, Updates), WorkerError> {
        let reference = self.reference.as_ref().filter(|_| !self.args.kl_in_reward);
        let mut pass = GrpoPass::new(&self.policy, reference, groups, share);
        let (mut metrics, mut updates) = (LossMetrics::default(), Updates::default());
        let mut ratios = SamplingRatios::default();
        let mut peaks = Peaks::begin(self.policy.device());
        for iteration in 0..share.iterations {
            let seed = |index: usize| {
                let place = [self.policy_version, iteration as u64, index as u64];
                derive(self.args.seed, Purpose::Dropout, &place)
            };
            let zero_grad = || self.adamw.zero_grad();
            metrics = pass.backward(&mut self.fit, zero_grad, seed, &mut peaks, peers.as_deref_mut())?;
            ratios = pass.ratios();
            if let Some(peers) = &mut peers {
                let part = Part { metrics, ratios, ..Part::default() };
                Part { metrics, ratios, .. } = peers.add_up(&self.policy, self.policy_version, part)?;
            }
            apply(&mut self.adamw, &self.policy, self.policy_version, share.lr, &mut updates);
            peaks.optimizer_ended();
        }
        updates.memory = peaks.found();
        Ok((metrics, ratios, updates))
    }

    /// Takes a step together with the other ranks. If that fails, this rank's weights are those before the step (RANKS-4), and
    /// the other ranks learn of it.
    fn on_ranks<T>(
        &mut self,
        ranks: &ArmRanks,
        step: impl FnOnce(&mut Self, &mut Peers<'_>) -> Result<T, WorkerError>,
    ) -> Result<T, WorkerError> {
        let mut group = ranks.ranks.lock()?;
        let taken = step(self, &mut Peers::new(&mut group));
        if let Err(error) = &taken {
            group.end(&format!("rank 0 could not take the step: {error}"));
            self.roll_back()?;
        }
        taken
    }

    /// Returns to the last published version.
    fn roll_back(&mut self) -> Result<(), WorkerError> {
        let mut newest = self.args.weights.newest();
        // They are changed at the end of a step only.
        Coefficients::new(0.0, 0.0).take_from(&mut newest.optimizer);
        self.policy.load_trainable(&newest.trainable)?;
        self.adamw = AdamW::new(self.policy.trainable(), self.args.adamw.clone())?;
        if !newest.optimizer.is_empty() {
            self.adamw.load_state(&newest.optimizer)?;
        }
        Ok(())
    }

    /// The weight of the KL divergence in this step.
    fn kl_coef(&self, settings: &GrpoSettings) -> f64 {
        if self.args.kl_control.is_some() { self.coefficients.kl } else { settings.grpo.kl_coef }
    }

    fn pass_settings(&self, settings: &GrpoSettings, config: GrpoConfig) -> PassSettings {
        PassSettings {
            config,
            correction: settings.correction,
            entropy_top_fraction: settings.entropy_top_fraction,
            mask_truncated: settings.mask_truncated,
            measure_ratios: settings.measure_ratios,
            temperature: settings.temperature,
        }
    }

    fn sampled_kl(&mut self, query: &SampledKlQuery) -> Result<SampledKl, WorkerError> {
        let SampledKlQuery { groups, settings } = query;
        let coefficient = self.kl_coef(settings);
        match &self.reference {
            Some(reference) => {
                let pass = self.pass_settings(settings, settings.grpo.clone());
                self.fit.run(groups, |parts| sampled_kl(reference, parts, &pass, coefficient))
            }
            None => Ok(SampledKl { sums: Vec::new(), mean: 0.0, coefficient }),
        }
    }

    fn sft_step(&mut self, groups: &[SftGroup]) -> Result<StepReport, WorkerError> {
        let started = Instant::now();
        let whole = SftShare {
            tokens: groups.iter().flat_map(|group| group.targets.iter().map(Vec::len)).sum(),
            first_micro_batch: 0,
            lr: self.lr(self.args.schedule.lr),
        };
        let (loss, updates) = match self.args.ranks.clone() {
            None => self.sft_work(groups, &whole, None)?,
            Some(ranks) => self.on_ranks(&ranks, |state, peers| {
                let (size, arm) = (state.args.micro_batch_prompts, ranks.arm());
                let shares = sft_orders(arm, groups, &whole, size, peers.ranks());
                peers.order(&shares.orders)?;
                state.sft_work(&shares.groups, &shares.own, Some(peers))
            })?,
        };
        let memory_splits = self.fit.take_splits();
        Ok(self.publish(StepReport {
            loss,
            lr: whole.lr,
            tokens: whole.tokens as u64,
            memory_splits,
            seconds: started.elapsed().as_secs_f64(),
            ..updates.report()
        }))
    }

    /// Takes the optimizer step of a supervised step on a share of its groups. All ranks do this at the same time.
    fn sft_work(
        &mut self,
        groups: &[SftGroup],
        share: &SftShare,
        peers: Option<&mut Peers<'_>>,
    ) -> Result<(f64, Updates), WorkerError> {
        if self.args.align.as_ref().is_some_and(|align| align.total_steps == self.policy_version) {
            // The moments of the fit belong to another loss.
            self.adamw.reset();
        }
        let mut peaks = Peaks::begin(self.policy.device());
        let (policy, seed, policy_version) = (&self.policy, self.args.seed, self.policy_version);
        let dropout_seed = |index: usize| derive(seed, Purpose::Dropout, &[policy_version, 0, index as u64]);
        let mut loss = self.fit.run(groups, |parts| {
            self.adamw.zero_grad();
            sft_backward(policy, parts, share, dropout_seed, &mut peaks)
        })?;
        if let Some(peers) = peers {
            let part = Part { loss, ..Part::default() };
            loss = peers.add_up(&self.policy, self.policy_version, part)?.loss;
        }
        let mut updates = Updates::default();
        self.apply(share.lr, &mut updates);
        peaks.optimizer_ended();
        updates.memory = peaks.found();
        Ok((loss, updates))
    }

    fn align_step(&mut self, batch: &AlignBatch) -> Result<StepReport, WorkerError> {
        let started = Instant::now();
        self.adamw.zero_grad();
        let aligned = self.policy.align(&batch.clips, &batch.vocabulary)?;
        aligned.loss.f_backward().map_err(ModelError::from)?;
        let lr =
            self.args.align.as_ref().map_or(0.0, |align| align.lr_at(self.policy_version)) * aligned.spread;
        let mut updates = Updates::default();
        match self.args.ranks.clone() {
            None => self.apply(lr, &mut updates),
            Some(ranks) => self.on_ranks(&ranks, |state, peers| {
                peers.order_all(&LeavingOrder::Align { arm: ranks.arm().to_owned(), lr })?;
                state.align_work(lr, peers, &mut updates)
            })?,
        }
        Ok(self.publish(StepReport {
            loss: aligned.loss.f_double_value(&[]).map_err(ModelError::from)?,
            align_accuracy: Some(aligned.accuracy),
            lr,
            tokens: aligned.tokens,
            seconds: started.elapsed().as_secs_f64(),
            ..updates.report()
        }))
    }

    /// Takes the optimizer step of a fit, whose gradient rank 0 has and the others have not.
    fn align_work(
        &mut self,
        lr: f64,
        peers: &mut Peers<'_>,
        updates: &mut Updates,
    ) -> Result<(), WorkerError> {
        peers.add_up(&self.policy, self.policy_version, Part::default())?;
        self.apply(lr, updates);
        Ok(())
    }

    /// A follower's replica of an arm, which takes part in the steps of rank 0.
    pub(crate) fn replica(
        args: OptimizerArgs,
        policy: Policy,
        reference: Option<Policy>,
        adamw: AdamW,
        policy_version: u64,
    ) -> Self {
        let coefficients = Coefficients::new(args.kl_coef, args.entropy_coef);
        let fit = Fit::new(policy.device(), args.micro_batch_prompts);
        OptimizerState { args, policy, reference, adamw, coefficients, policy_version, fit, _seat: None }
    }

    /// A follower's part of the step that rank 0 ordered for this arm.
    pub(crate) fn take_part(&mut self, work: FollowerWork, peers: &mut Peers<'_>) -> Result<(), WorkerError> {
        match work {
            FollowerWork::Grpo(share, groups) => drop(self.grpo_work(&groups, &share, Some(peers))?),
            FollowerWork::Sft(share, groups) => drop(self.sft_work(&groups, &share, Some(peers))?),
            FollowerWork::Align(lr) => {
                self.adamw.zero_grad();
                self.align_work(lr, peers, &mut Updates::default())?;
            }
        }
        self.policy_version += 1;
        return_freed_memory();
        Ok(())
    }

    /// The learning rate of the next step with the language model, where the schedule is one of `lr`.
    fn lr(&self, lr: f64) -> f64 {
        let aligned = self.args.align.as_ref().map_or(0, |align| align.total_steps);
        let schedule = LrSchedule { lr, ..self.args.schedule.clone() };
        schedule.lr_at(self.policy_version.saturating_sub(aligned))
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

#[cfg(test)]
mod tests;
