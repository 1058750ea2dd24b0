//! The `sandbox` command: trains audio-language models with the rewards of a scenario and
//! reports what each contributed.
//!
//! This crate parses the command line, shows progress and prints results. The work is done by the crates that it uses:
//! `scenarios`, `run`, `evaluation`, `annotation`, `control`, `report`, `judges`, `plugins`, `model` and `audio`. Exit codes: 0 done, 1 failed while
//! running, 2 unusable input, 130 interrupted after a checkpoint.
//!
//! It is a library so that a binary with additional rewards in Rust needs only a short `main`. A complete
//! example is in `examples/custom-reward`:
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
//! fn main() {
//!     let mut registry = RewardRegistry::standard();
//!     registry.register("short", |_| Ok(Box::new(Short)));
//!     sandbox::main_with(registry)
//! }
//! ```

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod annotate;
mod ask;
mod check;
mod cli;
mod ctl;
mod eval;
mod failure;
mod judge;
mod listen;
mod log;
mod merge;
mod progress;
mod replay;
mod report;
mod run;
mod signals;
mod source;
mod streams;
mod verify;

use clap::Parser;

use rewards::RewardRegistry;

use cli::{Cli, Command};
use failure::Failure;
use streams::{errln, leave};

/// Runs the command with the rewards of `registry`, and ends the process with its exit code. Arguments are those of the
/// process.
pub fn main_with(registry: RewardRegistry) -> ! {
    log::explain_panics();
    let command = std::panic::AssertUnwindSafe(|| command(registry));
    let code = match std::panic::catch_unwind(command) {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => failure.report(),
        Err(_) => {
            errln!("error: {}", log::defect());
            1
        }
    };
    leave(code)
}

fn command(registry: RewardRegistry) -> Result<(), Failure> {
    let cli = Cli::parse();
    match (cli.command, cli.run) {
        (Some(Command::Check(options)), _) => check::check(&options, &registry),
        (Some(Command::Report(options)), _) => report::report(&options),
        (Some(Command::Verify(options)), _) => verify::verify(&options),
        (Some(Command::Replay(options)), _) => replay::replay(&options, registry),
        (Some(Command::Ask(options)), _) => ask::ask(&options),
        (Some(Command::Eval(options)), _) => eval::eval(&options, registry),
        (Some(Command::Annotate(options)), _) => annotate::annotate(&options),
        (Some(Command::Listen(options)), _) => listen::listen(&options),
        (Some(Command::Merge(options)), _) => merge::merge(&options),
        (Some(Command::Ctl(options)), _) => ctl::ctl(&options),
        (Some(Command::Judge(options)), _) => judge::judge(&options, &registry),
        (None, Some(options)) => run::run(&options, registry),
        // Unreachable: without any argument clap prints the help and exits.
        (None, None) => Ok(()),
    }
}
