//! The memory and the time of a run, estimated for `sandbox check` from what the survey measured and how fast this machine is.

use std::collections::BTreeMap;
use std::fmt;

use model::config::{AudioConfig, ModelConfig, TextConfig};
use model::device::ResolvedDevice;
use model::speed::{Speed, measure};
use model::{Processor, device};
use scenarios::{ArmConfig, DType, Experiment, Method};
use serde::Serialize;
use survey::{PromptTokens, Role, Survey};

use super::needs::{ArmNeeds, COMPLETION_USED, Facts, needs};

/// What a CUDA context takes of a GPU's memory, in bytes.
pub const CUDA_CONTEXT: u64 = 600_000_000;

/// What the arms of an experiment will take. All of it is an estimate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Needs {
    /// The device as the scenario names it.
    pub device: String,
    /// Arms that train at the same time.
    pub side_by_side: usize,
    /// Memory of the machine while they train, in bytes.
    pub memory_bytes: u64,
    /// Memory of the GPU, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_bytes: Option<u64>,
    /// Products of large matrices on this machine, in floating-point operations per second.
    pub flops: Option<f64>,
    /// What a copy reads and writes on this machine, in bytes per second.
    pub copied_bytes: Option<f64>,
    pub arms: Vec<ArmNeeds>,
}

/// Where an experiment trains, and how many of its arms at the same time.
pub(super) struct Spread {
    /// `None` if the device is not on this machine.
    resolved: Option<ResolvedDevice>,
    pub(super) gpu: bool,
    pub(super) side_by_side: usize,
    threads: usize,
}

impl Spread {
    pub(super) fn of(experiment: &Experiment) -> Self {
        let named = experiment.run.device.to_string();
        let resolved = device::resolve(&named).ok();
        let device = resolved.as_ref().map(|resolved| resolved.device);
        let spread = device.map(|device| run::side_by_side(experiment, device));
        let (side_by_side, threads) = spread.unwrap_or((experiment.run.parallel_arms.max(1), 0));
        Spread { resolved, gpu: device.is_none_or(|device| device.is_cuda()), side_by_side, threads }
    }
}

/// What the estimate of an arm is made of beside its settings.
pub(super) struct Known {
    text: TextConfig,
    audio: Option<AudioConfig>,
    facts: Facts,
}

impl Known {
    /// The dimensions of an arm's model, and its data as the survey found it; `None` without them.
    fn of(arm: &ArmConfig, data: &Survey, gpu: bool, speed: Option<Speed>) -> Option<Self> {
        let folder = arm.policy.path.folder().ok()?;
        let (config, processor) = (ModelConfig::open(&folder).ok()?, Processor::open(&folder).ok()?);
        let (prompts, clips, seconds) = of_data(arm, data)?;
        let facts = Facts {
            prompt_tokens: prompts.median,
            completion_used: COMPLETION_USED,
            clips,
            clip_bytes: clip_bytes(&processor, seconds),
            gpu,
            speed,
        };
        Some(Known { text: config.text, audio: config.audio, facts })
    }

    /// The same with the longest prompts, and completions as long as they may become.
    pub(super) fn at_most(arm: &ArmConfig, data: &Survey, gpu: bool) -> Option<Self> {
        let known = Known::of(arm, data, gpu, None)?;
        let prompt_tokens = of_data(arm, data)?.0.max;
        Some(Known { facts: Facts { prompt_tokens, completion_used: 1.0, ..known.facts }, ..known })
    }

    /// What a step of the arm takes.
    pub(super) fn needs(&self, arm: &ArmConfig) -> ArmNeeds {
        needs(arm, &self.text, self.audio.as_ref(), &self.facts)
    }

    /// Tokens of a prompt with its clip.
    pub(super) fn prompt_tokens(&self) -> usize {
        self.facts.prompt_tokens
    }
}

/// Estimates what the arms take whose prompts the survey counted; `None` if there is none.
pub fn estimate(experiment: &Experiment, data: &Survey) -> Option<Needs> {
    let spread = Spread::of(experiment);
    let mut experiment = experiment.clone();
    let device = spread.resolved.as_ref().map(|resolved| resolved.device);
    if let Some(device) = device {
        run::settle_dtypes(&mut experiment, device);
    }
    let experiment = &experiment;
    let bf16 =
        |arm: &ArmConfig| arm.policy.dtype == DType::Bf16 || arm.policy.dtype == DType::Auto && spread.gpu;
    let speed = device.map(|device| measure(device, experiment.arms.iter().any(bf16), spread.threads));
    // With libtorch loaded and its threads started, this process is what a run is without its arms.
    let process = resident_bytes();
    let arms: Vec<ArmNeeds> = experiment
        .arms
        .iter()
        .filter_map(|arm| Some(Known::of(arm, data, spread.gpu, speed)?.needs(arm)))
        .collect();
    if arms.is_empty() {
        return None;
    }
    let Total { on_device, features } = total(experiment, &arms, &spread);
    let in_main = process + features + if spread.gpu { 0 } else { on_device };
    Some(Needs {
        device: experiment.run.device.to_string(),
        side_by_side: spread.side_by_side,
        memory_bytes: in_main,
        gpu_bytes: spread.gpu.then_some(on_device + CUDA_CONTEXT),
        flops: speed.map(|speed| speed.flops),
        copied_bytes: speed.map(|speed| speed.bytes),
        arms,
    })
}

