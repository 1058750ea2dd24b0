//! `--quiet` and `--verbose`, which every command has.

use std::ffi::OsString;

use clap::{ArgAction, Args};

// How much is printed to standard error besides errors. A doc comment would become the text of the command.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Verbosity {
    /// Print results and errors only: no progress, notes or warnings
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Print what is logged too: -v what happens, -vv its details, -vvv the steps within
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}

/// The arguments with `-q` and `-v` moved behind the name of the command that they precede, because the options of a run
/// stand in the place of a command: `sandbox -v check x.toml` becomes `sandbox check -v x.toml`.
pub fn behind_the_command(mut arguments: Vec<OsString>, is_command: impl Fn(&str) -> bool) -> Vec<OsString> {
    let is_verbosity = |argument: &OsString| {
        argument.to_str().is_some_and(|text| {
            matches!(text, "--quiet" | "--verbose" | "-q")
                || text.strip_prefix('-').is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b == b'v'))
        })
    };
    let before = arguments.iter().skip(1).take_while(|argument| is_verbosity(argument)).count();
    let command = arguments.get(1 + before).and_then(|argument| argument.to_str());
    if command.is_some_and(is_command) {
        arguments[1..=1 + before].rotate_right(1);
    }
    arguments
}

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
        assert_eq!(moved("sandbox -q x.toml"), "sandbox -q x.toml");
        assert_eq!(moved("sandbox -vx check"), "sandbox -vx check");
        assert_eq!(moved("sandbox check"), "sandbox check");
        assert_eq!(moved("sandbox"), "sandbox");
        assert_eq!(moved("sandbox -"), "sandbox -");
    }
}
