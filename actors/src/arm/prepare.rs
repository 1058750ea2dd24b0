//! What an arm needs before its first actor starts: its data, its policy, its checkpoint if it resumes.
//!
//! Everything that can be wrong with what the user gave shows here, as one line, before any step is taken.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use model::audio::{Downmix, load_audio};
use model::loss::{GrpoConfig, Importance, LossKind};
use model::optim::{AdamWConfig, LrSchedule, LrShape};
use model::{Adapter, LoraConfig, Policy, PolicyOptions, Processor, TargetModules};
use rewards::{AdvantageOptions, ParserOptions, Question, Scale};
use scenarios::{
    ArmConfig, DType, GradientCheckpointing, JudgeKind, Method, PolicyConfig, PolicyPath, Split, TrainMode,
};
use tokio::runtime::Handle;

use super::Blueprints;
use super::context::{ArmContext, Slots, Suite};
use crate::checkpoint;
use crate::conductor::rows::Rows;
use crate::judge::JudgeArgs;
use crate::judge::judges::Judges;
use crate::live::LiveArm;
use crate::loader::{AudioSource, LoaderArgs};
use crate::optimizer::OptimizerArgs;
use crate::progress::Progress;
use crate::recorder::RecorderMsg;
use crate::sampler::SamplerArgs;
use crate::seed::{Purpose, derive};
use crate::shaper::ShaperArgs;
use crate::shelf::{Published, Shelf};
use crate::slot::Slot;

/// What preparing an arm takes.
#[derive(Clone)]
pub struct PrepareArgs {
    /// The arm's settings.
    pub config: ArmConfig,
    /// Its seed.
    pub seed: u64,
    /// Where tensors live.
    pub device: tch::Device,
    /// Torch threads of each of its model actors; 0 leaves libtorch's own choice.
    pub threads: usize,
    /// The run directory.
    pub run_dir: PathBuf,
    /// The run's recorder.
    pub recorder: Slot<RecorderMsg>,
    /// The run's judges.
    pub judges: Arc<Judges>,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// How audio files are read; `None` for the policy's own features of the decoded file.
    pub audio_source: Option<AudioSource>,
    /// What can be seen and asked of it from outside.
    pub(crate) live: Arc<LiveArm>,
}

/// An arm ready to start.
pub struct Prepared {
    /// What all its actors know.
    pub context: Arc<ArmContext>,
    /// How its actors are made.
    pub blueprints: Blueprints,
    /// Where it begins.
    pub progress: Progress,
}

/// Reads the data, opens the policy, restores a checkpoint. Blocks.
///
/// # Errors
/// One line that names what can't be used.
pub fn prepare(args: PrepareArgs) -> Result<Prepared, String> {
    let PrepareArgs { config, seed, .. } = &args;
    let folder = PathBuf::from(&config.name).join(format!("seed-{seed}"));
    let dir = args.run_dir.join(&folder);
    let training = if config.method == Method::None { Vec::new() } else { training_rows(config)? };
    let suites = suites(config)?;

    let first_rows = curriculum(config, &training)?.map(|rows| Rows::new(rows, *seed));

    let policy = open_policy(&config.policy, args.device, *seed)?;
    hears(&policy)?;
    let processor = policy.processor().clone();
    let source = args.audio_source.clone().unwrap_or_else(|| audio_source(config, &processor));
    for questions in std::iter::once(&training).chain(suites.iter().map(|suite| &suite.questions)) {
        some_clip_loads(questions, &source)?;
    }

    let (progress, published) = begin(&args, &dir, &policy)?;
    let shelf = Shelf::new(policy, published);
    let blueprints = blueprints(&args, shelf, source)?;
    let judge_needed = args.live.in_force().is_some_and(|conditions| conditions.need_verdicts());
    if judge_needed && config.method != Method::None {
        let judge = &blueprints.judge.judge;
        Handle::current().block_on(judge.probe()).map_err(|problem| in_judge_section(config, &problem))?;
    }
    let context = ArmContext {
        name: config.name.clone(),
        seed: *seed,
        total_steps: config.steps,
        first_rows,
        rows: Rows::new(training, *seed),
        suites,
        processor,
        parser: ParserOptions::default(),
        truncation_warned: Once::new(),
        judging_is_free: judging_is_free(config),
        slots: slots(config, args.recorder.clone()),
        live: args.live.clone(),
        started: Instant::now(),
        config: args.config,
        dir,
        folder,
    };
    Ok(Prepared { context: Arc::new(context), blueprints, progress })
}

fn training_rows(config: &ArmConfig) -> Result<Vec<Arc<Question>>, String> {
    let data = &config.data;
    scenarios::open_dataset_filtered(&data.train, &data.soundscapes, Split::Train, &data.row_filter())
        .map_err(|error| error.to_string())
}