/// The bytes of the arms that train at the same time.
struct Total {
    on_device: u64,
    /// Features of clips, in the main memory.
    features: u64,
}

/// Adds up the arms that take most; those of one checkpoint share its frozen weights, and those of one data set its features.
fn total(experiment: &Experiment, arms: &[ArmNeeds], spread: &Spread) -> Total {
    let config = |arm: &ArmNeeds| experiment.arms.iter().find(|config| config.name == arm.arm);
    let policy = |arm: &ArmNeeds| config(arm).map(|config| &config.policy.path);
    let on_device = side_by_side_bytes(
        arms.iter()
            .map(|arm| {
                let own = arm.device_bytes - arm.frozen_bytes;
                ((policy(arm), arm.dtype), (own, arm.frozen_bytes))
            })
            .collect(),
        spread.side_by_side,
    );
    let features = side_by_side_bytes(
        arms.iter()
            .map(|arm| ((policy(arm), config(arm).map(|config| &config.data)), (0, arm.features_bytes)))
            .collect(),
        spread.side_by_side,
    );
    Total { on_device, features }
}

/// What a limit of `[memory]` counts of the arms: the memory of the GPU, or on the CPU that of this process with them.
pub(super) fn counted(experiment: &Experiment, arms: &[ArmNeeds], spread: &Spread) -> u64 {
    let Total { on_device, features } = total(experiment, arms, spread);
    on_device + if spread.gpu { CUDA_CONTEXT } else { resident_bytes() + features }
}

/// Bytes of the arms that take most if `count` of them train at the same time. Each has bytes of its own, and bytes of which
/// arms with an equal base hold those of the one that has most.
fn side_by_side_bytes<B: PartialEq>(arms: Vec<(B, (u64, u64))>, count: usize) -> u64 {
    let mut arms = arms;
    arms.sort_by_key(|(_, (own, shared))| std::cmp::Reverse(own + shared));
    arms.truncate(count);
    let shared_before = |place: usize| {
        let same = arms[..place].iter().filter(|(base, _)| *base == arms[place].0);
        same.map(|(_, (_, shared))| *shared).max().unwrap_or(0)
    };
    let bytes = |(place, (_, (own, shared))): (usize, &(B, (u64, u64)))| {
        own + shared.saturating_sub(shared_before(place))
    };
    arms.iter().enumerate().map(bytes).sum()
}

/// The lengths of an arm's prompts, the number of clips it hears, and their usual length in seconds.
fn of_data<'a>(arm: &ArmConfig, data: &'a Survey) -> Option<(&'a PromptTokens, u64, f64)> {
    let sources: Vec<_> = data.sources.iter().filter(|source| source.arms.contains(&arm.name)).collect();
    let wanted = if arm.method == Method::None { Role::Heldout } else { Role::Train };
    let main = sources.iter().find(|source| source.role == wanted)?;
    let prompts = main.prompt_tokens.as_ref()?;
    let drawn = match arm.method {
        Method::None => 0,
        Method::Grpo => arm.steps.saturating_mul(arm.sampling.prompts_per_step as u64),
        Method::Sft => arm.steps.saturating_mul(arm.sft.rows_per_step as u64),
    };
    let clips = sources.iter().map(|source| {
        let distinct = source.clips.distinct as u64;
        if source.role == Role::Train { distinct.min(drawn) } else { distinct }
    });
    let seconds = main.lengths.hours * 3600.0 / main.lengths.known.max(1) as f64;
    Some((prompts, clips.sum(), seconds))
}

/// Bytes of the features that each arm hears in the whole run, and has not heard after `steps` steps and `questions` questions of each
/// suite. They are kept in the memory of the machine.
pub fn features_to_come(
    experiment: &Experiment,
    data: &Survey,
    steps: u64,
    questions: usize,
) -> BTreeMap<String, u64> {
    let to_come = |arm: &ArmConfig| -> Option<u64> {
        let processor = Processor::open(&arm.policy.path.folder().ok()?).ok()?;
        let short = ArmConfig { steps: steps.min(arm.steps), ..arm.clone() };
        let (_, all, seconds) = of_data(arm, data)?;
        let (_, after_steps, _) = of_data(&short, data)?;
        let heard = after_steps - unasked_clips(arm, data, questions);
        let most = arm.loader.cache_clips as u64;
        let clips = all.min(most).saturating_sub(heard.min(most));
        Some((clips * clip_bytes(&processor, seconds)).min(arm.loader.cache_mb as u64 * 1_000_000))
    };
    let of_arm = |arm: &ArmConfig| Some((arm.name.clone(), to_come(arm)?));
    experiment.arms.iter().filter_map(of_arm).collect()
}

