//! Preparing an arm before its first actor starts: its data, its policy, and its checkpoint if it resumes.
//!
//! Data, models and judges that can't be used are reported here, before the arm takes a step.

use std::collections::BTreeSet;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use evaluation::{FetchLimits, Source, fetch_clips, open_suites};
use judges::{JudgeArgs, Judges};
use model::{Bases, Policy, Processor};
use records::{ArmDir, ArmFile, Progress, RunDir, json_lines};
use rewards::{ParserOptions, Question};
use rollouts::{ServerSamplerArgs, Settings};
use runtime::{RunEvent, Slot};
use scenarios::{ArmConfig, AtNewVersion, DataFilter, JudgeBudget, JudgeKind, Method, Questions, cache_dir};
use tokio::runtime::Handle;
use tokio::sync::watch;
use workers::{
    AudioSource, ComputeSlots, Lines, LoaderArgs, OptimizerArgs, Published, RecorderMsg, SamplerArgs,
    WeightStore, resume_checkpoint,
};

use crate::alarms::Alarms;
use crate::context::{ArmContext, ClipWarnings};
use crate::data::{DataProblems, check_source, exclude_too_long, open_training};
use crate::error::InputError;
use crate::handle::RunHandle;
use crate::live::LiveArm;
use crate::needs_audio::TextOnly;
use crate::notices::Notices;
use crate::optimizer_args::optimizer_args;
use crate::pass_rates::PassRates;
use crate::policy::open_policy;
use crate::prompt::{ContextLength, Prompter};
use crate::ranks::RunRanks;
use crate::replay_texts::replay_targets;
use crate::rows::Rows;
use crate::shared_clips::SharedClips;
use crate::slots::Slots;
use crate::sound::{audio_source, ears, first_window, most_windows};
use crate::spoken::WordVocabulary;
use crate::utilisation::Utilisation;

/// What the arms of a run have in common. Clones refer to the same.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) judges: Arc<Judges>,
    /// The checkpoints that are open.
    pub(crate) bases: Bases,
    /// The clips that are in memory.
    pub(crate) clips: Arc<SharedClips>,
    /// The slots in which their samplers and optimizers compute.
    pub(crate) compute_slots: ComputeSlots,
    /// The other processes that train them; `None` if this one trains alone.
    pub(crate) ranks: Option<RunRanks>,
}

