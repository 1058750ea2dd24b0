//! A source of questions as the command line names it: `FORMAT=FILE`, `builtin:soundscapes`, or a table as in a scenario.

use std::path::{Path, PathBuf};

use rewards::did_you_mean;
use scenarios::{DataFormat, DataSource};

use crate::failure::Failure;

/// A source as the command line names it. `option` is what stands in front of it, for messages.
pub fn source(option: &str, text: &str, audio_root: Option<&Path>) -> Result<DataSource, Failure> {
    let fail = |problem: String| {
        Err(Failure::Input(format!(
            "{option}{text}: {problem}; write FORMAT=FILE such as mmau=mmau-test-mini.json, builtin:soundscapes, or a table \
             such as '{{ format = \"mmau\", path = \"m.json\", name = \"mini\" }}'"
        )))
    };
    let table = |text: &str| {
        let parsed =
            toml::from_str::<std::collections::BTreeMap<String, DataSource>>(&format!("source = {text}"));
        parsed.map(|mut parsed| parsed.remove("source"))
    };
    let parsed = if text.starts_with('{') || text.starts_with("builtin:") {
        table(&if text.starts_with('{') { text.to_owned() } else { format!("\"{text}\"") })
    } else {
        let Some((format, path)) = text.split_once('=') else { return fail("no format is named".into()) };
        let names: Vec<&str> = DataFormat::ALL.iter().map(|format| format.name()).collect();
        if !names.contains(&format) {
            return fail(format!("unknown format `{format}`{}", did_you_mean(format, names)));
        }
        table(&format!("{{ format = \"{format}\", path = {} }}", toml::Value::from(path)))
    };
    match parsed {
        Ok(Some(DataSource::File(mut file))) => {
            file.path = absolute(file.path);
            file.audio_root = file.audio_root.or_else(|| audio_root.map(Path::to_owned)).map(absolute);
            Ok(DataSource::File(file))
        }
        Ok(Some(source)) => Ok(source),
        Ok(None) => fail("not a source".into()),
        Err(error) => fail(error.message().to_owned()),
    }
}

/// A path of the command line as a recorded scenario needs it, which is read from another folder.
pub fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_a_format_and_a_file_or_a_table() {
        let DataSource::File(file) = source("", "mmau=a b/m.json", Some(Path::new("clips"))).unwrap() else {
            panic!("a file")
        };
        let here = std::env::current_dir().unwrap();
        assert_eq!((file.format, file.path), (DataFormat::Mmau, here.join("a b/m.json")));
        assert_eq!(file.audio_root, Some(here.join("clips")));
        assert_eq!(source("", "builtin:soundscapes", None).unwrap(), DataSource::default());
        let table = "{ format = \"mmar\", path = \"m.jsonl\", name = \"x\" }";
        assert_eq!(source("", table, None).unwrap().name(), "x");
        for (text, expected) in [("mmua=m.json", "did you mean `mmau`?"), ("m.json", "no format is named")] {
            let Err(Failure::Input(message)) = source("--suite ", text, None) else { panic!("{text}") };
            assert!(message.contains(expected), "{message}");
        }
    }
}
