//! `--quiet`, `--verbose` and `--log-format`, which every command has.

use std::ffi::OsString;

use clap::{ArgAction, Args, ValueEnum};

// How much is printed to standard error besides errors. A doc comment would become the text of the command.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Verbosity {
    /// Print results and errors only: no progress, notes or warnings
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Print what is logged too: -v what happens, -vv its details, -vvv the steps within
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// Form of what is printed to standard error and written to run.log
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub log_format: LogFormat,
}

/// The form of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// An object per line
    Json,
}

/// The arguments with `-q`, `-v` and `--log-format` moved behind the name of the command that they precede, because the options of a run
/// stand in the place of a command: `sandbox -v check x.toml` becomes `sandbox check -v x.toml`.
pub fn behind_the_command(mut arguments: Vec<OsString>, is_command: impl Fn(&str) -> bool) -> Vec<OsString> {
    let is_verbosity = |argument: &OsString| {
        argument.to_str().is_some_and(|text| {
            matches!(text, "--quiet" | "--verbose" | "-q" | FORMAT)
                || text.strip_prefix(FORMAT).is_some_and(|rest| rest.starts_with('='))
                || text.strip_prefix('-').is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b == b'v'))
        })
    };
    let mut command = 1;
    while let Some(argument) = arguments.get(command).filter(|argument| is_verbosity(argument)) {
        // Its value is the next word.
        command += if argument == FORMAT { 2 } else { 1 };
    }
    if arguments.get(command).and_then(|argument| argument.to_str()).is_some_and(is_command) {
        arguments[1..=command].rotate_right(1);
    }
    arguments
}

const FORMAT: &str = "--log-format";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_precedes_a_command_is_moved() {
        let moved = |line: &str| {
            let arguments = line.split(' ').map(OsString::from).collect();
            let moved = behind_the_command(arguments, |word| word == "check");
            moved.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(moved("sandbox -v --quiet check x -q"), "sandbox check -v --quiet x -q");
        assert_eq!(moved("sandbox -vv check"), "sandbox check -vv");
        assert_eq!(moved("sandbox --log-format json -q check"), "sandbox check --log-format json -q");
        assert_eq!(moved("sandbox --log-format=json check"), "sandbox check --log-format=json");
        assert_eq!(moved("sandbox --log-format check"), "sandbox --log-format check");
        assert_eq!(moved("sandbox -q x.toml"), "sandbox -q x.toml");
        assert_eq!(moved("sandbox -vx check"), "sandbox -vx check");
        assert_eq!(moved("sandbox check"), "sandbox check");
        assert_eq!(moved("sandbox"), "sandbox");
        assert_eq!(moved("sandbox -"), "sandbox -");
    }
}
