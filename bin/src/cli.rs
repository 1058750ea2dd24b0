//! The options of the command line. Doc comments on options and subcommands are their help texts.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use distributed::Collectives;

mod annotate;
mod bench;
mod ctl;
mod data;
mod eval;
mod examples;
mod seeds;
mod storage;
mod sweep;
mod tools;
mod verbosity;

pub use annotate::AnnotateOptions;
pub use bench::{BenchOptions, Shape, Trains};
pub use ctl::{
    BookmarkOptions, CtlCommand, CtlOptions, ForkOptions, MetricsOptions, RolloutsOptions, SwapOptions,
    Sweep, WithOptions,
};
pub use data::{DataCommand, DataExportOptions, DataOptions};
pub use eval::EvalOptions;
use scenarios::{DType, PolicyPath, PromptStyle};
pub use seeds::Seeds;
use serde::de::{
    DeserializeOwned,
    value::{Error as ValueError, StrDeserializer},
};
pub use storage::{FetchOptions, StoreOptions, UploadOptions};
pub use sweep::{Array, MergeRunsOptions, PlanOptions, SimulateOptions};
pub use tools::{CompletionsOptions, InitOptions, LsOptions, ManOptions, Start};
pub use verbosity::{LogFormat, Verbosity};

/// Train audio-language models by GRPO with the rewards of a scenario, and report what each reward contributed.
#[derive(Debug, Parser)]
#[command(
    name = "sandbox",
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "sandbox SCENARIO [OPTIONS]\n       sandbox --resume DIR [OPTIONS]\n       sandbox COMMAND",
    after_help = examples::SANDBOX
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options without a subcommand: run a scenario.
    #[command(flatten)]
    pub run: Option<RunOptions>,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Cli {
    /// Reads the arguments of this process; ends it after printing a help text or a mistake.
    pub fn from_arguments() -> Self {
        let command = Self::command();
        let is_command = |word: &str| command.find_subcommand(word).is_some() || word == "help";
        Self::parse_from(verbosity::behind_the_command(std::env::args_os().collect(), is_command))
    }
}

/// The subcommands. Without one, `sandbox` runs a scenario.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented scenario to start from
    #[command(after_help = examples::INIT)]
    Init(InitOptions),
    /// Check the keys, rewards, formulas, files and data of scenarios, and start their plug-ins
    #[command(after_help = examples::CHECK)]
    Check(CheckOptions),
    /// List runs: their state, progress, best accuracy and size
    #[command(after_help = examples::LS)]
    Ls(LsOptions),
    /// Rewrite a run's report, also while it is running
    #[command(after_help = examples::REPORT)]
    Report(ReportOptions),
    /// Measure what a scenario takes, list its tasks, and write a script that trains them on many machines
    #[command(after_help = examples::PLAN)]
    Plan(PlanOptions),
    /// Measure how fast a model generates and trains on this device, and how near that is to what the device can do
    #[command(after_help = examples::BENCH)]
    Bench(BenchOptions),
    /// Make one run of the tasks of a sweep, with one report
    #[command(after_help = examples::MERGE_RUNS)]
    MergeRuns(MergeRunsOptions),
    /// Simulate a run on other machines: speed, staleness, what is idle, and what to add next
    #[command(after_help = examples::SIMULATE)]
    Simulate(SimulateOptions),
    /// Compare the arms of several runs question by question
    #[command(after_help = examples::COMPARE)]
    Compare(CompareOptions),
    /// Write the records of a run as Parquet, CSV, JSON or TensorBoard's event files
    #[command(after_help = examples::EXPORT)]
    Export(ExportOptions),
    /// Check a run directory against its checksums, without changing anything
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyOptions),
    /// Upload a run directory to an S3-compatible store; what is stored already is not sent again
    #[command(after_help = examples::UPLOAD)]
    Upload(UploadOptions),
    /// Fetch a run from an S3-compatible store and check it against its checksums
    #[command(after_help = examples::FETCH)]
    Fetch(FetchOptions),
    /// Compute what the advantages of a run would have been under another formula or other weights
    #[command(after_help = examples::RESHAPE)]
    Reshape(ReshapeOptions),
    /// Repeat a run with its recorded changes and compare the metrics
    #[command(after_help = examples::REPLAY)]
    Replay(ReplayOptions),
    /// Load a checkpoint and ask it one question about audio files
    #[command(after_help = examples::ASK)]
    Ask(AskOptions),
    /// Evaluate a policy, the checkpoints of a run or a server on benchmarks, apart from training
    #[command(after_help = examples::EVAL)]
    Eval(EvalOptions),
    /// Ask a server for chains of thought about the rows of a data set, to fine-tune on
    #[command(after_help = examples::ANNOTATE)]
    Annotate(AnnotateOptions),
    /// Write what a built-in world generates as a data set
    #[command(after_help = data::EXAMPLES)]
    Data(DataOptions),
    /// Show what a model hears of audio files, and write it as WAV or as a picture; exit code 1 if some can't be heard
    #[command(after_help = examples::LISTEN)]
    Listen(ListenOptions),
    /// Write a model with a LoRA adapter merged into its weights
    #[command(after_help = examples::MERGE)]
    Merge(MergeOptions),
    /// Compose an audio-language model of a Whisper's encoder and a small language model
    #[command(after_help = examples::COMPOSE)]
    Compose(ComposeOptions),
    /// Watch and steer a run in progress
    #[command(after_help = examples::CTL)]
    Ctl(CtlOptions),
    /// Test a scenario's judges on completions with known verdicts; exit code 1 if too many verdicts are missing
    #[command(after_help = examples::JUDGE)]
    Judge(JudgeOptions),
    /// Print a Python module that starts, watches and steers runs; one file for Python 3.8 or later
    #[command(after_help = examples::CLIENT)]
    Client,
    /// Print a script that completes the commands and options in a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsOptions),
    /// Print the manual page, or write a page for every command
    #[command(after_help = examples::MAN)]
    Man(ManOptions),
}

