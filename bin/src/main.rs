//! `sandbox`: trains audio-language models under the rewards a scenario names, and reports what each was worth.
//!
//! Thin: it reads the command line, shows progress and prints; what it does is in the crates `scenarios` and
//! `actors`. Exit codes: 0 done, 1 failed while running, 2 unusable input, 130 interrupted after a checkpoint.

mod ask;
mod check;
mod cli;
mod failure;
mod log;
mod progress;
mod report;
mod run;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.run) {
        (Some(Command::Check(options)), _) => check::check(&options),
        (Some(Command::Report(options)), _) => report::report(&options),
        (Some(Command::Ask(options)), _) => ask::ask(&options),
        (None, Some(options)) => run::run(&options),
        // The command line asks for the one or the other; without either, help has been shown.
        (None, None) => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}
