//! The time of one GRPO step, phase by phase, and the speed of generation, for a model directory of any size.
//!
//! Run `cargo bench -p model --bench train_step -- --policy DIR --lora`. Without `--policy`, the model is a random
//! Qwen2-Audio of width 128 with 2 + 3 layers. `model/benches/compare` compares it with transformers. The executable
//! needs only libtorch, and can be copied to a machine without cargo.

mod random_policy;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use audio::{Hearing, LogMel};
use clap::Parser;
use model::loss::{GrpoConfig, LossInputs, Normalizer, grpo_loss};
use model::optim::{AdamW, AdamWConfig};
use model::{
    Adapter, Completion, Group, LoraConfig, ModelError, Policy, PolicyOptions, Prompt, SamplingParams,
    Trained,
};
use random_policy::Size;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

type Error = Box<dyn std::error::Error>;

const LEARNING_RATE: f64 = 1e-6;
const QUESTION: &str = "What is it?";

#[derive(Parser)]
struct Args {
    /// Hugging Face directory of the policy; a tiny model with random weights if absent.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Clip of a prompt; repeat it for each prompt. Two prompts with a tone of 10 s each if absent.
    #[arg(long)]
    audio: Vec<PathBuf>,
    /// Train the audio tower together with the language model.
    #[arg(long)]
    audio_tower: bool,
    /// Train a LoRA adapter of rank 8 on the linear layers instead of the weights.
    #[arg(long)]
    lora: bool,
    /// Whether layers are recomputed in the backward pass; the policy's default if absent.
    #[arg(long)]
    checkpointing: Option<bool>,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// `f32` or `bf16`; the policy's default if absent.
    #[arg(long)]
    dtype: Option<String>,
    /// Number of threads that libtorch uses.
    #[arg(long, default_value_t = 1)]
    threads: i32,
    /// Number of completions of each prompt.
    #[arg(long, default_value_t = 8)]
    group: usize,
    /// Number of tokens in each completion.
    #[arg(long, default_value_t = 32)]
    tokens: usize,
    /// Number of measured steps, after one unmeasured step.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Batch sizes to measure generation with, with up to 8 completions of the same prompt.
    #[arg(long, value_delimiter = ',')]
    decode: Vec<usize>,
    /// Audio file to measure the time from disk to features with.
    #[arg(long)]
    load: Option<PathBuf>,
    /// File to write all measurements to, and the generated completions with their log-probabilities, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Ignored; `cargo bench` passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Error> {
    let args = Args::parse();
    tch::set_num_threads(args.threads);
    let policy = open(&args)?;
    let clips = clips(&args, &policy)?;
    let mut bench = Bench::new(&args, policy)?;
    let sample = bench.sample(&clips)?;
    let mut decode = Vec::new();
    for &batch in &args.decode {
        decode.push(bench.decode(&clips, batch)?);
    }
    for step in 0..=args.steps {
        let phases = bench.step(&clips, step as u64)?;
        if step > 0 {
            bench.steps.push(phases);
        }
    }
    let load_seconds = args.load.as_deref().map(|path| bench.load(path)).transpose()?;
    bench.print(&decode);
    if let Some(seconds) = load_seconds {
        println!("file to features: {:.2} ms", 1e3 * seconds);
    }
    if let Some(path) = &args.json {
        let report = json!({"sample": sample, "decode": decode, "steps": bench.steps,
            "load_seconds": load_seconds, "peak_resident_bytes": peak_resident_bytes()});
        fs::write(path, report.to_string())?;
    }
    Ok(())
}

fn open(args: &Args) -> Result<Policy, Error> {
    let dtype = match args.dtype.as_deref() {
        None => None,
        Some("f32") => Some(Kind::Float),
        Some("bf16") => Some(Kind::BFloat16),
        Some(other) => return Err(format!("--dtype is `{other}`; write f32 or bf16").into()),
    };
    let device = model::device::resolve(&args.device)?.device;
    let adapter = args.lora.then(|| Adapter::Fresh { config: LoraConfig::default(), seed: 1 });
    let options = PolicyOptions {
        device,
        dtype,
        trained: if args.audio_tower { Trained::EVERYTHING } else { Trained::DECODER },
        adapt_tower: args.audio_tower,
        adapter,
        gradient_checkpointing: args.checkpointing,
        ..PolicyOptions::default()
    };
    Ok(match &args.policy {
        Some(dir) => Policy::open(dir, &options)?,
        None => random_policy::open(&Size { width: 128, layers: 3, window_seconds: 30 }, true, &options),
    })
}

