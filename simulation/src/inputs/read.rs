//! Reads [`Inputs`]: a file or what was fitted to a run, with the settings of `--set` over it. Every mistake names its place.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::Inputs;
use super::check::{Unfit, check};
use crate::error::SimulationError;

/// The file that mistakes are looked up in, and the settings that were put over it.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
    set: &'a [String],
}

impl Inputs {
    /// Reads inputs: first those `fitted` to a run, if there are any, over them the file at `path`, over both the settings
    /// `section.key=value`.
    ///
    /// Errors: [`SimulationError::Unreadable`]; [`SimulationError::Input`] with the first mistake.
    pub fn read(
        fitted: Option<Inputs>,
        path: Option<&Path>,
        set: &[String],
    ) -> Result<Inputs, SimulationError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| SimulationError::Unreadable { path: path.to_owned(), source })?,
            None => String::new(),
        };
        layered(fitted, &Source { text: &text, path: path.unwrap_or(Path::new("the run")), set })
    }

    /// Reads inputs from the text of a file.
    ///
    /// Errors: [`SimulationError::Input`] with the first mistake.
    pub fn parse(text: &str) -> Result<Inputs, SimulationError> {
        layered(None, &Source { text, path: Path::new("inputs"), set: &[] })
    }
}

fn layered(fitted: Option<Inputs>, source: &Source<'_>) -> Result<Inputs, SimulationError> {
    // The file alone first: only from its text do errors have a place.
    toml::from_str::<Inputs>(source.text).map_err(|error| source.unreadable(&error))?;
    let mut table = match fitted {
        // What was fitted is made of numbers and lists, which TOML can say.
        Some(fitted) => Table::try_from(fitted).unwrap_or_default(),
        None => Table::new(),
    };
    let of_file: Table = toml::from_str(source.text).map_err(|error| source.unreadable(&error))?;
    merge(&mut table, of_file);
    for setting in source.set {
        merge(&mut table, nested(setting)?);
        let read: Result<Inputs, _> = table.clone().try_into();
        read.map_err(|error: toml::de::Error| {
            let (problem, instead) = reworded(error.message());
            at(format!("--set {setting}"), problem, instead)
        })?;
    }
    let inputs: Inputs = table.try_into().map_err(|error| source.unreadable(&error))?;
    check(&inputs).map_err(|Unfit { key, problem, instead }| at(source.place_of(&key), problem, instead))?;
    Ok(inputs)
}

fn at(place: String, problem: impl Into<String>, instead: impl Into<String>) -> SimulationError {
    SimulationError::Input { place, problem: problem.into(), instead: instead.into() }
}

/// Puts the values of `over` into `table`. A distribution is replaced as a whole: its keys depend on its kind.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match value {
            Value::Table(over) if !over.contains_key("kind") => {
                let below = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
                match below {
                    Value::Table(below) => merge(below, over),
                    other => *other = Value::Table(over),
                }
            }
            value => drop(table.insert(key, value)),
        }
    }
}

/// The table that `section.key=value` stands for. A value that is not TOML is a text.
fn nested(setting: &str) -> Result<Table, SimulationError> {
    let place = || format!("--set {setting}");
    let Some((path, value)) = setting.split_once('=') else {
        return Err(at(place(), "there is no `=`", "write --set section.key=value"));
    };
    let value = value.trim();
    let parsed = format!("v = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    let keys: Vec<&str> = path.trim().split('.').collect();
    if keys.iter().any(|key| key.trim().is_empty()) {
        return Err(at(place(), "a key is empty", "write --set section.key=value"));
    }
    let mut tree = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    for key in keys.iter().rev() {
        tree = Value::Table(Table::from_iter([(key.trim().to_owned(), tree)]));
    }
    Ok(match tree {
        Value::Table(table) => table,
        _ => Table::new(),
    })
}

/// What serde says, split into the problem and what to write instead.
fn reworded(message: &str) -> (String, String) {
    let message = message.trim();
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let Some((unknown, known)) = names.split_first()
        && (message.starts_with("unknown field") || message.starts_with("unknown variant"))
    {
        let instead = match rewards::nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", known.join(", ")),
        };
        let what = if message.starts_with("unknown field") { "key" } else { "value" };
        return (format!("unknown {what} `{unknown}`"), instead);
    }
    (message.replace('\n', ", "), "docs/scale/simulation.schema.json has what may be written".to_owned())
}

