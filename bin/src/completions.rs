//! `sandbox completions`: prints a script that completes commands, options and files in a shell.

use std::io::{self, Write as _};

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsOptions};
use crate::failure::Failure;

pub fn completions(options: &CompletionsOptions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "sandbox", &mut script);
    // That nobody reads it is no failure of the command.
    let _ = io::stdout().write_all(&script);
    Ok(())
}
