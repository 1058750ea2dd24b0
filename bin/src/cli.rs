//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod ctl;

pub use ctl::{CtlCommand, CtlOptions, MetricsOptions, RolloutsOptions, SwapOptions, WithOptions};
use scenarios::{DType, PolicyPath, PromptStyle};
use serde::de::{
    DeserializeOwned,
    value::{Error as ValueError, StrDeserializer},
};

/// Train audio-language models by GRPO under the rewards of a scenario, and read what each reward was worth.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "sandbox SCENARIO [OPTIONS]\n       sandbox --resume DIR [OPTIONS]\n       sandbox check SCENARIO...\n       sandbox report DIR\n       sandbox judge SCENARIO\n       sandbox ask --policy DIR --audio FILE QUESTION\n       sandbox merge --policy DIR --adapter DIR --out DIR\n       sandbox ctl COMMAND",
    after_help = "A scenario whose path is also the name of a subcommand is written with its folder: ./check\n\
                  Exit codes: 0 done, 1 failed while running, 2 unusable input, 130 interrupted after a checkpoint.\n\
                  RUST_LOG chooses what goes to run.log (default: info)."
)]
pub struct Cli {
    /// Something else than a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A run.
    #[command(flatten)]
    pub run: Option<RunOptions>,
}

/// What `sandbox` does besides running scenarios.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whether scenarios can be run: keys, rewards, formulas, files
    Check(CheckOptions),
    /// Write summary.json, summary.md and report.html of a run directory anew, finished or not
    Report(ReportOptions),
    /// Make a run again from its scenario and its journal of changes, and say whether both measured the same
    Replay(ReplayOptions),
    /// Ask a policy one question about audio files: the first proof that a checkpoint loads
    Ask(AskOptions),
    /// Write a model with an adapter merged into its weights
    Merge(MergeOptions),
    /// Watch and steer a run that is going on, by its control channel
    Ctl(CtlOptions),
    /// Let the judges of a scenario judge completions whose verdicts are known: can they be trusted?
    Judge(JudgeOptions),
}

/// `sandbox SCENARIO`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The scenario, a TOML file
    #[arg(required_unless_present = "resume")]
    pub scenario: Option<PathBuf>,
    /// Set a key of the scenario, such as grpo.lr=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run only this arm; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Run every arm with each of these seeds
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub seeds: Option<Vec<u64>>,
    /// Folder that receives the run directory [default: the scenario's run.out, or runs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in this directory from its last checkpoints; without SCENARIO, by its own scenario.toml
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Print the resolved scenario and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Print nothing but the end
    #[arg(long, short)]
    pub quiet: bool,
    /// Serve no page and no control channel
    #[arg(long)]
    pub no_control: bool,
}

/// `sandbox check`.
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// The scenarios
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,
    /// Do not look for the models and data they name: those lie on another machine
    #[arg(long)]
    pub no_files: bool,
}

/// `sandbox judge`.
#[derive(Args, Clone, Debug)]
pub struct JudgeOptions {
    /// The scenario; its [judge] tables are looked at, and nothing is trained
    pub scenario: PathBuf,
    /// Set a key of the scenario, such as judge.model=Qwen/Qwen3-8B; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Only the judge of this arm; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `sandbox report`.
#[derive(Args, Clone, Debug)]
pub struct ReportOptions {
    /// The run directory
    pub dir: PathBuf,
}

/// `sandbox merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeOptions {
    /// A model in the Hugging Face layout, or builtin:tiny
    #[arg(long, value_name = "DIR", value_parser = word::<PolicyPath>)]
    pub policy: PolicyPath,
    /// A LoRA adapter of that model, as PEFT or a run with policy.train = "lora" writes it
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// The folder to write, which must not be there yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number format to write: f32 (auto) or bf16, which the published 7B models are stored in
    #[arg(long, default_value = "auto", value_parser = word::<DType>)]
    pub dtype: DType,
}

/// `sandbox ask`.
#[derive(Args, Clone, Debug)]
pub struct AskOptions {
    /// The question
    pub question: String,
    /// A model in the Hugging Face layout, or builtin:tiny
    #[arg(long, value_name = "DIR", value_parser = word::<PolicyPath>)]
    pub policy: PolicyPath,
    /// A LoRA adapter of that model, as PEFT writes it
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// A clip (WAV, FLAC, MP3, Ogg Vorbis, AAC/M4A, AIFF); may be repeated
    #[arg(long, value_name = "FILE")]
    pub audio: Vec<PathBuf>,
    /// The texts to choose from
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    pub choices: Vec<String>,
    /// How the question is put, of the built-in prompt texts [default: adaptive with --choices, else the question alone]
    #[arg(long, value_name = "STYLE", value_parser = word::<PromptStyle>)]
    pub style: Option<PromptStyle>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Number format of the weights: auto, f32 or bf16
    #[arg(long, default_value = "auto", value_parser = word::<DType>)]
    pub dtype: DType,
    /// 0 always takes the likeliest token [default: as the checkpoint's generation_config.json says]
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Draw among the likeliest tokens that together reach this probability [default: likewise]
    #[arg(long)]
    pub top_p: Option<f64>,
    /// Draw among so many likeliest tokens; 0 is all [default: likewise]
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Tokens after which the answer is cut off
    #[arg(long, default_value_t = 256)]
    pub max_new_tokens: usize,
    /// What the draws depend on
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Print prompt ids, completion ids and their log-probabilities as one JSON object, instead of the answer as it comes
    #[arg(long)]
    pub json: bool,
}

/// A word that a scenario takes too.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, ValueError> {
    T::deserialize(StrDeserializer::<ValueError>::new(text))
}

/// `sandbox replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayOptions {
    /// The run directory
    pub dir: PathBuf,
    /// Folder that receives the replay's run directory [default: the one the run directory is in]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print nothing but the end
    #[arg(long, short)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_scenario_and_a_subcommand_are_told_apart() {
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
    fn resuming_needs_no_scenario_and_running_does() {
        let cli = Cli::parse_from(["sandbox", "--resume", "runs/a"]);
        assert_eq!(cli.run.unwrap().scenario, None);
        assert!(Cli::try_parse_from(["sandbox", "--quiet"]).is_err());
    }
}
