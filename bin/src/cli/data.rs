//! The options of `sandbox data`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

pub(super) const EXAMPLES: &str = "\
Examples:
  sandbox data export builtin:spoken --out spoken   words spoken by espeak-ng, with questions about their order
  sandbox data export builtin:spoken --out small --set data.spoken.train_clips=100
  sandbox data export builtin:recorded --out drums --set data.recorded.sounds=samples/drums
  sandbox data export mine.toml --out mine          the world that a scenario uses, with its settings";

/// The options of `sandbox data`.
#[derive(Args, Clone, Debug)]
pub struct DataOptions {
    /// The command to carry out
    #[command(subcommand)]
    pub command: DataCommand,
}

/// The commands of `sandbox data`.
#[derive(Clone, Debug, Subcommand)]
pub enum DataCommand {
    /// Write what a built-in world generates as a data set in AVQA's format: train.jsonl, heldout.jsonl and audio/
    #[command(after_help = EXAMPLES)]
    Export(DataExportOptions),
}

/// The options of `sandbox data export`.
#[derive(Args, Clone, Debug)]
pub struct DataExportOptions {
    /// A world, builtin:soundscapes, builtin:spoken or builtin:recorded; or a scenario that uses one
    #[arg(value_name = "WORLD|SCENARIO", value_hint = ValueHint::FilePath)]
    pub source: String,
    /// Folder to write to; it must not exist yet, or be empty
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Override a key of the scenario, such as data.spoken.seed=8; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}
