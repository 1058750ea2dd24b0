//! The options of `sandbox annotate`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// The options of `sandbox annotate`.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("captioning").args(["caption_server", "captions", "no_caption"])
)]
pub struct AnnotateOptions {
    /// The rows: FORMAT=FILE such as avqa=train_qa.jsonl, builtin:soundscapes, or a table as in a scenario
    pub source: String,
    /// A server with OpenAI's API, such as http://127.0.0.1:8000/v1, that writes the chains of thought
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// The server's model
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// File to which the rows are appended; FILE.journal beside it has every answer
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Environment variable with the server's API key
    #[arg(long, value_name = "VARIABLE")]
    pub api_key_env: Option<String>,
    /// A server that takes audio and captions the clips [default: --server]
    #[arg(long, value_name = "URL", requires = "caption_model")]
    pub caption_server: Option<String>,
    /// The captioning server's model [default: --model]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["captions", "no_caption"])]
    pub caption_model: Option<String>,
    /// Environment variable with the captioning server's API key
    #[arg(long, value_name = "VARIABLE", requires = "caption_server")]
    pub caption_api_key_env: Option<String>,
    /// Take the captions from this file of JSON lines with id and caption
    #[arg(long, value_name = "FILE")]
    pub captions: Option<PathBuf>,
    /// Write the chains without captions, from the questions alone
    #[arg(long)]
    pub no_caption: bool,
    /// Longest part of a clip that the captioning server gets, in seconds
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    pub clip_seconds: f64,
    /// Folder that the audio paths of the rows are relative to [default: the folder of the file]
    #[arg(long, value_name = "DIR")]
    pub audio_root: Option<PathBuf>,
    /// Annotate the first N rows only
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Ask for a chain up to K times, each time with another seed, until it concludes the right answer
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub attempts: u64,
    /// Sampling temperature of the chains
    #[arg(long, default_value_t = 0.7)]
    pub temperature: f64,
    /// Longest chain and caption in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub max_tokens: usize,
    /// Seed of the first attempt
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Rows in work at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub concurrency: u64,
    /// Stop before this number of requests is exceeded, those of earlier processes included
    #[arg(long, value_name = "N")]
    pub max_requests: Option<u64>,
    /// Stop when the prompts and replies together have this many tokens
    #[arg(long, value_name = "N")]
    pub max_tokens_total: Option<u64>,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}
