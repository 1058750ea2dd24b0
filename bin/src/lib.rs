//! The `sandbox` command: trains audio-language models with the rewards of a scenario and
//! reports what each contributed.
//!
//! This crate parses the command line, shows progress and prints results. The work is done by the crates that it uses:
//! `scenarios`, `run`, `evaluation`, `annotation`, `control`, `report`, `storage`, `judges`, `plugins`, `model` and `audio`. Exit codes: 0
//! done, 1 failed while running, 2 unusable input, 3 done but not wholly uploaded, 130 interrupted after a checkpoint.
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
mod bench;
mod check;
mod cli;
mod client;
mod compare;
mod completions;
mod compose;
mod ctl;
mod data;
mod eval;
mod existing;
mod export;
mod failure;
mod init;
mod json_log;
mod judge;
mod judge_doubts;
mod listen;
mod log;
mod ls;
mod man;
mod memory;
mod merge;
mod plan;
mod progress;
mod ranks;
mod replay;
mod report;
mod reshape;
mod run;
mod signals;
mod simulate;
mod source;
mod storage;
mod streams;
mod sweep;
mod table;
mod tracking;
mod verify;

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
    let cli = Cli::from_arguments();
    let verbosity = cli.verbosity;
    streams::set_format(verbosity.log_format);
    let Some(command) = cli.command else {
        // Without any argument clap prints the help and exits.
        return cli.run.map_or(Ok(()), |options| run::run(&options, verbosity, registry));
    };
    // These two log into their run directories, as a run does.
    if !matches!(command, Command::Replay(_) | Command::Eval(_)) {
        log::to_terminal(verbosity);
    }
    match command {
        Command::Init(options) => init::init(&options),
        Command::Check(options) => check::check(&options, verbosity, &registry),
        Command::Ls(options) => ls::ls(&options),
        Command::Report(options) => report::report(&options),
        Command::Plan(options) => plan::plan(&options, &registry),
        Command::MergeRuns(options) => sweep::merge_runs(&options),
        Command::Simulate(options) => simulate::simulate_run(&options),
        Command::Compare(options) => compare::compare(&options),
        Command::Export(options) => export::export(&options),
        Command::Verify(options) => verify::verify(&options),
        Command::Upload(options) => storage::upload(&options),
        Command::Fetch(options) => storage::fetch(&options),
        Command::Reshape(options) => reshape::reshape_run(&options),
        Command::Replay(options) => replay::replay(&options, verbosity, registry),
        Command::Ask(options) => ask::ask(&options, verbosity),
        Command::Eval(options) => eval::eval(&options, verbosity, registry),
        Command::Annotate(options) => annotate::annotate(&options, verbosity),
        Command::Data(options) => data::data(&options),
        Command::Listen(options) => listen::listen(&options),
        Command::Merge(options) => merge::merge(&options),
        Command::Compose(options) => compose::compose(&options),
        Command::Ctl(options) => ctl::ctl(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Judge(options) => judge::judge(&options, &registry),
        Command::Client => client::client(),
        Command::Completions(options) => completions::completions(&options),
        Command::Man(options) => man::man(&options),
    }
}