/// Held-out clips that nobody hears who is asked only so many questions of each suite.
fn unasked_clips(arm: &ArmConfig, data: &Survey, questions: usize) -> u64 {
    let suites = data.sources.iter();
    let suites = suites.filter(|source| source.role == Role::Heldout && source.arms.contains(&arm.name));
    suites.map(|source| (source.clips.distinct as u64).saturating_sub(questions as u64)).sum()
}

/// Bytes of the features of a clip.
fn clip_bytes(processor: &Processor, seconds: f64) -> u64 {
    let Some(features) = processor.feature_config() else { return 0 };
    let window = features.chunk_length_seconds as f64;
    let windows = (seconds / window).ceil().max(1.0);
    let heard = if processor.pads_clips() { windows * window } else { seconds };
    (4.0 * features.n_mels as f64 * heard * features.sampling_rate as f64 / features.hop as f64) as u64
}

/// Memory of this process, in bytes; 0 where the system does not say it.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beside = match self.side_by_side.min(self.arms.len()) {
            1 => String::new(),
            arms => format!(" for {arms} arms side by side"),
        };
        write!(f, "estimate: {} of memory{beside}", bytes(self.memory_bytes))?;
        if let Some(gpu) = self.gpu_bytes {
            write!(f, ", {} of the GPU's", bytes(gpu))?;
        }
        match self.flops.zip(self.copied_bytes) {
            Some((flops, copied)) => write!(
                f,
                "; this machine multiplies at {:.0} GFLOP/s and copies at {:.1} GB/s",
                flops / 1e9,
                copied / 1e9
            )?,
            None => write!(f, "; {} is not on this machine, so times are not known", self.device)?,
        }
        let width = self.arms.iter().map(|arm| arm.arm.chars().count()).max().unwrap_or_default();
        for arm in &self.arms {
            let time =
                arm.step_seconds.map_or(String::new(), |seconds| format!("{} per step, ", time(seconds)));
            write!(
                f,
                "\n  {:<width$}  {time}{}: weights {} ({} of {} trained, {}), optimizer {}, activations {}, keys and values {}, features {}",
                arm.arm,
                bytes(arm.device_bytes + arm.features_bytes),
                bytes(arm.weights_bytes + arm.copies_bytes),
                millions(arm.trained),
                millions(arm.weights),
                arm.dtype,
                bytes(arm.optimizer_bytes),
                bytes(arm.activations_bytes),
                bytes(arm.kv_cache_bytes),
                bytes(arm.features_bytes),
            )?;
        }
        Ok(())
    }
}

pub(super) fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        small @ ..1e9 => format!("{:.0} MB", small / 1e6),
        large => format!("{:.1} GB", large / 1e9),
    }
}

fn millions(count: u64) -> String {
    match count as f64 / 1e6 {
        small @ ..10.0 => format!("{small:.1} M"),
        large => format!("{large:.0} M"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{seconds:.2} s"),
        1.0..100.0 => format!("{seconds:.1} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_has_not_heard_all_clips_of_a_long_one() {
        let text = "[run]\nsteps = 50\n[sampling]\nprompts_per_step = 4\n[rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"a\"\n";
        let path = std::path::Path::new("a.toml");
        let mut experiment = scenarios::scenario::parse(text, path, &[], &[], None).unwrap();
        let source = |role, distinct| survey::SourceReport {
            name: "s".into(),
            role,
            arms: vec!["a".into()],
            file: path.into(),
            rows: Default::default(),
            clips: survey::ClipCounts { distinct, ..Default::default() },
            lengths: survey::Lengths { hours: 1.0, known: 360, ..Default::default() },
            decoded: None,
            gold_positions: Vec::new(),
            prompt_tokens: Some(survey::PromptTokens { median: 40, ..Default::default() }),
        };
        let data = Survey {
            sources: vec![source(Role::Train, 100), source(Role::Heldout, 80)],
            ..Default::default()
        };
        let to_come = |experiment: &Experiment, steps| features_to_come(experiment, &data, steps, 64)["a"];
        // 50 steps of 4 rows hear all 100 clips, 6 steps 24 of them; 64 of 80 held-out questions are asked.
        let clip =
            clip_bytes(&Processor::open(&experiment.arms[0].policy.path.folder().unwrap()).unwrap(), 10.0);
        assert_eq!(to_come(&experiment, 6), (76 + 16) * clip);
        assert_eq!(to_come(&experiment, 50), 16 * clip);
        // No more than the cache keeps: 110 clips, of which 24 + 64 are there.
        experiment.arms[0].loader.cache_clips = 110;
        assert_eq!(to_come(&experiment, 6), 22 * clip);
    }

    #[test]
    fn arms_of_one_checkpoint_hold_its_frozen_weights_once() {
        // Two adapters of one base, and an arm that trains the decoder of it: 10 + 100, 20 + 0, 90 + 0.
        let arms = vec![("a", (10, 100)), ("a", (20, 100)), ("a", (90, 30))];
        assert_eq!(side_by_side_bytes(arms.clone(), 3), 220);
        assert_eq!(side_by_side_bytes(arms, 1), 120, "one arm at a time: the one that takes most");
        assert_eq!(side_by_side_bytes(vec![("a", (10, 100)), ("b", (20, 100))], 2), 230);
    }
}