#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The scenario to run, a TOML file
    #[arg(required_unless_present = "resume", value_hint = ValueHint::FilePath)]
    pub scenario: Option<PathBuf>,
    /// Override a key of the scenario, such as grpo.lr=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run only the arms that match: a name, or a pattern such as 'grpo*'; '!NAME' leaves arms out; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Run every arm with each of these seeds: 1,2,7 or 1..5, which includes the 5, or both [default: the scenario's]
    #[arg(long, value_name = "SEEDS", allow_negative_numbers = true)]
    pub seeds: Vec<Seeds>,
    /// Folder in which the run directory is created [default: the scenario's run.out, or runs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in this directory from its last checkpoints; SCENARIO defaults to its scenario.toml. A run at s3://… is
    /// fetched first, into a folder of --out
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// Resume a damaged run directory from its newest checkpoints that are whole; what is removed is kept as *.damaged
    #[arg(long, requires = "resume")]
    pub repair: bool,
    /// Print the scenario with every setting resolved, and exit
    #[arg(long)]
    pub dry_run: bool,
    /// Train one task of a sweep in this folder, which many processes share: an arm and its forks, under one seed
    #[arg(long, value_name = "DIR", requires = "task", conflicts_with_all = ["out", "resume"])]
    pub sweep: Option<PathBuf>,
    /// The number of the task, from 1; `sandbox plan` lists them. A task that was interrupted goes on, one that is done is left out
    #[arg(long, value_name = "N", requires = "sweep")]
    pub task: Option<usize>,
    /// Train on this many processes of this machine, which the sandbox starts; 1 ignores what torchrun or Slurm say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub ranks: Option<u16>,
    /// End with an error when another rank was silent for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub rank_timeout: u16,
    /// What adds up the gradients of several ranks: NCCL where every rank has a GPU of its own and otherwise gloo (auto), gloo
    /// through the CPU, or NCCL and an error without it. That of rank 0 counts
    #[arg(long, value_name = "BY", default_value = "auto", value_parser = collectives())]
    pub collectives: Collectives,
    /// The run directory to make, where it is not named by the time.
    #[arg(skip)]
    pub run_dir: Option<PathBuf>,
    /// Send OpenTelemetry spans of every step to a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    pub traces: Option<String>,
    /// Disable the live page and the control channel
    #[arg(long)]
    pub no_control: bool,
    /// Print the summary at the end as JSON, the content of summary.json, instead of the table
    #[arg(long, conflicts_with = "dry_run")]
    pub json: bool,
}

