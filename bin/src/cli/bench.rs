//! The options of `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use scenarios::{DType, PolicyPath};

use super::scenario_value;

#[derive(Args, Clone, Debug)]
pub struct BenchOptions {
    /// Model: a folder in the Hugging Face layout, a name on the Hub that is in the local cache, or builtin:tiny
    #[arg(
        long,
        value_name = "DIR",
        default_value = "builtin:tiny",
        value_parser = scenario_value::<PolicyPath>,
        value_hint = ValueHint::DirPath
    )]
    pub policy: PolicyPath,
    /// Random weights in the shape of a published model, for a machine that does not have it
    #[arg(long, value_enum, conflicts_with = "policy")]
    pub random: Option<Shape>,
    /// Use only this many layers of the --random model's decoder and tower, so that it fits
    #[arg(long, requires = "random")]
    pub layers: Option<u32>,
    /// What a step trains: lora (rank 8), full (all weights, with the audio tower), or both as lora,full
    #[arg(long, value_enum, value_delimiter = ',', default_value = "lora")]
    pub train: Vec<Trains>,
    /// Device to compute on: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Number format of the weights: auto, f32, bf16 or fastest
    #[arg(long, default_value = "auto", value_parser = scenario_value::<DType>)]
    pub dtype: DType,
    /// Threads of libtorch on the CPU; 0 leaves the choice to it
    #[arg(long, default_value_t = 1)]
    pub threads: u16,
    /// Prompts of a step, each with a clip
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub prompts: u16,
    /// Completions of each prompt
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub group: u16,
    /// Tokens of each completion
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub tokens: u16,
    /// Length of each prompt's clip, a tone, in seconds
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Clip of a prompt, in place of a tone; may be repeated, for a prompt each
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["prompts", "seconds"])]
    pub audio: Vec<PathBuf>,
    /// Numbers of completions to measure generation with, each up to 8 or a multiple of 8; without a number none is measured
    #[arg(long, value_name = "N,N,...", num_args = 0..=1, value_delimiter = ',', default_value = "1,16,64", value_parser = batch)]
    pub batch: Vec<u16>,
    /// Measured steps, after one that is not counted; the fastest time of each phase is printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// Launch every operation by itself on a GPU, and replay no CUDA graph
    #[arg(long)]
    pub no_cuda_graphs: bool,
    /// Only compare generation by CUDA graphs with generation without on this GPU, and fail if they differ by more than rounding
    #[arg(long, conflicts_with_all = ["no_cuda_graphs", "batch", "steps", "load"])]
    pub check: bool,
    /// Audio file to measure the time from disk to features with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub load: Option<PathBuf>,
    /// Print everything as JSON, with the completions and their log-probabilities
    #[arg(long)]
    pub json: bool,
}

/// The shape of a published model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Qwen2-Audio-7B: 8.4 billion weights, 17 GB in bf16
    #[value(name = "qwen2-audio-7b")]
    Qwen2Audio7b,
}

/// What a step trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Trains {
    /// A fresh adapter on the decoder
    Lora,
    /// All weights, with those of the audio tower
    Full,
}

/// An option out of its range.
#[derive(Debug, thiserror::Error)]
enum OutOfRange {
    #[error("write seconds from 0.1 to 30")]
    Seconds,
    #[error("write a number up to 8, or a multiple of 8")]
    Batch,
}

fn seconds(text: &str) -> Result<f64, OutOfRange> {
    text.parse().ok().filter(|seconds| (0.1..=30.0).contains(seconds)).ok_or(OutOfRange::Seconds)
}

fn batch(text: &str) -> Result<u16, OutOfRange> {
    let fits = |batch: &u16| (1..=8).contains(batch) || *batch > 0 && batch.is_multiple_of(8);
    text.parse().ok().filter(fits).ok_or(OutOfRange::Batch)
}
