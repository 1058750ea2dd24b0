//! Sources of questions: a file in one of the public formats, or the soundscape world.
//!
//! A scenario names its sources in `[data]` and in `suites` of `[eval]`. [`open_dataset`] reads the [`Dataset`] of a
//! [`DataSource`]; their clips are loaded later, by the loader.
//!
//! - DATA-1 the questions are in the order of the rows, on every machine.
//! - DATA-2 no two questions of a dataset have the same id.
//! - DATA-3 a row that cannot be used is left out, and listed with its file, line and cause. Rows are never skipped
//!   silently.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::ScenarioError;
use crate::formats::{self, DataFormat, RowFilter};
use crate::rows::Dataset;
use crate::soundscape::{self, Split, WorldConfig};

/// A data file on disk, with questions in one of the public formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The format of the file: `avqa`, `mmau`, `mmau-pro`, `mmar`, `mmsu` or `air-bench`.
    pub format: DataFormat,
    /// Path of the file, relative to the scenario's folder.
    pub path: PathBuf,
    /// Folder that the audio paths in the file are relative to. Default: the folder of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_root: Option<PathBuf>,
    /// Name of the dataset in metrics and reports. Default: the file's name without its extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A source of questions: `"builtin:soundscapes"`, or a table with `format` and `path`, and `audio_root` if needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DataSource {
    /// The soundscape world, which is generated on first use; written `"builtin:soundscapes"`.
    #[default]
    Soundscapes,
    /// A data file on disk, written as a table.
    File(FileSource),
}

const SOUNDSCAPES: &str = "builtin:soundscapes";

impl DataSource {
    /// Name of the source in metrics and reports.
    pub fn name(&self) -> String {
        match self {
            DataSource::Soundscapes => SOUNDSCAPES.into(),
            DataSource::File(FileSource { name: Some(name), .. }) => name.clone(),
            DataSource::File(file) => {
                file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }
}

impl Serialize for DataSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            DataSource::Soundscapes => serializer.serialize_str(SOUNDSCAPES),
            DataSource::File(file) => file.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DataSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

/// Reads a source. serde's untagged enums report only that no variant matched; this visitor keeps the message
/// about the wrong key.
struct SourceVisitor;

impl<'de> de::Visitor<'de> for SourceVisitor {
    type Value = DataSource;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "\"{SOUNDSCAPES}\" or a table such as {{ format = \"avqa\", path = \"train.jsonl\" }}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DataSource, E> {
        if text == SOUNDSCAPES {
            return Ok(DataSource::Soundscapes);
        }
        Err(E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<DataSource, A::Error> {
        FileSource::deserialize(MapAccessDeserializer::new(map)).map(DataSource::File)
    }
}

impl JsonSchema for DataSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DataSource".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let file = generator.subschema_for::<FileSource>();
        schemars::json_schema!({
            "description": "A source of questions: \"builtin:soundscapes\", or a table that describes a data file.",
            "anyOf": [{ "type": "string", "const": SOUNDSCAPES }, file],
        })
    }
}

/// Reads all rows of a source. `split` selects the part of the soundscape world; data files have one part only.
/// The world's files are generated on first use.
///
/// Errors: A file cannot be read or written, or a setting of the world is out of range.
pub fn open_dataset(
    source: &DataSource,
    world: &WorldConfig,
    split: Split,
) -> Result<Dataset, ScenarioError> {
    open_dataset_filtered(source, world, split, &RowFilter::default())
}

/// Like [`open_dataset`], but with the rows that `filter` selects. Reading stops at its limit.
///
/// Errors: as for [`open_dataset`]; also if the filter selects no row.
pub fn open_dataset_filtered(
    source: &DataSource,
    world: &WorldConfig,
    split: Split,
    filter: &RowFilter,
) -> Result<Dataset, ScenarioError> {
    match source {
        DataSource::File(file) => {
            let root = file.audio_root.as_deref().or(file.path.parent()).unwrap_or(Path::new(""));
            formats::read(file.format, &file.path, root, filter)
        }
        DataSource::Soundscapes => {
            let folder = soundscape::prepare(world)?;
            formats::read(
                DataFormat::Avqa,
                &folder.join(split.name()).with_extension("jsonl"),
                &folder,
                filter,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Section {
        train: DataSource,
    }

    fn parse(text: &str) -> Result<DataSource, toml::de::Error> {
        toml::from_str::<Section>(text).map(|section| section.train)
    }

    #[test]
    fn a_source_is_the_built_in_world_or_a_file() {
        assert_eq!(parse(r#"train = "builtin:soundscapes""#), Ok(DataSource::Soundscapes));
        let file = FileSource {
            format: DataFormat::AirBench,
            path: "a/b.json".into(),
            audio_root: None,
            name: None,
        };
        assert_eq!(
            parse(r#"train = { format = "air-bench", path = "a/b.json" }"#),
            Ok(DataSource::File(file))
        );
    }

    #[test]
    fn the_message_about_a_wrong_source_says_what_to_write() {
        let error = parse(r#"train = "soundscapes""#).unwrap_err();
        let message = error.message();
        assert!(message.contains(r#"expected "builtin:soundscapes" or a table such as"#), "{message}");
        let error = parse(r#"train = { format = "avqa", pth = "a" }"#).unwrap_err();
        let message = error.message();
        assert!(message.contains("unknown field `pth`, expected one of"), "{message}");
    }

    #[test]
    fn sources_are_written_and_read_back() {
        for text in [
            r#"train = "builtin:soundscapes""#,
            r#"train = { format = "mmau", path = "m.json", audio_root = "audio", name = "mini" }"#,
        ] {
            let section: Section = toml::from_str(text).unwrap();
            assert_eq!(toml::from_str::<Section>(&toml::to_string(&section).unwrap()).unwrap(), section);
        }
    }

    #[test]
    fn sources_have_names() {
        let file = |format, name: Option<&str>| {
            DataSource::File(FileSource {
                format,
                path: "x/mmau-mini.json".into(),
                audio_root: None,
                name: name.map(str::to_owned),
            })
        };
        assert_eq!(file(DataFormat::Mmau, None).name(), "mmau-mini");
        assert_eq!(file(DataFormat::Mmau, Some("mini")).name(), "mini");
        assert_eq!(DataSource::Soundscapes.name(), "builtin:soundscapes");
    }
}