fn collectives() -> impl TypedValueParser<Value = Collectives> {
    PossibleValuesParser::new(Collectives::NAMES)
        .try_map(|name| Collectives::named(&name).ok_or("none of these"))
}

impl RunOptions {
    /// The seeds of all `--seeds`; `None` without one.
    pub fn seeds(&self) -> Option<Vec<u64>> {
        let seeds: Vec<u64> = self.seeds.iter().flat_map(|seeds| seeds.0.iter().copied()).collect();
        (!seeds.is_empty()).then_some(seeds)
    }
}

#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// Scenario files to check
    #[arg(required = true, value_name = "SCENARIO", value_hint = ValueHint::FilePath)]
    pub scenarios: Vec<PathBuf>,
    /// Decode every clip, not only 50 of each source
    #[arg(long, conflicts_with = "no_files")]
    pub all: bool,
    /// Print what was found as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Exit with code 1 if anything is odd about the data, although a run could begin
    #[arg(long, conflicts_with = "no_files")]
    pub strict: bool,
    /// Download the clips that rows name by URL, where data.fetch allows it, before they are looked at
    #[arg(long, conflicts_with = "no_files")]
    pub fetch: bool,
    /// Skip models, data and plug-ins, for scenarios whose files are not on this machine
    #[arg(long)]
    pub no_files: bool,
}

#[derive(Args, Clone, Debug)]
pub struct JudgeOptions {
    /// The scenario whose judges are tested; nothing is trained
    #[arg(value_hint = ValueHint::FilePath)]
    pub scenario: PathBuf,
    /// Override a key of the scenario, such as judge.model=Qwen/Qwen3-8B; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Test only the judges of the arms that match: a name, or a pattern such as 'grpo*'; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Also say what the judge's noise does to the consistency and think rewards, by simulated groups of completions
    #[arg(long)]
    pub simulate: bool,
    /// Simulate a judge that is right about the consistency of this share of completions, instead of asking the judges
    #[arg(long, value_name = "A", requires_all = ["simulate", "correlation"])]
    pub agreement: Option<f64>,
    /// Correlation of that judge's quality with the true one
    #[arg(long, value_name = "R", requires_all = ["simulate", "agreement"])]
    pub correlation: Option<f64>,
    /// Seed of the simulation
    #[arg(long, default_value_t = 7, requires = "simulate")]
    pub seed: u64,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ReportOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Print the summary as JSON, the content of summary.json, instead of the table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct CompareOptions {
    /// The run directories; the arms of the others are compared with those of the first
    #[arg(required = true, num_args = 2.., value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Print the comparison as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ExportOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The format of the tables, or the tracker that gets the curves
    #[arg(long, value_enum, default_value_t = ExportFormat::Parquet, value_name = "FORMAT")]
    pub to: ExportFormat,
    /// The folder for the tables [default: export in the run directory]; files for trackers are always in the run directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Set a key of the section tracking that the scenario does not set, such as tracking.wandb.project=audio
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// What `sandbox export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Tables as Parquet files
    Parquet,
    /// Tables as CSV files
    Csv,
    /// Tables as JSON lines
    Json,
    /// Event files of TensorBoard, one for each arm and seed
    Tensorboard,
    /// Offline runs of Weights & Biases, one for each arm and seed
    Wandb,
    /// The rows that the MLflow server has not got
    Mlflow,
}

#[derive(Args, Clone, Debug)]
pub struct VerifyOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct MergeOptions {
    /// Model: a folder in the Hugging Face layout, a name on the Hub that is in the local cache, or builtin:tiny
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>, value_hint = ValueHint::DirPath)]
    pub policy: PolicyPath,
    /// LoRA adapter of that model: a folder in PEFT's format, such as a checkpoint of a run with policy.train = "lora"
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub adapter: PathBuf,
    /// Folder to create for the merged model; it must not exist yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number format of the written weights: f32 (auto) or bf16, the format of the published 7B models
    #[arg(long, default_value = "auto", value_parser = scenario_value::<DType>)]
    pub dtype: DType,
}

