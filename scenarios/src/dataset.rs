//! Sources of questions: a file in one of the public formats, or a built-in world.
//!
//! A scenario names its sources in `[data]` and in `suites` of `[eval]`. [`open_dataset`] reads the [`Dataset`] of a
//! [`DataSource`]; their clips are loaded later, by the loader.
//!
//! - DATA-1 the questions are in the order of the rows, on every machine.
//! - DATA-2 no two questions of a dataset have the same id.
//! - DATA-3 a row that cannot be used is left out, and listed with its file, line and cause. Rows are never skipped
//!   silently.

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::ScenarioError;
use crate::formats::{self, RowFilter};
use crate::rows::Dataset;
use crate::source::{DataFormat, FileSource};
use crate::world::{Split, World, Worlds};

/// A source of questions: a world such as `"builtin:soundscapes"`, or a table with `format` and `path`, and `audio_root` if
/// needed.
#[derive(Clone, Debug, PartialEq)]
pub enum DataSource {
    /// A built-in world, which is generated on first use; written as its name.
    World(World),
    /// A data file on disk, written as a table.
    File(FileSource),
}

impl Default for DataSource {
    fn default() -> Self {
        Self::World(World::default())
    }
}

impl DataSource {
    /// Name of the source in metrics and reports.
    pub fn name(&self) -> String {
        match self {
            DataSource::World(world) => world.name().into(),
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
            DataSource::World(world) => serializer.serialize_str(world.name()),
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
        for world in World::ALL {
            write!(out, "\"{}\", ", world.name())?;
        }
        out.write_str("or a table such as { format = \"avqa\", path = \"train.jsonl\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DataSource, E> {
        let world = World::from_name(text).map(DataSource::World);
        world.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
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
            "description": "A source of questions: a built-in world, or a table that describes a data file.",
            "anyOf": [{ "type": "string", "enum": World::ALL.map(World::name) }, file],
        })
    }
}

/// Reads all rows of a source. `split` selects the part of a built-in world; data files have one part only.
/// A world's files are generated on first use.
///
/// Errors: A file cannot be read or written, or a setting of a world is out of range.
pub fn open_dataset(source: &DataSource, worlds: &Worlds, split: Split) -> Result<Dataset, ScenarioError> {
    open_dataset_filtered(source, worlds, split, &RowFilter::default())
}

/// Like [`open_dataset`], but with the rows that `filter` selects. Reading stops at its limit.
///
/// Errors: as for [`open_dataset`]; also if the filter selects no row.
pub fn open_dataset_filtered(
    source: &DataSource,
    worlds: &Worlds,
    split: Split,
    filter: &RowFilter,
) -> Result<Dataset, ScenarioError> {
    match source {
        DataSource::File(file) => formats::read_source(file, filter),
        DataSource::World(world) => {
            let folder = worlds.prepare(*world)?;
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
        for world in World::ALL {
            assert_eq!(parse(&format!("train = \"{}\"", world.name())), Ok(DataSource::World(world)));
        }
        let file = FileSource::new(DataFormat::AirBench, "a/b.json");
        assert_eq!(
            parse(r#"train = { format = "air-bench", path = "a/b.json" }"#),
            Ok(DataSource::File(file))
        );
    }

    #[test]
    fn the_message_about_a_wrong_source_says_what_to_write() {
        let error = parse(r#"train = "soundscapes""#).unwrap_err();
        let message = error.message();
        assert!(
            message.contains(
                r#"expected "builtin:soundscapes", "builtin:spoken", "builtin:recorded", or a table such as"#
            ),
            "{message}"
        );
        let error = parse(r#"train = { format = "avqa", pth = "a" }"#).unwrap_err();
        let message = error.message();
        assert!(message.contains("unknown field `pth`, expected one of"), "{message}");
    }

    #[test]
    fn sources_are_written_and_read_back() {
        for text in [
            r#"train = "builtin:soundscapes""#,
            r#"train = "builtin:spoken""#,
            r#"train = { format = "mmau", path = "m.json", audio_root = "audio", name = "mini" }"#,
            r#"train = { format = "table", path = "m.csv", columns = { audio = "wav", choices = ["a", "b"] }, answer_base = 1 }"#,
            r#"train = { format = "table", path = "m", split = "train", holdout = 0.1, part = "heldout", split_by = "id" }"#,
        ] {
            let section: Section = toml::from_str(text).unwrap();
            assert_eq!(toml::from_str::<Section>(&toml::to_string(&section).unwrap()).unwrap(), section);
        }
    }

    #[test]
    fn keys_without_a_meaning_are_refused() {
        let message = |text: &str| match parse(text).unwrap() {
            DataSource::File(file) => crate::file_keys::check_keys(&file).unwrap_err().to_string(),
            DataSource::World(_) => panic!("a file"),
        };
        assert_eq!(
            message(r#"train = { format = "mmau", path = "a", answer_base = 1 }"#),
            r#"`answer_base` has no meaning with format = "mmau"; leave it out, or set format = "table""#
        );
        let text = r#"train = { format = "table", path = "a", tolerance = 1 }"#;
        assert!(message(text).starts_with("`tolerance` has no meaning"));
        assert!(
            message(r#"train = { format = "table", path = "a", answer_base = 2 }"#)
                .contains("neither 0 nor 1")
        );
        assert!(
            message(r#"train = { format = "mmau", path = "a", holdout = 0.1 }"#).contains("`part` is not")
        );
    }

    #[test]
    fn sources_have_names() {
        let file = |format, name: Option<&str>| {
            let name = name.map(str::to_owned);
            DataSource::File(FileSource { name, ..FileSource::new(format, "x/mmau-mini.json") })
        };
        assert_eq!(file(DataFormat::Mmau, None).name(), "mmau-mini");
        assert_eq!(file(DataFormat::Mmau, Some("mini")).name(), "mini");
        assert_eq!(DataSource::default().name(), "builtin:soundscapes");
    }
}
