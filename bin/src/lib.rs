//! `sandbox`: trains audio-language models under the rewards a scenario names, and reports what each was worth.
//!
//! Thin: it reads the command line, shows progress and prints; what it does is in the crates `scenarios` and
//! `actors`. Exit codes: 0 done, 1 failed while running, 2 unusable input, 130 interrupted after a checkpoint.
//!
//! A library so that a reward in Rust takes a `main` of three lines, see `examples/custom-reward`:
//!
//! ```no_run
//! use rewards::{Reward, RewardBatch, RewardError, RewardRegistry};
//!
//! struct Short;
//!
//! impl Reward for Short {
//!     fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
//!         Ok(batch.items.iter().map(|item| Some(1.0 / (1.0 + item.completion_tokens as f64))).collect())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let mut registry = RewardRegistry::standard();
//!     registry.register("short", |_| Ok(Box::new(Short)));
//!     sandbox::main_with(registry)
//! }
//! ```

mod ask;
mod check;
mod cli;
mod ctl;
mod failure;
mod judge;
mod log;
mod merge;
mod progress;
mod replay;
mod report;
mod run;

use std::process::ExitCode;

use clap::Parser;

use rewards::RewardRegistry;

use cli::{Cli, Command};

/// The command, with these rewards. Reads the arguments of the process.
pub fn main_with(registry: RewardRegistry) -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.run) {
        (Some(Command::Check(options)), _) => check::check(&options, &registry),
        (Some(Command::Report(options)), _) => report::report(&options),
        (Some(Command::Replay(options)), _) => replay::replay(&options, registry),
        (Some(Command::Ask(options)), _) => ask::ask(&options),
        (Some(Command::Merge(options)), _) => merge::merge(&options),
        (Some(Command::Ctl(options)), _) => ctl::ctl(&options),
        (Some(Command::Judge(options)), _) => judge::judge(&options, &registry),
        (None, Some(options)) => run::run(&options, registry),
        // The command line asks for the one or the other; without either, help has been shown.
        (None, None) => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}
