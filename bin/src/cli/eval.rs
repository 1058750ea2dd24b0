//! The options of `sandbox eval`.

use std::path::PathBuf;

use clap::Args;
use scenarios::{Control, DType, Device, PolicyPath};

use super::scenario_value;

/// The options of `sandbox eval`.
#[derive(Args, Clone, Debug)]
pub struct EvalOptions {
    /// A scenario whose suites, prompt and sampling are used; the options below override it
    pub scenario: Option<PathBuf>,
    /// The policy: a model directory in the Hugging Face layout, or builtin:tiny
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>, conflicts_with_all = ["run", "server"])]
    pub policy: Option<PolicyPath>,
    /// LoRA adapter of that model, a folder in PEFT's format
    #[arg(long, value_name = "DIR", requires = "policy")]
    pub adapter: Option<PathBuf>,
    /// A run directory whose checkpoints are evaluated, on the suites of its scenario unless --suite names others
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scenario", "server"])]
    pub run: Option<PathBuf>,
    /// Arm of that run; may be repeated [default: all arms]
    #[arg(long = "arm", value_name = "ARM", requires = "run")]
    pub arms: Vec<String>,
    /// Which checkpoints of each arm: a step, "last", "best" (the highest recorded accuracy on the first suite) or "all"
    #[arg(long, value_name = "STEP", default_value = "last", requires = "run")]
    pub step: String,
    /// A server with OpenAI's API, such as http://127.0.0.1:8000/v1, that answers in place of a policy
    #[arg(long, value_name = "URL", requires = "model")]
    pub server: Option<String>,
    /// The server's model
    #[arg(long, value_name = "NAME", requires = "server")]
    pub model: Option<String>,
    /// Environment variable with the server's API key
    #[arg(long, value_name = "VARIABLE", requires = "server")]
    pub api_key_env: Option<String>,
    /// Requests that the server gets at once [default: the scenario's, or 8]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Longest part of a clip that the server gets, in seconds [default: the scenario's, or 30]
    #[arg(long, value_name = "S", requires = "server")]
    pub clip_seconds: Option<f64>,
    /// A suite: FORMAT=FILE such as mmau=mmau-test-mini.json, builtin:soundscapes, or a table as in a scenario; may be repeated
    #[arg(long = "suite", value_name = "FORMAT=FILE")]
    pub suites: Vec<String>,
    /// Folder that the audio paths of the suites are relative to [default: the folder of each file]
    #[arg(long, value_name = "DIR")]
    pub audio_root: Option<PathBuf>,
    /// Ask the first N questions of each suite only
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Completions per question: prints mean@k, pass@k and maj@k
    #[arg(long, value_name = "K")]
    pub samples: Option<usize>,
    /// Ask with the choices in K random orders besides
    #[arg(long, value_name = "K")]
    pub shuffle_choices: Option<usize>,
    /// Ask with silence, noise, another row's clip and no audio in place of each clip, and with shuffled choices
    #[arg(long)]
    pub controls: bool,
    /// Ask with this control only: silence, noise, other_clip, no_audio or shuffled_choices; may be repeated
    #[arg(long = "control", value_name = "CONTROL", value_parser = scenario_value::<Control>)]
    pub control: Vec<Control>,
    /// Sampling temperature; 0 always takes the most likely token [default: the scenario's, or 0]
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Maximum length of an answer in tokens [default: the scenario's, or 256]
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Questions per batch [default: the scenario's, or 64]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Override a key of the scenario, such as prompt.choices=letters or eval.seed=3; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Device to compute on: auto, cpu, cuda or cuda:N [default: the scenario's, or auto]
    #[arg(long, value_parser = scenario_value::<Device>)]
    pub device: Option<Device>,
    /// Number format of the weights: auto, f32 or bf16 [default: the scenario's, or auto]
    #[arg(long, value_parser = scenario_value::<DType>)]
    pub dtype: Option<DType>,
    /// Folder in which the directory with the results is created
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Go on with the interrupted evaluation in this directory; no question is asked twice
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scenario", "policy", "run", "server", "suites", "set"])]
    pub resume: Option<PathBuf>,
    /// Print the results as one JSON object
    #[arg(long)]
    pub json: bool,
}
