//! `sandbox init`: writes a commented scenario to start from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use scenarios::{SCHEMA, SCHEMA_NAME, Template};

use crate::cli::{InitOptions, Start};
use crate::failure::Failure;
use crate::streams::outln;

/// Writes the scenario and its schema, and prints what to type next. Nothing is overwritten.
pub fn init(options: &InitOptions) -> Result<(), Failure> {
    let template = match options.from {
        Start::Ablation => Template::Ablation,
        Start::OwnData => Template::OwnData,
        Start::SevenB => Template::SevenB,
    };
    let dir = &options.dir;
    fs::create_dir_all(dir).map_err(|error| unwritable(dir, &error))?;
    let scenario = dir.join(template.file_name());
    if !write_new(&scenario, &template.text())? {
        let message = format!("{}: exists already; name another folder", scenario.display());
        return Err(Failure::Input(message));
    }
    // The schema of an earlier `init` is the same, or newer than this program.
    write_new(&dir.join(SCHEMA_NAME), SCHEMA)?;
    let scenario = scenario.strip_prefix(".").unwrap_or(&scenario).display();
    outln!("wrote {scenario}");
    outln!("{}", next(options.from, &scenario.to_string()));
    Ok(())
}

/// What to type next.
fn next(start: Start, scenario: &str) -> String {
    let steps = match start {
        Start::Ablation => vec![
            (format!("sandbox check {scenario}"), "checks it"),
            (format!("sandbox {scenario} --arm grpo --set run.steps=20"), "a short try of one arm"),
            (format!("sandbox {scenario}"), "runs all arms, about 3 minutes"),
        ],
        Start::OwnData => vec![
            (format!("${{EDITOR:-nano}} {scenario}"), "say where your questions and audio are"),
            ("hf download Qwen/Qwen2-Audio-7B-Instruct".to_owned(), "the model"),
            (format!("sandbox check {scenario}"), "are the files there, and is anything odd about them?"),
            (format!("sandbox {scenario}"), "runs all arms"),
        ],
        Start::SevenB => vec![
            ("hf download Qwen/Qwen2-Audio-7B-Instruct".to_owned(), "the policy"),
            ("hf download Qwen/Qwen3-8B-Base".to_owned(), "the judge"),
            (format!("sandbox check {scenario}"), "names the data files that are still missing"),
            (format!("sandbox {scenario} --arm 'grpo+atar*'"), "runs the arms with the adaptive reward"),
        ],
    };
    let width = steps.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let lines = steps.iter().map(|(command, why)| format!("  {command:width$}   {why}"));
    format!("next:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Writes a file; false if one of that name is there already.
fn write_new(path: &Path, text: &str) -> Result<bool, Failure> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).map_err(|error| unwritable(path, &error))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(unwritable(path, &error)),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Input(format!("{}: cannot be written: {error}; name another folder", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, from: Start) -> InitOptions {
        InitOptions { dir: dir.to_owned(), from }
    }

    #[test]
    fn a_scenario_that_is_there_is_not_overwritten_and_the_schema_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new/study");
        init(&options(&dir, Start::OwnData)).unwrap();
        fs::write(dir.join("own-data.toml"), "# mine").unwrap();
        let refused = init(&options(&dir, Start::OwnData)).unwrap_err();
        assert!(
            matches!(refused, Failure::Input(message) if message.contains("own-data.toml: exists already"))
        );
        assert_eq!(fs::read_to_string(dir.join("own-data.toml")).unwrap(), "# mine");
        init(&options(&dir, Start::Ablation)).unwrap();
        assert_eq!(fs::read_to_string(dir.join(SCHEMA_NAME)).unwrap(), SCHEMA);
    }
}