#[derive(Args, Clone, Debug)]
pub struct ComposeOptions {
    /// The encoder's model, a Whisper or a Qwen2-Audio: a folder in the Hugging Face layout, or a name on the Hub that is in the
    /// local cache
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>, value_hint = ValueHint::DirPath)]
    pub audio: PolicyPath,
    /// The language model, a Llama (such as SmolLM2), Qwen2 or Qwen3: likewise
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>, value_hint = ValueHint::DirPath)]
    pub text: PolicyPath,
    /// Folder to create for the composed model; it must not exist yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A trained projector, a safetensors file with `weight` and `bias` [default: a fresh one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub projector: Option<PathBuf>,
    /// Number format of the written weights: f32 (auto) or bf16
    #[arg(long, default_value = "auto", value_parser = scenario_value::<DType>)]
    pub dtype: DType,
    /// Seed of a fresh projector
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Args, Clone, Debug)]
pub struct AskOptions {
    /// Text of the question; with --chat, the first one
    #[arg(required_unless_present = "chat")]
    pub question: Option<String>,
    /// Hold a conversation: questions and commands, one per line; /help lists the commands
    #[arg(long, conflicts_with = "json")]
    pub chat: bool,
    /// Model: a folder in the Hugging Face layout, a name on the Hub that is in the local cache, or builtin:tiny
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>, value_hint = ValueHint::DirPath)]
    pub policy: PolicyPath,
    /// LoRA adapter of that model, a folder in PEFT's format
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub adapter: Option<PathBuf>,
    /// Audio file (WAV, FLAC, MP3, Ogg Vorbis, AAC/M4A, AIFF); may be repeated
    #[arg(long, value_name = "FILE")]
    pub audio: Vec<PathBuf>,
    /// Choices of a multiple-choice question
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    pub choices: Vec<String>,
    /// Built-in prompt style that words the question [default: adaptive with --choices, otherwise the plain question]
    #[arg(long, value_name = "STYLE", value_parser = scenario_value::<PromptStyle>)]
    pub style: Option<PromptStyle>,
    /// Device to compute on: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Number format of the weights: auto, f32 or bf16
    #[arg(long, default_value = "auto", value_parser = scenario_value::<DType>)]
    pub dtype: DType,
    /// Sampling temperature; 0 always takes the most likely token [default:
    /// from the checkpoint's generation_config.json]
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Sample from the most likely tokens that together reach this probability [default: as for --temperature]
    #[arg(long)]
    pub top_p: Option<f64>,
    /// Sample from this many most likely tokens; 0 means all [default: as for --temperature]
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Maximum length of the answer in tokens
    #[arg(long, default_value_t = 256)]
    pub max_new_tokens: usize,
    /// Seed of the random draws
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Print one JSON object with prompt ids, completion ids and their log-probabilities, instead of the answer
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ListenOptions {
    /// Audio files, and video files with a sound track
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Model whose window and features are used: a folder in the Hugging Face layout, or builtin:tiny [default: a window
    /// of 30 s and 128 mel bands, as Qwen2-Audio has]
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>, value_hint = ValueHint::DirPath)]
    pub policy: Option<PolicyPath>,
    /// Where the window begins, in seconds
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    pub start: f64,
    /// Length of the window in seconds [default: the model's]
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Hear the whole clip instead of the model's window, up to 4 hours
    #[arg(long, conflicts_with = "seconds")]
    pub whole: bool,
    /// Hear a longer clip in up to 32 windows, one after another, as loader.window = "all" does
    #[arg(long, conflicts_with = "whole")]
    pub windows: bool,
    /// How several channels become one: first, right, mean or itu
    #[arg(long, value_name = "MIX", default_value = "first")]
    pub downmix: audio::Downmix,
    /// Write what is heard as a WAV file: 16 kHz, mono, 32-bit float; for one FILE
    #[arg(long, value_name = "OUT", conflicts_with = "wav_dir")]
    pub wav: Option<PathBuf>,
    /// Write what is heard of each FILE to 0000.wav, 0001.wav, ... in this folder
    #[arg(long, value_name = "DIR")]
    pub wav_dir: Option<PathBuf>,
    /// Write the log-mel spectrogram as a picture; for one FILE
    #[arg(long, value_name = "OUT")]
    pub png: Option<PathBuf>,
    /// Print one JSON object per line and FILE
    #[arg(long)]
    pub json: bool,
}