/// What preparing an arm takes.
pub(crate) struct PrepareArgs {
    pub(crate) device: tch::Device,
    /// Torch threads of each of its model actors; 0 leaves libtorch's own choice.
    pub(crate) threads: usize,
    pub(crate) run_dir: RunDir,
    pub(crate) recorder: Slot<RecorderMsg>,
    pub(crate) shared: Shared,
    /// Go on from the newest checkpoint.
    pub(crate) resume: bool,
    /// How audio files are read; `None` for the policy's own features of the decoded file.
    pub(crate) audio_source: Option<AudioSource>,
    pub(crate) live: Arc<LiveArm>,
    pub(crate) run: RunHandle,
    /// Turns true when the run is to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

/// An arm ready to start.
pub(crate) struct Prepared {
    pub(crate) context: Arc<ArmContext>,
    pub(crate) blueprints: Blueprints,
    /// The progress it starts from: zero, or that of a checkpoint.
    pub(crate) progress: Progress,
}

/// The arguments of an arm's actors, for their first start and every restart.
pub(crate) struct Blueprints {
    pub(crate) loader: LoaderArgs,
    pub(crate) sampler: SamplerPlan,
    pub(crate) judge: JudgeArgs,
    /// In arms with rewards.
    pub(crate) has_shaper: bool,
    /// In arms that train.
    pub(crate) optimizer: Option<OptimizerArgs>,
}

/// What an arm samples with.
pub(crate) enum SamplerPlan {
    /// Its own copy of the policy.
    Own(SamplerArgs),
    /// Servers.
    Servers(Box<ServerSamplerArgs>),
}

/// Reads the data, opens the policy, restores a checkpoint. Blocks.
///
/// Errors: One line that names what can't be used.
pub(crate) fn prepare(args: PrepareArgs) -> Result<Prepared, InputError> {
    let (config, id) = (&args.live.config, &args.live.id);
    let dir = args.run_dir.arm(id);
    let (mut training, mut suites) = (open_training(config)?, open_suites(config)?);

    if config.data.fetch {
        let mut wanted: Vec<&mut Source> = std::iter::once(&mut training).chain(&mut suites).collect();
        let fallback = config.audio.fallback.as_deref();
        let fetching = fetch_clips(&mut wanted, fallback, FetchLimits::default(), &args.stop);
        Handle::current().block_on(fetching);
    }

    let policy = open_policy(&args.shared.bases, &config.policy, args.device, id.seed)?;
    require_audio(&policy)?;
    let processor = policy.processor().clone();
    if let Some(features) = processor.feature_config() {
        args.live.ears.get_or_init(|| ears(config, features.clone()));
    }
    let source = match &args.audio_source {
        Some(source) => source.clone(),
        None => audio_source(config, &processor, args.shared.clips.clone())?,
    };
    let context = ContextLength(policy.config().text.max_position_embeddings as usize);
    let prompter = Prompter::new(processor.clone(), context, most_windows(config))?;
    let most_tokens = config.sampling.max_new_tokens;
    let texts = |question: &Question| config.training_texts(question);
    let completion = config.training_completion();
    exclude_too_long(&mut training, &prompter, &source, texts, completion);
    for suite in &mut suites {
        let text = |question: &Question| vec![config.prompt.render(question)];
        exclude_too_long(suite, &prompter, &source, text, most_tokens);
    }

    let (progress, published) = begin(&args, &dir, &policy)?;
    if config.data.filter == Some(DataFilter::NeedsAudio) {
        let cache = cache_dir();
        let text_only =
            TextOnly { config, policy: &policy, prompter: &prompter, stop: &args.stop, cache: &cache };
        let left_out = text_only.leave_out_answered(&mut training)?;
        let message = format!(
            "{}: data.filter leaves out {left_out} of {} rows, which the policy answers without their clips",
            training.rows.path.display(),
            training.rows.rows()
        );
        args.live.watchers.tell(RunEvent::Warning { id: id.clone(), message });
    }
    let problems = list_problems(&args, &dir, &training, &suites)?;
    for rows in std::iter::once(&training).chain(&suites) {
        let ask = |question: &Question| {
            let clip = source(&first_window(question));
            let completion = if rows.suite.is_some() { most_tokens } else { completion };
            prompter.prompt(question, &config.prompt.render(question), clip, completion).map(drop)
        };
        check_source(rows, config, ask)?;
    }
    let curriculum_rows = curriculum(config, &training.rows.questions)?.map(|rows| Rows::new(rows, id.seed));
    let words = word_vocabulary(config, &training, &processor)?;
    let replay = match config.sft.replay.share > 0.0 && config.method == Method::Sft {
        true => replay_targets(&config.sft.replay, &dir.replay(), &policy, &prompter)?,
        false => Vec::new(),
    };
    let pass_rates = match config.selection.uses_pass_rates() {
        true => PassRates::read(&dir.rollouts(), progress.step, &training.rows.questions)?,
        false => PassRates::default(),
    };
    let weights = WeightStore::new(policy, published);
    let notices = Notices::default();
    let blueprints = blueprints(&args, weights, source, &notices)?;
    let judge_needed = args.live.in_force().is_some_and(|conditions| conditions.need_verdicts());
    if judge_needed && config.method != Method::None {
        let judge = &blueprints.judge.judge;
        Handle::current()
            .block_on(judge.probe())
            .map_err(|source| InputError::Judge { arm: id.arm.clone(), source: Box::new(source) })?;
    }
    let tasks = args.live.in_force().map(|conditions| conditions.judge_tasks()).unwrap_or_default();
    if config.method != Method::None {
        let tasks: Vec<_> = tasks.into_values().collect();
        Handle::current()
            .block_on(blueprints.judge.probe_tasks(&tasks))
            .map_err(|source| InputError::Judge { arm: id.arm.clone(), source: Box::new(source) })?;
    }
    let context = ArmContext {
        id: id.clone(),
        curriculum_rows,
        words,
        replay,
        rows: Rows::new(training.rows.questions.clone(), id.seed),
        pass_rates,
        training,
        suites,
        problems,
        processor,
        prompter,
        parser: ParserOptions::default(),
        truncation_warned: Once::new(),
        clip_warnings: ClipWarnings::default(),
        always_judge: matches!(config.judge.kind, JudgeKind::Rules),
        slots: Slots::new(config, args.recorder.clone()),
        notices,
        utilisation: Utilisation::default(),
        live: args.live.clone(),
        alarms: Alarms::of(config)?,
        run: args.run.clone(),
        started: Instant::now(),
        config: config.clone(),
        dir,
    };
    Ok(Prepared { context: Arc::new(context), blueprints, progress })
}

/// Writes the rows that are known to be unusable to `data-problems.jsonl`, before anything is decided about them.
fn list_problems(
    args: &PrepareArgs,
    dir: &ArmDir,
    training: &Source,
    suites: &[Source],
) -> Result<DataProblems, InputError> {
    let problems = DataProblems::resumed(dir.read_data_problems()?);
    let id = &args.live.id;
    let sources = || std::iter::once(training).chain(suites);
    for message in sources().filter_map(Source::warning) {
        tracing::warn!(arm = %id.arm, seed = id.seed, "{message}");
        args.live.watchers.tell(RunEvent::Warning { id: id.clone(), message });
    }
    let new = problems.add(sources().flat_map(Source::problems).collect());
    if new.is_empty() {
        return Ok(problems);
    }
    let file = id.folder().join(ArmFile::DataProblems.name());
    let lines = vec![Lines { file, lines: json_lines(new.into_iter().map(|(problem, _)| problem)) }];
    let written = Handle::current().block_on(args.recorder.call(lines, RecorderMsg::Append));
    let unrecorded = |error: &dyn std::fmt::Display| InputError::Unrecorded(error.to_string());
    written.map_err(|error| unrecorded(&error))?.map_err(|error| unrecorded(&error))?;
    Ok(problems)
}

/// The rows of the kinds that a supervised arm begins with.
fn curriculum(config: &ArmConfig, training: &Questions) -> Result<Option<Questions>, InputError> {
    let curriculum = &config.sft.curriculum;
    if config.method != Method::Sft || curriculum.steps == 0 {
        return Ok(None);
    }
    let wanted = |row: &Arc<Question>| row.kind.as_ref().is_some_and(|kind| curriculum.kinds.contains(kind));
    let rows: Questions = training.iter().filter(wanted).collect();
    if rows.is_empty() {
        let known: BTreeSet<String> = training.iter().filter_map(|row| row.kind.clone()).collect();
        return Err(InputError::CurriculumKinds {
            arm: config.name.clone(),
            wanted: curriculum.kinds.clone(),
            known: known.into_iter().collect(),
        });
    }
    Ok(Some(rows))
}

/// The words that the projector is fitted to, if the arm has such steps.
fn word_vocabulary(
    config: &ArmConfig,
    training: &Source,
    processor: &Processor,
) -> Result<Option<WordVocabulary>, InputError> {
    if config.align.is_off() {
        return Ok(None);
    }
    let words = WordVocabulary::new(&training.rows.questions, processor);
    let no_words = || InputError::NoWords { path: training.rows.path.clone() };
    words.map(Some).ok_or_else(no_words)
}

fn require_audio(policy: &Policy) -> Result<(), InputError> {
    if policy.config().audio.is_some() {
        return Ok(());
    }
    Err(InputError::TextOnly { architecture: policy.config().architecture.name().to_owned() })
}

/// Where the arm begins: at its newest checkpoint if it resumes and has one, else at the policy as it was opened.
fn begin(args: &PrepareArgs, dir: &ArmDir, policy: &Policy) -> Result<(Progress, Published), InputError> {
    if args.resume
        && let Some((state, published)) = resume_checkpoint(dir, policy)?
    {
        return Ok((state.progress, published));
    }
    let fresh = Published { policy_version: 0, trainable: policy.publish(), optimizer: Vec::new() };
    Ok((Progress::default(), fresh))
}

fn judge(args: &PrepareArgs) -> Result<JudgeArgs, InputError> {
    let config = &args.live.config;
    let mut judge_config = config.judge.clone();
    if args.live.is_replay() {
        // It asks again what was within the budget then.
        judge_config.budget = JudgeBudget::default();
    }
    let judge = args
        .shared
        .judges
        .open(&judge_config)
        .map_err(|source| InputError::Judge { arm: config.name.clone(), source: Box::new(source) })?;
    // A batch must be answered before the call to the slot times out.
    let timeout = Duration::from_secs_f64(config.supervision.call_timeout_seconds * 0.9);
    Ok(JudgeArgs { judge, judges: args.shared.judges.clone(), config: judge_config, timeout })
}

fn blueprints(
    args: &PrepareArgs,
    weights: WeightStore,
    source: AudioSource,
    notices: &Notices,
) -> Result<Blueprints, InputError> {
    let config = &args.live.config;
    Ok(Blueprints {
        loader: LoaderArgs {
            source,
            workers: config.loader.workers,
            cache_clips: config.loader.cache_clips,
            cache_bytes: config.loader.cache_mb.saturating_mul(1_000_000),
        },
        sampler: sampler(args, weights.clone(), notices),
        judge: judge(args)?,
        has_shaper: config.method == Method::Grpo,
        optimizer: (config.method != Method::None).then(|| optimizer(args, weights)),
    })
}

fn sampler(args: &PrepareArgs, weights: WeightStore, notices: &Notices) -> SamplerPlan {
    let (config, id) = (&args.live.config, &args.live.id);
    let (threads, compute_slots) = (args.threads, args.shared.compute_slots.clone());
    let sampler = &config.sampler;
    if !sampler.has_servers() {
        let (batch_prompts, cuda_graphs) = (config.sampling.batch_prompts, sampler.cuda_graphs);
        return SamplerPlan::Own(SamplerArgs { weights, threads, batch_prompts, compute_slots, cuda_graphs });
    }
    let (watchers, id_of_arm, notices) = (args.live.watchers.clone(), id.clone(), notices.clone());
    let notify = move |message: String| {
        tracing::warn!(arm = %id_of_arm.arm, seed = id_of_arm.seed, "{message}");
        notices.add(message.clone());
        watchers.tell(RunEvent::Warning { id: id_of_arm.clone(), message });
    };
    let settings = Settings {
        urls: sampler.urls.clone(),
        model: sampler.model.clone(),
        api_key_env: sampler.api_key_env.clone(),
        concurrency: sampler.concurrency,
        timeout: Duration::from_secs_f64(sampler.timeout_seconds),
        slice_tokens: sampler.slice_tokens,
        at_new_version: match sampler.at_new_version {
            AtNewVersion::Finish => rollouts::AtNewVersion::Finish,
            AtNewVersion::Continue => rollouts::AtNewVersion::Continue,
            AtNewVersion::Discard => rollouts::AtNewVersion::Discard,
        },
        straggler_factor: sampler.straggler_factor,
        give_up: Duration::from_secs_f64(sampler.give_up_seconds),
        retries: sampler.retries,
        max_dropped_fraction: sampler.max_dropped_fraction,
        restart: sampler.restart.clone(),
        canary_tolerance: sampler.canary_tolerance,
        kept_versions: config.grpo.max_staleness as usize + 2,
        adapters: args.run_dir.arm(id).adapters(),
        notify: Arc::new(notify),
    };
    let has_adapter = config.policy.train.lora();
    SamplerPlan::Servers(Box::new(ServerSamplerArgs {
        weights,
        threads,
        compute_slots,
        has_adapter,
        settings,
    }))
}

fn optimizer(args: &PrepareArgs, weights: WeightStore) -> OptimizerArgs {
    let (id, config, shared) = (&args.live.id, &args.live.config, &args.shared);
    let ranks = shared.ranks.as_ref().map(|ranks| ranks.of_arm(id, config, args.threads));
    let slots = shared.compute_slots.clone();
    OptimizerArgs { ranks, ..optimizer_args(config, id.seed, weights, args.threads, slots) }
}