/// The rows of the kinds that a supervised arm begins with.
fn curriculum(config: &ArmConfig, training: &[Arc<Question>]) -> Result<Option<Vec<Arc<Question>>>, String> {
    let curriculum = &config.sft.curriculum;
    if config.method != Method::Sft || curriculum.steps == 0 {
        return Ok(None);
    }
    let wanted = |row: &&Arc<Question>| row.kind.as_ref().is_some_and(|kind| curriculum.kinds.contains(kind));
    let rows: Vec<_> = training.iter().filter(wanted).cloned().collect();
    if rows.is_empty() {
        let known: BTreeSet<&str> = training.iter().filter_map(|row| row.kind.as_deref()).collect();
        return Err(format!(
            "arm `{}`: no training question is of the kinds {:?} that sft.curriculum.kinds names; write some of {known:?}",
            config.name, curriculum.kinds
        ));
    }
    Ok(Some(rows))
}

fn suites(config: &ArmConfig) -> Result<Vec<Suite>, String> {
    let filter = config.eval.row_filter();
    config
        .eval
        .suites
        .iter()
        .map(|source| {
            let world = &config.data.soundscapes;
            let questions = scenarios::open_dataset_filtered(source, world, Split::Heldout, &filter)
                .map_err(|error| error.to_string())?;
            Ok(Suite { name: source.name(), questions })
        })
        .collect()
}

/// Opens the policy that `config` names, to learn from there. Blocks.
///
/// # Errors
/// One line that names what can't be used.
pub fn open_policy(config: &PolicyConfig, device: tch::Device, seed: u64) -> Result<Policy, String> {
    let folder = match &config.path {
        PolicyPath::BuiltinTiny => scenarios::builtin_tiny_policy().map_err(|error| error.to_string())?,
        PolicyPath::Directory(folder) => folder.clone(),
    };
    let options = PolicyOptions {
        device,
        dtype: match config.dtype {
            DType::Auto => None,
            DType::F32 => Some(tch::Kind::Float),
            DType::Bf16 => Some(tch::Kind::BFloat16),
        },
        frozen: false,
        train_audio_tower: config.train_audio_tower,
        adapter: (config.train == TrainMode::Lora).then(|| adapter(config, seed)),
        gradient_checkpointing: match config.gradient_checkpointing {
            GradientCheckpointing::Auto => None,
            GradientCheckpointing::Always(on) => Some(on),
        },
        from_scratch: config.from_scratch.then(|| derive(seed, Purpose::Weights, &[])),
    };
    Policy::open(&folder, &options).map_err(|error| error.to_string())
}

/// A run's questions are about sounds.
fn hears(policy: &Policy) -> Result<(), String> {
    if policy.config().audio.is_some() {
        return Ok(());
    }
    let name = policy.config().architecture.name();
    Err(format!("policy.path: {name} is a text-only model; write the directory of a Qwen2-Audio or Qwen2.5-Omni"))
}

/// The adapter that `train = "lora"` trains.
fn adapter(config: &PolicyConfig, seed: u64) -> Adapter {
    if let Some(folder) = &config.adapter {
        return Adapter::Directory(folder.clone());
    }
    let lora = &config.lora;
    Adapter::Fresh {
        config: LoraConfig {
            rank: lora.rank as i64,
            alpha: lora.alpha,
            dropout: lora.dropout,
            target_modules: match &lora.target_modules {
                scenarios::TargetModules::AllLinear => TargetModules::AllLinear,
                scenarios::TargetModules::Named(names) => TargetModules::Named(names.clone()),
                scenarios::TargetModules::Pattern(pattern) => TargetModules::Pattern(pattern.clone()),
            },
            use_rslora: false,
        },
        seed: derive(seed, Purpose::Weights, &[]),
    }
}