/// Parses a value as the scenario's TOML key of the same type does.
fn scenario_value<T: DeserializeOwned>(text: &str) -> Result<T, ValueError> {
    T::deserialize(StrDeserializer::<ValueError>::new(text))
}

#[derive(Args, Clone, Debug)]
pub struct ReshapeOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// What to change, a key of the run's scenario such as shaping.weights.think=0.5; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Only the arms that match: a name, or a pattern such as 'grpo*'; '!NAME' leaves arms out; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Print the figures as JSON, also by step
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ReplayOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Folder in which the replay's run directory is created [default: the folder of the run directory]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_passes_the_checks_of_clap() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_scenario_is_distinguished_from_a_subcommand() {
        let cli =
            Cli::parse_from(["sandbox", "a.toml", "--set", "run.steps=3", "--seeds", "1,2", "--arm", "x"]);
        let run = cli.run.unwrap();
        assert_eq!((run.seeds(), run.arms), (Some(vec![1, 2]), vec!["x".to_owned()]));
        let cli = Cli::parse_from(["sandbox", "check", "a.toml", "b.toml"]);
        assert!(matches!(cli.command, Some(Command::Check(options)) if options.scenarios.len() == 2));
        let cli = Cli::parse_from(["sandbox", "./check"]);
        assert_eq!(cli.run.unwrap().scenario, Some("./check".into()));
    }

    #[test]
    fn a_scenario_is_required_except_to_resume() {
        let cli = Cli::parse_from(["sandbox", "--resume", "runs/a"]);
        assert_eq!(cli.run.unwrap().scenario, None);
        assert!(Cli::try_parse_from(["sandbox", "--quiet"]).is_err());
    }

    #[test]
    fn every_command_is_quiet_or_verbose() {
        let cli = Cli::parse_from(["sandbox", "a.toml", "-q"]);
        assert!(cli.verbosity.quiet && cli.run.is_some());
        let cli = Cli::parse_from(["sandbox", "ctl", "rollouts", "-vv", "--search", "x"]);
        assert_eq!(cli.verbosity.verbose, 2);
        assert!(Cli::try_parse_from(["sandbox", "ls", "-q", "-v"]).is_err());
    }

    /// All commands with their subcommands.
    fn commands(command: &clap::Command) -> Vec<&clap::Command> {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        std::iter::once(command).chain(below.flat_map(commands)).collect()
    }

    #[test]
    fn every_command_and_option_is_explained_and_every_command_has_an_example() {
        let cli = Cli::command();
        assert!(cli.get_about().unwrap().to_string().starts_with("Train audio-language models"));
        for command in commands(&cli) {
            assert!(command.get_about().is_some(), "{} has no text", command.get_name());
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let text = option.get_help().map(|text| text.to_string()).unwrap_or_default();
                assert!(text.len() > 8, "{} {}: {text}", command.get_name(), option.get_id());
                assert!(!text.ends_with('.'), "{} {}: {text}", command.get_name(), option.get_id());
            }
        }
        let examples = |command: &clap::Command, words: &str| {
            let after = command.get_after_help().map(|text| text.to_string()).unwrap_or_default();
            assert!(
                after.contains(&format!("  {words} {}", command.get_name())),
                "{words} {}",
                command.get_name()
            );
        };
        cli.get_subcommands().for_each(|command| examples(command, "sandbox"));
        let ctl = cli.find_subcommand("ctl").unwrap();
        ctl.get_subcommands().for_each(|command| examples(command, "sandbox ctl"));
    }

    #[test]
    fn the_document_names_every_command_and_option() {
        let document = include_str!("../../docs/commands.md");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(
                document.contains(&format!("`sandbox {name}")),
                "docs/commands.md lacks `sandbox {name}`"
            );
            for option in command.get_arguments().filter_map(|option| option.get_long()) {
                assert!(
                    document.contains(&format!("`--{option}")),
                    "docs/commands.md lacks `--{option}` of {name}"
                );
            }
        }
        for option in Cli::command().get_arguments().filter_map(|option| option.get_long()) {
            assert!(document.contains(&format!("`--{option}")), "docs/commands.md lacks `--{option}`");
        }
    }
}
