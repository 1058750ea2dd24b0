//! `sandbox man`: the help texts as manual pages.

use std::fs;
use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::{Cli, ManOptions};
use crate::failure::Failure;
use crate::streams::outln;

/// Prints the page of `sandbox`, or writes `sandbox.1` and a page of every command, such as `sandbox-check.1`.
pub fn man(options: &ManOptions) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    let Some(dir) = &options.dir else {
        let mut page = Vec::new();
        command.build();
        Man::new(command).render(&mut page).map_err(Failure::running)?;
        let _ = io::stdout().write_all(&page);
        return Ok(());
    };
    let failed = |error| Failure::Input(format!("{}: cannot be written: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(command, dir).map_err(failed)?;
    outln!("{}: sandbox.1 and a page of every command", dir.display());
    Ok(())
}
