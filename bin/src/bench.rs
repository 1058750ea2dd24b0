//! `sandbox bench`: how fast a policy generates and trains on this device, beside what the device could do.
//!
//! The model is opened as an arm opens it, but without an end-of-sequence token. Every time is the fastest of a few tries.

use std::path::Path;
use std::time::Instant;

use audio::{Hearing, LogMel, SAMPLE_RATE};
use model::config::{Architecture, ModelConfig};
use model::device::ResolvedDevice;
use model::speed::{Decoding, Phase, PolicySpeed, Sample, Speed, Workload, bf16_is_faster, measure};
use model::{Bases, ModelError, Processor};
use scenarios::{DType, PolicyConfig, PolicyPath, TrainPart};
use serde::Serialize;

use crate::cli::{BenchOptions, Trains};
use crate::failure::Failure;
use crate::memory::most_memory;
use crate::streams::{columns, errln, outln};
use crate::table::Table;

mod check;
mod folder;
mod roof;

use roof::{DecodingShare, Sizes};

/// Tries of which the fastest counts when a file is read.
const LOADS: usize = 40;

/// Frames of an audio tower's attention in a second.
const FRAMES_PER_SECOND: f64 = 50.0;

/// Everything that was measured.
#[derive(Serialize)]
struct Measured {
    model: String,
    device: String,
    dtype: &'static str,
    threads: u16,
    /// Floating-point operations of matrix products, and bytes of copies, per second.
    flops: f64,
    copied_bytes: f64,
    prompt_tokens: usize,
    decoding: Vec<DecodingRow>,
    training: Vec<TrainingRow>,
    /// From an audio file to features.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_seconds: Option<f64>,
    /// The most main memory that the process took.
    peak_bytes: Option<u64>,
}

#[derive(Serialize)]
struct DecodingRow {
    #[serde(flatten)]
    measured: Decoding,
    #[serde(flatten)]
    share: DecodingShare,
}

#[derive(Serialize)]
struct TrainingRow {
    train: &'static str,
    /// The fastest time of each phase.
    phases: Vec<Phase>,
    step_seconds: f64,
    /// Share of the device's matrix products that the three passes of training used, 0 to 1.
    mfu: f64,
    sample: Sample,
}

