//! The options of the commands around runs: `ls`, `init`, `completions` and `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::Shell;

#[derive(Args, Clone, Debug)]
pub struct LsOptions {
    /// A folder of run directories, or one run directory
    #[arg(default_value = "runs", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Print the runs as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct InitOptions {
    /// Folder for the scenario; it is created if it does not exist
    #[arg(default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The scenario to start from
    #[arg(long, value_enum, default_value = "ablation")]
    pub from: Start,
}

/// The scenario that `sandbox init` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// The paper's eight arms in miniature; needs no files, and runs on a CPU in minutes
    Ablation,
    /// Questions about your own audio files
    OwnData,
    /// The paper's own setting: LoRA on Qwen2-Audio-7B, for one GPU of 80 GB
    #[value(name = "7b")]
    SevenB,
}

#[derive(Args, Clone, Debug)]
pub struct CompletionsOptions {
    /// The shell that the script is for
    pub shell: Shell,
}

#[derive(Args, Clone, Debug)]
pub struct ManOptions {
    /// Folder for a page of every command [default: print the page of `sandbox` itself]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}