impl Source<'_> {
    fn unreadable(&self, error: &toml::de::Error) -> SimulationError {
        let (problem, instead) = reworded(error.message());
        at(self.place(error.span().map_or(0, |span| span.start)), problem, instead)
    }

    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        format!("{}:{line}:{column}", self.path.display())
    }

    /// Where a key got its value: the last `--set` of it, its line in the file, or the file as a whole.
    fn place_of(&self, key: &str) -> String {
        let sets = |setting: &&String| {
            setting
                .split_once('=')
                .is_some_and(|(path, _)| path.trim() == key || key.starts_with(&format!("{}.", path.trim())))
        };
        if let Some(setting) = self.set.iter().rev().find(sets) {
            return format!("--set {setting}");
        }
        let document = DeTable::parse(self.text).ok();
        let place = document.as_ref().and_then(|document| offset_of(document.get_ref(), key));
        place.map_or_else(|| self.path.display().to_string(), |offset| self.place(offset))
    }
}

/// Where the value of `section.key` begins.
fn offset_of(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let (_, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == first)?;
    match (rest, value.get_ref()) {
        (Some(rest), DeValue::Table(below)) => offset_of(below, rest).or(Some(value.span().start)),
        _ => Some(value.span().start),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Distribution;
    use super::*;

    const FILE: &str = r#"
[run]
steps = 10
[completions]
tokens = { kind = "lognormal", mean = 120, sigma = 0.5 }
[sampler]
decode = [{ sequences = 1, tokens_per_second = 75 }]
"#;

    fn refused(text: &str, set: &[&str]) -> String {
        let set: Vec<String> = set.iter().map(|setting| (*setting).to_owned()).collect();
        layered(None, &Source { text, path: Path::new("a.toml"), set: &set }).unwrap_err().to_string()
    }

    #[test]
    fn every_mistake_has_a_place_and_says_what_to_write() {
        for (text, set, expected) in [
            ("[run]\nstepz = 3\n", &[][..], "a.toml:2:1: unknown key `stepz`; did you mean `steps`?"),
            ("[run\n", &[], "a.toml:1:5: "),
            (
                "[run]\n[sampler]\nbatching = \"contineous\"\n",
                &[],
                "a.toml:3:12: unknown value `contineous`; did you mean `continuous`?",
            ),
            (FILE, &["run.steps=0"], "--set run.steps=0: `steps` in [run] is 0; write 1 or more"),
            (
                FILE,
                &["run.steps=1000000000"],
                "--set run.steps=1000000000: `steps` in [run] is 1000000000, which makes ",
            ),
            (FILE, &["run.stesp=3"], "--set run.stesp=3: unknown key `stesp`; did you mean `steps`?"),
            (FILE, &["run.steps"], "--set run.steps: there is no `=`; write --set section.key=value"),
            (
                "[run]\nsteps = 1\n[learner]\n  step_seconds = -1\n",
                &[],
                "a.toml:4:18: `step_seconds` in [learner] is -1; write 0 or more",
            ),
            (
                "[run]\nsteps = 1\n",
                &[],
                "a.toml: `decode` in [sampler] is empty; write decode = [{ sequences = 1, tokens_per_second = … }]",
            ),
        ] {
            let said = refused(text, set);
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn settings_are_put_over_the_file_and_the_file_over_what_was_fitted() {
        let mut fitted = Inputs::parse(FILE).unwrap();
        fitted.learner.step_seconds = 3.0;
        fitted.completions.prompt_tokens = 50.0;
        let text = "[learner]\nstep_seconds = 2\n[completions]\ntokens = { kind = \"fixed\", value = 9 }\n";
        let set = ["run.steps=12".to_owned()];
        let source = Source { text, path: Path::new("a.toml"), set: &set };
        let inputs = layered(Some(fitted), &source).unwrap();
        assert_eq!((inputs.run.steps, inputs.learner.step_seconds), (12, 2.0));
        assert_eq!(inputs.completions.prompt_tokens, 50.0);
        assert_eq!(inputs.completions.tokens, Distribution::Fixed { value: 9.0 });
    }
}