pub fn bench(options: &BenchOptions) -> Result<(), Failure> {
    let resolved = model::device::resolve(&options.device).map_err(input)?;
    for note in &resolved.notes {
        errln!("{note}");
    }
    let folder = folder::folder(options)?;
    let config = ModelConfig::open(folder.path()).map_err(input)?;
    if config.audio.is_none() {
        let message = format!("{}: a text-only model; name one that hears", named(options));
        return Err(Failure::Input(message));
    }
    let bench = Bench { options, folder: folder.path(), config, resolved };
    if options.check {
        return check::check(&bench);
    }
    let measured = bench.measure()?;
    if options.json {
        let json = serde_json::to_string(&measured).map_err(Failure::running)?;
        outln!("{json}");
    } else {
        print(&measured, options);
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a BenchOptions,
    folder: &'a Path,
    config: ModelConfig,
    resolved: ResolvedDevice,
}

impl Bench<'_> {
    fn measure(&self) -> Result<Measured, Failure> {
        let options = self.options;
        let bf16 = self.is_bf16();
        let speed = measure(self.resolved.device, bf16, options.threads.into());
        let mut measured = Measured {
            model: named(options),
            device: format!("{:?}", self.resolved.device).to_lowercase(),
            dtype: if bf16 { "bf16" } else { "f32" },
            threads: options.threads,
            flops: speed.flops,
            copied_bytes: speed.bytes,
            prompt_tokens: 0,
            decoding: Vec::new(),
            training: Vec::new(),
            load_seconds: None,
            peak_bytes: None,
        };
        for &trains in &options.train {
            self.train(trains, &speed, &mut measured)?;
        }
        measured.load_seconds = options.load.as_deref().map(|path| self.load(path)).transpose()?;
        measured.peak_bytes = most_memory("self");
        Ok(measured)
    }

    /// The number format of the weights, as a run would choose it.
    fn is_bf16(&self) -> bool {
        match self.options.dtype {
            DType::F32 => false,
            DType::Bf16 => true,
            DType::Auto => self.resolved.device.is_cuda(),
            DType::Fastest => bf16_is_faster(self.resolved.device),
        }
    }

    /// The policy, open for training as `trains` says.
    fn open(&self, trains: Trains) -> Result<PolicySpeed, Failure> {
        let options = self.options;
        let config = PolicyConfig {
            path: PolicyPath::Directory(self.folder.to_owned()),
            train: match trains {
                Trains::Lora => TrainPart::Lora.into(),
                Trains::Full => TrainPart::Full.into(),
            },
            train_audio_tower: trains == Trains::Full,
            from_scratch: options.random.is_some(),
            dtype: if self.is_bf16() { DType::Bf16 } else { DType::F32 },
            ..PolicyConfig::default()
        };
        let policy =
            run::open_policy(&Bases::default(), &config, self.resolved.device, 1).map_err(Failure::input)?;
        let clips = self.clips(policy.processor())?;
        let workload = Workload { clips, group_size: options.group.into(), tokens: options.tokens.into() };
        let policy = PolicySpeed::new(policy, workload).map_err(Failure::running)?;
        policy.use_cuda_graphs(!options.no_cuda_graphs);
        Ok(policy)
    }

    /// Measures a step that trains what `trains` says, and once generation.
    fn train(&self, trains: Trains, speed: &Speed, measured: &mut Measured) -> Result<(), Failure> {
        let options = self.options;
        let mut policy = self.open(trains)?;
        let sample = policy.sample().map_err(running)?;
        measured.prompt_tokens = sample.prompts.iter().map(Vec::len).max().unwrap_or_default();
        let sizes = self.sizes(sample.prompts.len(), measured.prompt_tokens);
        if measured.decoding.is_empty() {
            for &batch in &options.batch {
                for &graphs in self.with_and_without_graphs() {
                    policy.use_cuda_graphs(graphs);
                    let decoding = policy.decode(batch.into()).map_err(running)?;
                    let share = roof::decoding(&sizes, &decoding, speed);
                    measured.decoding.push(DecodingRow { measured: decoding, share });
                }
            }
            policy.use_cuda_graphs(!options.no_cuda_graphs);
        }
        let steps = (0..=u64::from(options.steps)).map(|step| policy.step(step));
        let steps = steps.collect::<Result<Vec<_>, _>>().map_err(running)?;
        let phases = fastest(&steps[1..]);
        measured.training.push(TrainingRow {
            train: match trains {
                Trains::Lora => "lora",
                Trains::Full => "full",
            },
            step_seconds: phases.iter().map(|phase| phase.seconds).sum(),
            mfu: roof::passes(&sizes, trains, &phases, speed),
            phases,
            sample,
        });
        Ok(())
    }

    /// Whether generation is measured with CUDA graphs, without, or with both.
    fn with_and_without_graphs(&self) -> &'static [bool] {
        match (self.resolved.device.is_cuda(), self.options.no_cuda_graphs) {
            (true, false) => &[true, false],
            _ => &[false],
        }
    }

    fn sizes(&self, prompts: usize, prompt_tokens: usize) -> Sizes<'_> {
        let options = self.options;
        let frames = options.seconds * FRAMES_PER_SECOND;
        // Omni's tower attends within chunks.
        let chunk =
            self.config.audio.as_ref().filter(|_| self.config.architecture == Architecture::Qwen25Omni);
        Sizes {
            config: &self.config,
            element: if self.is_bf16() { 2.0 } else { 4.0 },
            prompts: prompts as f64,
            prompt: prompt_tokens as f64,
            group: options.group.into(),
            tokens: options.tokens.into(),
            frames,
            window: chunk.map_or(frames, |audio| frames.min(audio.n_window as f64)),
        }
    }

    fn clips(&self, processor: &Processor) -> Result<Vec<LogMel>, Failure> {
        if self.options.audio.is_empty() {
            let tones = (0..self.options.prompts).map(|index| tone(index, self.options.seconds));
            return tones.map(|samples| processor.extract(&samples).map_err(input)).collect();
        }
        self.options.audio.iter().map(|path| features(processor, path)).collect()
    }

    /// The fastest time from an audio file to features, in seconds.
    fn load(&self, path: &Path) -> Result<f64, Failure> {
        let processor = Processor::open(self.folder).map_err(input)?;
        let mut best = f64::INFINITY;
        for _ in 0..LOADS {
            let started = Instant::now();
            features(&processor, path)?;
            best = best.min(started.elapsed().as_secs_f64());
        }
        Ok(best)
    }
}