fn clips(args: &Args, policy: &Policy) -> Result<Vec<LogMel>, Error> {
    if args.audio.is_empty() {
        let tone = |index| (*random_policy::tone(policy, index, 10.0)).clone();
        return Ok((0..2).map(tone).collect());
    }
    let processor = policy.processor();
    args.audio
        .iter()
        .map(|path| Ok(processor.extract(&audio::load(path, &Hearing::default())?.samples)?))
        .collect()
}

/// The name and duration in seconds of each phase, in order.
type Phases = Vec<(&'static str, f64)>;

struct Bench {
    group: usize,
    params: SamplingParams,
    policy: Policy,
    sampler: Policy,
    reference: Policy,
    adamw: AdamW,
    steps: Vec<Phases>,
}

impl Bench {
    fn new(args: &Args, policy: Policy) -> Result<Bench, Error> {
        Ok(Bench {
            group: args.group,
            params: SamplingParams { max_new_tokens: args.tokens, ..Default::default() },
            sampler: policy.replica()?,
            reference: policy.reference()?,
            adamw: AdamW::new(policy.trainable(), AdamWConfig::default())?,
            policy,
            steps: Vec::new(),
        })
    }

    /// `count` prompts with the clips in turn. Each call copies the clips, so that their features are not in the cache.
    fn prompts(&self, clips: &[LogMel], count: usize) -> Result<Vec<Prompt>, ModelError> {
        let prompt = |clip: &LogMel| self.policy.processor().prompt(QUESTION, &[Arc::new(clip.clone())]);
        clips.iter().cycle().take(count).map(prompt).collect()
    }

    /// Generates completions and computes their log-probabilities, for the comparison with another implementation.
    fn sample(&self, clips: &[LogMel]) -> Result<Value, Error> {
        let prompts = self.prompts(clips, clips.len())?;
        let seeds: Vec<u64> = (0..(prompts.len() * self.group) as u64).collect();
        let completions = self.sampler.generate(&prompts, self.group, &self.params, &seeds)?;
        let logprobs = self.policy.logprobs(&groups(&prompts, &completions), 1.0)?.logprobs;
        Ok(json!({
            "prompts": prompts.iter().map(|prompt| &prompt.ids).collect::<Vec<_>>(),
            "completions": completions.iter().map(|completion| &completion.ids).collect::<Vec<_>>(),
            "sampled": completions.iter().map(|completion| &completion.logprobs).collect::<Vec<_>>(),
            "policy": Vec::<Vec<f32>>::try_from(logprobs.to_device(Device::Cpu))?,
        }))
    }

    /// Measures the time to the first token of `batch` completions, and the tokens per second after it.
    fn decode(&self, clips: &[LogMel], batch: usize) -> Result<Value, Error> {
        let group = batch.min(8);
        let seeds: Vec<u64> = (0..batch as u64).collect();
        let time = |prompts: &[Prompt], max_new_tokens: usize| -> Result<f64, Error> {
            let params = SamplingParams { max_new_tokens, ..self.params };
            let started = Instant::now();
            self.sampler.generate(prompts, group, &params, &seeds)?;
            Ok(started.elapsed().as_secs_f64())
        };
        let (mut first, mut one, mut all) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        for _ in 0..4 {
            let prompts = self.prompts(clips, batch / group)?;
            first = first.min(time(&prompts, 1)?);
            // The clips' features are in the cache now, so that only the decoder is measured.
            one = one.min(time(&prompts, 1)?);
            all = all.min(time(&prompts, 1 + self.params.max_new_tokens)?);
        }
        let tokens = (batch * self.params.max_new_tokens) as f64;
        Ok(json!({"batch": batch, "prefill_seconds": first, "tokens_per_second": tokens / (all - one)}))
    }

    /// Measures the time from an audio file to features, in seconds.
    fn load(&self, path: &Path) -> Result<f64, Error> {
        let mut best = f64::INFINITY;
        for _ in 0..40 {
            let started = Instant::now();
            self.policy.processor().extract(&audio::load(path, &Hearing::default())?.samples)?;
            best = best.min(started.elapsed().as_secs_f64());
        }
        Ok(best)
    }

    /// Runs one GRPO step with made-up advantages, and returns the duration of each phase.
    fn step(&mut self, clips: &[LogMel], step: u64) -> Result<Phases, Error> {
        let prompts = self.prompts(clips, clips.len())?;
        let count = prompts.len() * self.group;
        let seeds: Vec<u64> = (0..count as u64).map(|seed| seed + step * 1000).collect();
        let mut clock = Clock::start(self.policy.device());

        let completions = self.sampler.generate(&prompts, self.group, &self.params, &seeds)?;
        clock.end("generation");
        let groups = groups(&prompts, &completions);
        let current = self.policy.forward(&groups, 1.0, step)?;
        clock.end("policy");
        let reference = self.reference.logprobs(&groups, 1.0)?.logprobs;
        clock.end("reference");
        let advantages: Vec<f32> = (0..count).map(|index| [1.0, -1.0][index % 2]).collect();
        let advantages = Tensor::from_slice(&advantages).to_device(self.policy.device());
        let lengths = completions.iter().map(|completion| completion.ids.len());
        let loss = grpo_loss(
            &LossInputs {
                logprobs: &current.logprobs,
                old_logprobs: None,
                sampling_logprobs: None,
                correction: None,
                covariant: None,
                entropy: None,
                ref_logprobs: Some(&reference),
                advantages: &advantages,
                mask: &current.mask,
                normalizer: Normalizer::of_lengths(lengths, self.params.max_new_tokens),
            },
            &GrpoConfig::default(),
        );
        self.adamw.zero_grad();
        current.backward(&loss.loss)?;
        clock.end("backward");
        self.adamw.step(LEARNING_RATE);
        self.sampler.load_trainable(&self.policy.publish())?;
        clock.end("optimizer");
        Ok(clock.phases)
    }

    fn print(&self, decode: &[Value]) {
        println!("milliseconds of the fastest of {} steps, phase by phase:", self.steps.len());
        let phases = self.steps.first().into_iter().flatten();
        let mut total = 0.0;
        for (index, (name, _)) in phases.enumerate() {
            let best = self.steps.iter().map(|step| step[index].1).fold(f64::INFINITY, f64::min);
            total += best;
            println!("{name:>12} {:9.2}", 1e3 * best);
        }
        println!("{:>12} {:9.2}", "step", 1e3 * total);
        for row in decode {
            println!(
                "batch {}: {:.2} ms until the first token, then {:.0} tokens/s",
                row["batch"],
                1e3 * row["prefill_seconds"].as_f64().unwrap_or_default(),
                row["tokens_per_second"].as_f64().unwrap_or_default()
            );
        }
    }
}

fn groups<'a>(prompts: &'a [Prompt], completions: &'a [Completion]) -> Vec<Group<'a>> {
    let group = |(prompt, own): (&'a Prompt, &'a [Completion])| Group {
        prompt,
        completions: own.iter().map(|completion| &completion.ids[..]).collect(),
    };
    prompts.iter().zip(completions.chunks(completions.len() / prompts.len())).map(group).collect()
}

/// Measures consecutive phases. Waits for the device at the end of each.
struct Clock {
    device: Device,
    last: Instant,
    phases: Phases,
}

impl Clock {
    fn start(device: Device) -> Clock {
        Clock { device, last: Instant::now(), phases: Vec::new() }
    }

    fn end(&mut self, phase: &'static str) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
        let now = Instant::now();
        self.phases.push((phase, (now - self.last).as_secs_f64()));
        self.last = now;
    }
}

/// The peak memory of this process in bytes; `None` on systems without `/proc`.
fn peak_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
