//! Sources of questions: a file in one of the public formats, or the soundscape world.
//!
//! A scenario names its sources in `[data]` and in `suites` of `[eval]`. [`open_dataset`] reads the [`Dataset`] of a
//! [`DataSource`]; their clips are loaded later, by the loader.
//!
//! - DATA-1 the questions are in the order of the rows, on every machine.
//! - DATA-2 no two questions of a dataset have the same id.
//! - DATA-3 a row that cannot be used is left out, and listed with its file, line and cause. Rows are never skipped
//!   silently.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::ScenarioError;
use crate::formats::{self, AnswerIs, AnswerType, Columns, DataFormat, RowFilter};
use crate::holdout::{Holdout, Part, SplitBy};
use crate::rows::Dataset;
use crate::soundscape::{self, Split, WorldConfig};

/// A data file on disk, with questions in one of the public formats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The format of the file: that of a benchmark, or `table` for a file of one's own, or `chat` for rows of ms-swift.
    pub format: DataFormat,
    /// Path of the file, relative to the scenario's folder; or of a folder as the Hub keeps it, with `metadata.jsonl` or
    /// shards such as `data/train-00000-of-00002.parquet`.
    pub path: PathBuf,
    /// Folder that the audio paths in the file are relative to. Default: the folder of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_root: Option<PathBuf>,
    /// Name of the dataset in metrics and reports. Default: the file's name without its extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which shards of a folder to read, such as `"train"`. Default: the only split there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The columns of a `table`, such as `{ audio = "wav", question = "q" }`. Columns that are not given are found by their
    /// usual names.
    #[serde(default, skip_serializing_if = "Columns::is_default")]
    pub columns: Box<Columns>,
    /// The sign between the choices of a `table` that has them in one text, such as `"|"` or `";"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice_separator: Option<String>,
    /// What the answers of a `table` are: `"text"`, `"index"` or `"letter"`. Default: found out from the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_is: Option<AnswerIs>,
    /// The index of the first choice, 0 or 1, where answers are indices. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_base: Option<u8>,
    /// What is asked for in a `table` or `chat`: `"choice"`, one of the choices; `"text"`, an open question whose answer has
    /// the words of the right one; `"number"`, an open question whose answer is a number. Default: `"choice"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_type: Option<AnswerType>,
    /// How far a number may be from the right one, with `answer_type = "number"`. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Fraction of the rows that is held out, between 0 and 1. Default: all rows are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<f64>,
    /// The side of the split that is used: `"train"` or `"heldout"`. Needed with `holdout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// What stays together in the split: all rows of a clip (`"audio"`) or of an id (`"id"`), or nothing (`"none"`). Default:
    /// `"audio"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_by: Option<SplitBy>,
    /// The seed of the split; another seed holds out other rows. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
}

impl FileSource {
    /// A file with the given format, and the defaults for all else.
    pub fn new(format: DataFormat, path: impl Into<PathBuf>) -> Self {
        Self { format, path: path.into(), ..Self::default() }
    }

    /// Checks that the keys fit one another.
    ///
    /// Errors: a key has no meaning with the format, is out of range, or needs another.
    pub fn check_keys(&self) -> Result<(), ScenarioError> {
        let table = self.format == DataFormat::Table;
        let open = table || self.format == DataFormat::Chat;
        for (key, is_set, has_meaning) in [
            ("columns", !self.columns.is_default(), table),
            ("choice_separator", self.choice_separator.is_some(), table),
            ("answer_is", self.answer_is.is_some(), table),
            ("answer_base", self.answer_base.is_some(), table),
            ("answer_type", self.answer_type.is_some(), open),
            ("tolerance", self.tolerance.is_some(), open && self.answer_type == Some(AnswerType::Number)),
        ] {
            if is_set && !has_meaning {
                let instead = match key {
                    "tolerance" => "leave it out, or set answer_type = \"number\" and format = \"table\"",
                    _ => "leave it out, or set format = \"table\"",
                };
                let problem = format!("`{key}` has no meaning with format = \"{}\"", self.format.name());
                return Err(ScenarioError::value(problem, instead));
            }
        }
        if self.answer_base.is_some_and(|base| base > 1) {
            return Err(ScenarioError::value("`answer_base` is neither 0 nor 1", "write 0 or 1"));
        }
        if self.tolerance.is_some_and(|tolerance| !(tolerance.is_finite() && tolerance >= 0.0)) {
            return Err(ScenarioError::value("`tolerance` is not a number from 0 on", "write 0 or more"));
        }
        Holdout::of(self).map(drop)
    }
}

/// A source of questions: `"builtin:soundscapes"`, or a table with `format` and `path`, and `audio_root` if needed.
#[derive(Clone, Debug, Default, PartialEq)]
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
        DataSource::File(file) => formats::read_source(file, filter),
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
            DataSource::File(file) => file.check_keys().unwrap_err().to_string(),
            DataSource::Soundscapes => panic!("a file"),
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
        assert_eq!(DataSource::Soundscapes.name(), "builtin:soundscapes");
    }
}