/// A tone whose pitch depends on `index`.
fn tone(index: u16, seconds: f64) -> Vec<f32> {
    let pitch = 0.1 + 0.05 * f64::from(index);
    let samples = (f64::from(SAMPLE_RATE) * seconds) as usize;
    (0..samples).map(|sample| 0.3 * (pitch * sample as f64).sin() as f32).collect()
}

fn features(processor: &Processor, path: &Path) -> Result<LogMel, Failure> {
    let heard = audio::load(path, &Hearing::default()).map_err(|error| Failure::Input(error.to_string()))?;
    processor.extract(&heard.samples).map_err(input)
}

/// The fastest time of each phase over several steps.
fn fastest(steps: &[Vec<Phase>]) -> Vec<Phase> {
    let Some((first, rest)) = steps.split_first() else { return Vec::new() };
    let least = |(place, phase): (usize, &Phase)| Phase {
        name: phase.name,
        seconds: rest.iter().map(|step| step[place].seconds).fold(phase.seconds, f64::min),
    };
    first.iter().enumerate().map(least).collect()
}

/// The model as the options name it.
fn named(options: &BenchOptions) -> String {
    use clap::ValueEnum as _;
    let Some(shape) = options.random else { return options.policy.to_string() };
    let name = shape.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let layers = options.layers.map_or_else(String::new, |layers| format!(" with {layers} layers"));
    format!("{name}{layers}, random weights")
}

fn print(measured: &Measured, options: &BenchOptions) {
    let threads = match (measured.device.as_str(), measured.threads) {
        ("cpu", 0) => ", libtorch's own number of threads".to_owned(),
        ("cpu", 1) => ", 1 thread".to_owned(),
        ("cpu", threads) => format!(", {threads} threads"),
        _ => String::new(),
    };
    outln!("{}; {}{threads}, {}", measured.model, measured.device, measured.dtype);
    outln!(
        "this device copies at {:.1} GB/s and multiplies at {:.2} TFLOP/s",
        measured.copied_bytes / 1e9,
        measured.flops / 1e12
    );
    outln!("");
    outln!("generation, prompts of {} tokens", measured.prompt_tokens);
    outln!("{}", decoding_table(measured).text(columns()).trim_end());
    outln!("");
    let clips = if options.audio.is_empty() { usize::from(options.prompts) } else { options.audio.len() };
    outln!("a step of {clips} prompts x {} completions x {} tokens, in ms", options.group, options.tokens);
    let mut heads = vec!["trained".to_owned()];
    heads.extend(measured.training[0].phases.iter().map(|phase| phase.name.to_owned()));
    heads.extend(["step", "MFU %"].map(str::to_owned));
    let mut table = Table::of(heads);
    for row in &measured.training {
        let mut cells = vec![row.train.to_owned()];
        cells.extend(row.phases.iter().map(|phase| format!("{:.1}", 1e3 * phase.seconds)));
        cells.extend([format!("{:.1}", 1e3 * row.step_seconds), format!("{:.0}", 100.0 * row.mfu)]);
        table.row(cells);
    }
    outln!("{}", table.text(columns()).trim_end());
    if let Some(seconds) = measured.load_seconds {
        outln!("from file to features: {:.2} ms", 1e3 * seconds);
    }
    if let Some(bytes) = measured.peak_bytes {
        outln!("most main memory: {:.2} GB", bytes as f64 / 1e9);
    }
}

fn decoding_table(measured: &Measured) -> Table {
    let mut heads =
        vec!["batch", "first token ms", "tokens/s", "% of bandwidth", "% of FLOP/s", "limited by"];
    let on_gpu = measured.device != "cpu";
    if on_gpu {
        heads.insert(1, "launches");
    }
    let mut table = Table::new(&heads);
    for DecodingRow { measured, share } in &measured.decoding {
        let mut cells = vec![
            measured.batch.to_string(),
            format!("{:.1}", 1e3 * measured.prefill_seconds),
            format!("{:.0}", measured.tokens_per_second),
            format!("{:.0}", 100.0 * share.bandwidth),
            format!("{:.0}", 100.0 * share.flops),
            format!("{:?}", share.limit).to_lowercase(),
        ];
        if on_gpu {
            let graph =
                measured.launches.map_or("no graph".to_owned(), |launches| format!("graph of {launches}"));
            cells.insert(1, graph);
        }
        table.row(cells);
    }
    table
}

fn input(error: ModelError) -> Failure {
    Failure::Input(error.to_string())
}

fn running(error: ModelError) -> Failure {
    Failure::Running(error.to_string())
}
