//! Where questions come from: a file in one of the public formats, or the soundscape world.
//!
//! Stands between the scenario file (`[data]`, `[eval] suites`) and the loaders: [`open_dataset`] turns a [`DataSource`]
//! into [`Question`]s in the order of the file.
//!
//! - DATA-1 the order of the questions is the order of the rows, on every machine.
//! - DATA-2 no two questions of a dataset have the same id.
//! - DATA-3 a row that cannot be used is an error that names the file, the line and what to write instead; rows are
//!   never skipped silently.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rewards::Question;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::ScenarioError;
use crate::formats::{self, DataFormat, RowFilter};
use crate::scorers::OfficialScorer;
use crate::soundscape::{self, Split, WorldConfig};

/// A data file on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The layout of the file's rows.
    pub format: DataFormat,
    /// The file.
    pub path: PathBuf,
    /// The folder that the audio paths in the file start from. Default: the file's own folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_root: Option<PathBuf>,
    /// What reports call it. Default: the file's name without its ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where questions come from: `"builtin:soundscapes"`, or a table with `format`, `path` and, where needed, `audio_root`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DataSource {
    /// The soundscape world, made on the spot; written `"builtin:soundscapes"`.
    #[default]
    Soundscapes,
    /// A data file.
    File(FileSource),
}

const SOUNDSCAPES: &str = "builtin:soundscapes";

impl DataSource {
    /// What reports call this source.
    pub fn name(&self) -> String {
        match self {
            DataSource::Soundscapes => SOUNDSCAPES.into(),
            DataSource::File(FileSource { name: Some(name), .. }) => name.clone(),
            DataSource::File(file) => {
                file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }

    /// The scorer that the benchmark's own script applies to this source's predictions.
    pub fn official_scorer(&self) -> OfficialScorer {
        match self {
            DataSource::File(file) => file.format.official_scorer(),
            DataSource::Soundscapes => OfficialScorer::StringMatch,
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

/// Unlike serde's untagged enums, which only say that nothing matched, this keeps the message about the wrong key.
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
            "description": "Where questions come from: \"builtin:soundscapes\", or a data file.",
            "anyOf": [{ "type": "string", "const": SOUNDSCAPES }, file],
        })
    }
}

/// All questions of `source`, in order. Makes the soundscape world's files on first use.
///
/// # Errors
/// When a file cannot be read, a row is not what the format says, or the world's settings are out of range.
pub fn open_dataset(
    source: &DataSource,
    world: &WorldConfig,
    split: Split,
) -> Result<Vec<Arc<Question>>, ScenarioError> {
    open_dataset_filtered(source, world, split, &RowFilter::default())
}

/// As [`open_dataset`], with only the rows that `filter` lets through. Reading stops at its limit.
///
/// # Errors
/// As [`open_dataset`], and when the filter leaves nothing.
pub fn open_dataset_filtered(
    source: &DataSource,
    world: &WorldConfig,
    split: Split,
    filter: &RowFilter,
) -> Result<Vec<Arc<Question>>, ScenarioError> {
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

    fn parse(text: &str) -> Result<DataSource, String> {
        toml::from_str::<Section>(text)
            .map(|section| section.train)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_source_is_the_builtin_world_or_a_file() {
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
    fn a_wrong_source_is_told_what_to_write() {
        let message = parse(r#"train = "soundscapes""#).unwrap_err();
        assert!(message.contains(r#"expected "builtin:soundscapes" or a table such as"#), "{message}");
        let message = parse(r#"train = { format = "avqa", pth = "a" }"#).unwrap_err();
        assert!(message.contains("unknown field `pth`, expected one of"), "{message}");
    }

    #[test]
    fn sources_survive_being_written_and_read() {
        for text in [
            r#"train = "builtin:soundscapes""#,
            r#"train = { format = "mmau", path = "m.json", audio_root = "audio", name = "mini" }"#,
        ] {
            let section: Section = toml::from_str(text).unwrap();
            assert_eq!(toml::from_str::<Section>(&toml::to_string(&section).unwrap()).unwrap(), section);
        }
    }

    #[test]
    fn sources_have_names_and_scorers() {
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
        assert_eq!(file(DataFormat::Mmar, None).official_scorer(), OfficialScorer::StringMatch);
        assert_eq!(file(DataFormat::AirBench, None).official_scorer(), OfficialScorer::AirBenchLetter);
    }
}
