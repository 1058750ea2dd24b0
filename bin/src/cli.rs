//! The options of the command line. Doc comments on options and subcommands are their help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod annotate;
mod ctl;
mod eval;

pub use annotate::AnnotateOptions;
pub use ctl::{CtlCommand, CtlOptions, MetricsOptions, RolloutsOptions, SwapOptions, WithOptions};
pub use eval::EvalOptions;
use scenarios::{DType, PolicyPath, PromptStyle};
use serde::de::{
    DeserializeOwned,
    value::{Error as ValueError, StrDeserializer},
};

/// Train audio-language models by GRPO with the rewards of a scenario, and report what each reward contributed.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "sandbox SCENARIO [OPTIONS]\n       sandbox --resume DIR [OPTIONS]\n       sandbox check SCENARIO...\n       sandbox report DIR\n       sandbox verify DIR\n       sandbox replay DIR\n       sandbox judge SCENARIO\n       sandbox ask --policy DIR --audio FILE QUESTION\n       sandbox eval --policy DIR --suite FORMAT=FILE\n       sandbox annotate FORMAT=FILE --server URL --model NAME --out FILE\n       sandbox listen FILE...\n       sandbox merge --policy DIR --adapter DIR --out DIR\n       sandbox ctl COMMAND",
    after_help = "To run a scenario file whose name is that of a subcommand, write its folder too: ./check\n\
                  Exit codes: 0 done, 1 failed while running (check --strict: found something), 2 unusable input,\n\
                  130 interrupted after a checkpoint.\n\
                  RUST_LOG sets the level of run.log (default: info)."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options without a subcommand: run a scenario.
    #[command(flatten)]
    pub run: Option<RunOptions>,
}

/// The subcommands. Without one, `sandbox` runs a scenario.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the keys, rewards, formulas, files and data of scenarios, and start their plug-ins
    Check(CheckOptions),
    /// Rewrite a run's report, also while it is running
    Report(ReportOptions),
    /// Check a run directory against its checksums, without changing anything
    Verify(VerifyOptions),
    /// Repeat a run with its recorded changes and compare the metrics
    Replay(ReplayOptions),
    /// Load a checkpoint and ask it one question about audio files
    Ask(AskOptions),
    /// Evaluate a policy, the checkpoints of a run or a server on benchmarks, apart from training
    Eval(EvalOptions),
    /// Ask a server for chains of thought about the rows of a data set, to fine-tune on
    Annotate(AnnotateOptions),
    /// Show what a model hears of audio files, and write it as WAV or as a picture; exit code 1 if some can't be heard
    Listen(ListenOptions),
    /// Write a model with a LoRA adapter merged into its weights
    Merge(MergeOptions),
    /// Watch and steer a run in progress
    Ctl(CtlOptions),
    /// Test a scenario's judges on completions with known verdicts; exit code 1 if too many verdicts are missing
    Judge(JudgeOptions),
}

#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The scenario to run, a TOML file
    #[arg(required_unless_present = "resume")]
    pub scenario: Option<PathBuf>,
    /// Override a key of the scenario, such as grpo.lr=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run only this arm; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Run every arm with each of these seeds
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub seeds: Option<Vec<u64>>,
    /// Folder in which the run directory is created [default: the scenario's run.out, or runs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in this directory from its last checkpoints; SCENARIO defaults to its scenario.toml
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Resume a damaged run directory from its newest checkpoints that are whole; what is removed is kept as *.damaged
    #[arg(long, requires = "resume")]
    pub repair: bool,
    /// Print the scenario with every setting resolved, and exit
    #[arg(long)]
    pub dry_run: bool,
    /// Print only the results at the end
    #[arg(long, short)]
    pub quiet: bool,
    /// Disable the live page and the control channel
    #[arg(long)]
    pub no_control: bool,
}

#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// Scenario files to check
    #[arg(required = true, value_name = "SCENARIO")]
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
    /// Skip models, data and plug-ins, for scenarios whose files are not on this machine
    #[arg(long)]
    pub no_files: bool,
}

#[derive(Args, Clone, Debug)]
pub struct JudgeOptions {
    /// The scenario whose judges are tested; nothing is trained
    pub scenario: PathBuf,
    /// Override a key of the scenario, such as judge.model=Qwen/Qwen3-8B; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Test only the judge of this arm; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ReportOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    pub dir: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub struct VerifyOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    pub dir: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct MergeOptions {
    /// Model directory in the Hugging Face layout, or builtin:tiny
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>)]
    pub policy: PolicyPath,
    /// LoRA adapter of that model: a folder in PEFT's format, such as a checkpoint of a run with policy.train = "lora"
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// Folder to create for the merged model; it must not exist yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number format of the written weights: f32 (auto) or bf16, the format of the published 7B models
    #[arg(long, default_value = "auto", value_parser = scenario_value::<DType>)]
    pub dtype: DType,
}

#[derive(Args, Clone, Debug)]
pub struct AskOptions {
    /// Text of the question
    pub question: String,
    /// Model directory in the Hugging Face layout, or builtin:tiny
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>)]
    pub policy: PolicyPath,
    /// LoRA adapter of that model, a folder in PEFT's format
    #[arg(long, value_name = "DIR")]
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
    #[arg(long, value_name = "DIR", value_parser = scenario_value::<PolicyPath>)]
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
pub struct ReplayOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    pub dir: PathBuf,
    /// Folder in which the replay's run directory is created [default: the folder of the run directory]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print only the results at the end
    #[arg(long, short)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
        assert_eq!((run.seeds, run.arms), (Some(vec![1, 2]), vec!["x".to_owned()]));
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
}
