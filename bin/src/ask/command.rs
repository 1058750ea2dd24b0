//! The lines of a conversation: questions, and commands that begin with `/`.

use std::path::PathBuf;

use scenarios::PromptStyle;

/// What `/help` prints.
pub const HELP: &str = "\
/clip FILE            the file goes with the next question; several may
/clip FOLDER          list the audio files of a folder; a number picks one
/record [SECONDS]     record from the microphone (5 s if no number is given)
/think /answer        ask for thinking and an answer, or for the answer only
/adaptive /plain      let the policy decide whether it thinks, or ask the question alone, without choices
/choices A, B, C      choices of the questions from now on; /choices alone removes them
/adapter DIR|off      use a LoRA adapter from now on, or none
/ab [DIR|off]         answer every question twice: with the adapter and without, or with the adapter DIR
/temperature T        0 always takes the most likely token
/clear                forget the conversation
/help                 this list
/quit                 end; Ctrl-D too. Ctrl-C stops an answer";

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// A question to the policy.
    Ask(String),
    /// An empty line.
    Nothing,
    /// A file or folder with clips.
    Clip(PathBuf),
    /// So many seconds from the microphone.
    Record(f64),
    /// How questions are worded; `None` for the plain question.
    Style(Option<PromptStyle>),
    /// The choices of the questions from now on.
    Choices(Vec<String>),
    /// The adapter from now on.
    Adapter(Option<PathBuf>),
    /// Whether questions are answered twice.
    Compare(Compare),
    /// The sampling temperature.
    Temperature(f64),
    /// Forget the conversation.
    Clear,
    /// Print the commands.
    Help,
    /// End.
    Quit,
}

/// What `/ab` compares the policy with.
#[derive(Debug, PartialEq)]
pub enum Compare {
    /// Nothing any more.
    Off,
    /// The policy without its adapter.
    Base,
    /// The policy with another adapter.
    Adapter(PathBuf),
}

/// Longest recording, in seconds.
const LONGEST_RECORDING: f64 = 600.0;

/// Reads a line. The error says what to write instead.
pub fn parse(line: &str) -> Result<Command, CommandError> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(Command::Nothing);
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Command::Ask(line.to_owned())) };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    let wrong = |instead: &'static str| CommandError::Argument { line: line.to_owned(), instead };
    let alone = |command: Command| match rest {
        "" => Ok(command),
        _ => Err(wrong("write it without an argument")),
    };
    match name {
        "clip" if rest.is_empty() => Err(wrong("write /clip FILE or /clip FOLDER")),
        "clip" => Ok(Command::Clip(path(rest))),
        "record" if rest.is_empty() => Ok(Command::Record(5.0)),
        "record" => match rest.parse() {
            Ok(seconds) if seconds > 0.0 && seconds <= LONGEST_RECORDING => Ok(Command::Record(seconds)),
            _ => Err(wrong("write seconds, more than 0 and at most 600, as in /record 5")),
        },
        "think" => alone(Command::Style(Some(PromptStyle::Think))),
        "answer" => alone(Command::Style(Some(PromptStyle::Answer))),
        "adaptive" => alone(Command::Style(Some(PromptStyle::Adaptive))),
        "plain" => alone(Command::Style(None)),
        "choices" => {
            let choices = rest.split(',').map(str::trim).filter(|choice| !choice.is_empty());
            let choices: Vec<String> = choices.map(str::to_owned).collect();
            match choices.len() {
                1 => Err(wrong("write at least two, with commas between them")),
                _ => Ok(Command::Choices(choices)),
            }
        }
        "adapter" if rest.is_empty() => Err(wrong("write /adapter DIR or /adapter off")),
        "adapter" => Ok(Command::Adapter((rest != "off").then(|| path(rest)))),
        "ab" => Ok(Command::Compare(match rest {
            "" => Compare::Base,
            "off" => Compare::Off,
            folder => Compare::Adapter(path(folder)),
        })),
        "temperature" => match rest.parse() {
            Ok(temperature) if (0.0..f64::INFINITY).contains(&temperature) => {
                Ok(Command::Temperature(temperature))
            }
            _ => Err(wrong("write a number, 0 or more, as in /temperature 0.7")),
        },
        "clear" => alone(Command::Clear),
        "help" => alone(Command::Help),
        "quit" => alone(Command::Quit),
        _ => Err(CommandError::Unknown { name: name.to_owned() }),
    }
}

/// A path as it is typed: in quotes or not, with `~` for the home folder.
fn path(text: &str) -> PathBuf {
    let quoted = ['"', '\''].iter().find_map(|&mark| text.strip_prefix(mark)?.strip_suffix(mark));
    let text = quoted.unwrap_or(text);
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(text),
    }
}

/// Why a line can't be followed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// There is no such command.
    #[error("/{name}: no such command; /help lists them")]
    Unknown {
        /// The name without its slash.
        name: String,
    },
    /// Its argument is unusable.
    #[error("{line}: {instead}")]
    Argument {
        /// The line as it was typed.
        line: String,
        /// What to write instead.
        instead: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_question_or_a_known_command() {
        let parsed = |line: &str| parse(line).unwrap();
        assert_eq!(parsed("  what is it? "), Command::Ask("what is it?".to_owned()));
        assert_eq!(parsed("   "), Command::Nothing);
        assert_eq!(parsed("/clip 'my dog.wav'"), Command::Clip("my dog.wav".into()));
        assert_eq!(parsed("/record"), Command::Record(5.0));
        assert_eq!(parsed("/plain"), Command::Style(None));
        assert_eq!(parsed("/choices a , b,c"), Command::Choices(["a", "b", "c"].map(str::to_owned).to_vec()));
        assert_eq!(parsed("/choices"), Command::Choices(Vec::new()));
        assert_eq!(parsed("/adapter off"), Command::Adapter(None));
        assert_eq!(parsed("/ab"), Command::Compare(Compare::Base));
        assert_eq!(parsed("/ab two"), Command::Compare(Compare::Adapter("two".into())));
        assert_eq!(parsed("/temperature 0"), Command::Temperature(0.0));
        assert_eq!(parsed("/quit"), Command::Quit);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_in_one_message() {
        let problem = |line: &str| parse(line).unwrap_err().to_string();
        assert_eq!(problem("/sing loudly"), "/sing: no such command; /help lists them");
        assert_eq!(problem("/clip"), "/clip: write /clip FILE or /clip FOLDER");
        assert_eq!(
            problem("/temperature warm"),
            "/temperature warm: write a number, 0 or more, as in /temperature 0.7"
        );
        for line in
            ["/temperature -1", "/temperature inf", "/record 0", "/record 1e9", "/choices one", "/clear all"]
        {
            assert!(problem(line).starts_with(line), "{line}");
        }
    }

    #[test]
    fn help_names_every_command() {
        for name in [
            "clip",
            "record",
            "think",
            "answer",
            "adaptive",
            "plain",
            "choices",
            "adapter",
            "ab",
            "temperature",
            "clear",
            "help",
            "quit",
        ] {
            assert!(HELP.contains(&format!("/{name}")), "{name}");
        }
    }
}