/// Where the arm begins: at its newest checkpoint if it resumes and has one, else at the policy as it was opened.
fn begin(args: &PrepareArgs, dir: &Path, policy: &Policy) -> Result<(Progress, Published), String> {
    if args.resume {
        if let Some((_, state, published)) =
            checkpoint::resume(dir, policy).map_err(|error| error.to_string())?
        {
            return Ok((state.progress, published));
        }
        checkpoint::forget(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let fresh = Published { policy_version: 0, trainable: policy.publish(), optimizer: Vec::new() };
    Ok((Progress::default(), fresh))
}

fn audio_source(config: &ArmConfig, processor: &Processor) -> AudioSource {
    let processor = processor.clone();
    let downmix = match config.loader.downmix {
        scenarios::Downmix::First => Downmix::First,
        scenarios::Downmix::Mean => Downmix::Mean,
    };
    Arc::new(move |path: &Path| {
        let samples = load_audio(path, downmix).map_err(|error| error.to_string())?;
        processor.extract(&samples).map_err(|error| error.to_string())
    })
}

/// Training skips clips that can't be read, but there must be one that can.
fn some_clip_loads(questions: &[Arc<Question>], source: &AudioSource) -> Result<(), String> {
    let mut first_error = None;
    for question in questions {
        match source(&question.audio_path) {
            Ok(_) => return Ok(()),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match first_error {
        Some(error) => Err(format!(
            "none of the {} questions has audio that can be read; the first: {error}",
            questions.len()
        )),
        None => Ok(()),
    }
}

fn slots(config: &ArmConfig, recorder: Slot<RecorderMsg>) -> Slots {
    let timeout = Duration::from_secs_f64(config.supervision.call_timeout_seconds);
    // Steps collected ahead and an evaluation may ask at the same time.
    let capacity = config.grpo.max_staleness as usize + 2;
    Slots {
        loader: Slot::new("loader", capacity, timeout),
        sampler: Slot::new("sampler", capacity, timeout),
        judge: Slot::new("judge", capacity, timeout),
        shaper: Slot::new("shaper", capacity, timeout),
        optimizer: Slot::new("optimizer", 1, timeout),
        // It asks the others, each within the time allowed, so it may take longer than any of them.
        evaluator: Slot::new("evaluator", 1, timeout.saturating_mul(100)),
        recorder,
    }
}

/// Verdicts of a judge that costs nothing are had for every arm, so that arms can be compared by them.
fn judging_is_free(config: &ArmConfig) -> bool {
    config.judge.kind == JudgeKind::Rules
}

fn in_judge_section(config: &ArmConfig, problem: &str) -> String {
    format!("arm `{}`, [judge]: {problem}", config.name)
}

fn judge(args: &PrepareArgs) -> Result<JudgeArgs, String> {
    let config = &args.config;
    let judge = args.judges.open(&config.judge).map_err(|problem| in_judge_section(config, &problem))?;
    // Its batches must be answered before its slot gives up on them.
    let patience = Duration::from_secs_f64(config.supervision.call_timeout_seconds * 0.9);
    Ok(JudgeArgs { judge, patience })
}

fn blueprints(args: &PrepareArgs, shelf: Shelf, source: AudioSource) -> Result<Blueprints, String> {
    let config = &args.config;
    Ok(Blueprints {
        loader: LoaderArgs { source, workers: config.loader.workers, cache_clips: config.loader.cache_clips },
        sampler: SamplerArgs { shelf: shelf.clone(), threads: args.threads },
        judge: judge(args)?,
        shaper: (config.method == Method::Grpo).then(|| shaper(config)),
        optimizer: (config.method != Method::None).then(|| optimizer(args, shelf)),
    })
}

fn shaper(config: &ArmConfig) -> ShaperArgs {
    let scale = match config.grpo.scale_rewards {
        scenarios::ScaleRewards::Group => Scale::Group,
        scenarios::ScaleRewards::Batch => Scale::Batch,
        scenarios::ScaleRewards::None => Scale::None,
    };
    ShaperArgs { advantages: AdvantageOptions { scale, ..AdvantageOptions::default() } }
}

fn optimizer(args: &PrepareArgs, shelf: Shelf) -> OptimizerArgs {
    let config = &args.config;
    let (grpo, settings) = (&config.grpo, &config.optimizer);
    let lr = if config.method == Method::Sft { config.sft.lr } else { grpo.lr };
    OptimizerArgs {
        shelf,
        grpo: GrpoConfig {
            loss: match grpo.loss {
                scenarios::LossKind::Grpo => LossKind::Grpo,
                scenarios::LossKind::Bnpo => LossKind::Bnpo,
                scenarios::LossKind::DrGrpo => LossKind::DrGrpo,
                scenarios::LossKind::Dapo => LossKind::Dapo,
                scenarios::LossKind::Gspo => LossKind::Gspo,
            },
            importance: Importance::Token,
            clip_low: grpo.clip,
            clip_high: grpo.clip_high(),
            delta: grpo.delta,
            kl_coef: grpo.kl_coef,
            kl_importance_corrected: false,
        },
        iterations: grpo.iterations,
        micro_batch_prompts: grpo.micro_batch_prompts,
        max_new_tokens: config.sampling.max_new_tokens,
        mask_truncated: grpo.mask_truncated,
        temperature: config.sampling.temperature,
        reference: config.method == Method::Grpo && grpo.kl_coef > 0.0,
        adamw: AdamWConfig {
            betas: (settings.betas[0], settings.betas[1]),
            eps: settings.eps,
            weight_decay: settings.weight_decay,
            max_grad_norm: (settings.max_grad_norm > 0.0).then_some(settings.max_grad_norm),
        },
        schedule: LrSchedule {
            lr,
            warmup_steps: settings.warmup_steps,
            total_steps: config.steps,
            shape: match settings.schedule {
                scenarios::Schedule::Constant => LrShape::Constant,
                scenarios::Schedule::Linear => LrShape::Linear,
                scenarios::Schedule::Cosine => LrShape::Cosine,
            },
            final_fraction: settings.final_lr_fraction,
        },
        seed: args.seed,
        threads: args.threads,
    }
}
