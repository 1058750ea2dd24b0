//! What a scenario says of a data file: its format, its columns, and which of its rows are used. Types only; `formats` reads
//! the file.

use std::path::PathBuf;

use rewards::OfficialRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

/// The format of a data file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// AVQA as R1-AQA publishes it: one JSON object per line; the answer is the index of a choice.
    #[default]
    Avqa,
    /// MMAU: a JSON array; the answer is the text of a choice.
    Mmau,
    /// MMAR: one JSON object per line; the answer is the text of a choice.
    Mmar,
    /// The foundation part of AIR-Bench: a JSON array with one key per choice.
    AirBench,
    /// MMSU: a JSON array with one key per choice.
    Mmsu,
    /// MMAU-Pro: the questions with choices about one clip; the answer is the text of a choice.
    MmauPro,
    /// AudioMCQ: one JSON object per line; the answer is the text of a choice.
    AudioMcq,
    /// A file of one's own: CSV, TSV, JSON or Parquet, whose columns the scenario names.
    Table,
    /// Rows of ms-swift: `messages` or `query` and `response`, and `audios`.
    Chat,
}

impl DataFormat {
    /// All formats.
    pub const ALL: [DataFormat; 9] = [
        DataFormat::Avqa,
        DataFormat::Mmau,
        DataFormat::Mmar,
        DataFormat::AirBench,
        DataFormat::Mmsu,
        DataFormat::MmauPro,
        DataFormat::AudioMcq,
        DataFormat::Table,
        DataFormat::Chat,
    ];

    /// Name of the format in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            DataFormat::Avqa => "avqa",
            DataFormat::Mmau => "mmau",
            DataFormat::Mmar => "mmar",
            DataFormat::AirBench => "air-bench",
            DataFormat::Mmsu => "mmsu",
            DataFormat::MmauPro => "mmau-pro",
            DataFormat::AudioMcq => "audio-mcq",
            DataFormat::Table => "table",
            DataFormat::Chat => "chat",
        }
    }

    /// The rule of the benchmark's own script.
    pub(crate) fn official(self) -> OfficialRule {
        match self {
            DataFormat::Avqa | DataFormat::Mmau | DataFormat::Mmar => OfficialRule::StringMatch,
            DataFormat::AudioMcq | DataFormat::Table | DataFormat::Chat => OfficialRule::StringMatch,
            DataFormat::AirBench => OfficialRule::AirBenchLetter,
            DataFormat::Mmsu => OfficialRule::MmsuLetter,
            DataFormat::MmauPro => OfficialRule::ChoiceEmbedding,
        }
    }
}

/// `columns` of a source: the names of the columns of a table. Those that are not given are found by their usual names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The path of the clip, or the clip itself. Usual names: `audio`, `audio_path`, `path`, `file_name`, `wav`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// The question. Usual names: `question`, `query`, `prompt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The choices: a column with a list, or a list of columns with one choice each. Usual names: `choices`, `options`;
    /// `choice_a`, `choice_b`, …; `option_a`, …; `A`, `B`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<ChoiceColumns>,
    /// The right answer, or a list of right answers. Usual names: `answer`, `label`, `gold`, `answer_gt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The row's id. Usual names: `id`, `uid`, `question_id`. Without one, the number of the row's line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The difficulty: `easy`, `medium` or `hard`. Not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<String>,
    /// The category, for tables by kind. Not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A chain of thought to fine-tune on. Not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// The column or the columns with the choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ChoiceColumns {
    /// A column with a list.
    One(String),
    /// A column for each choice.
    Several(Vec<String>),
}

impl Columns {
    /// Whether no column is given.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the answers of a table are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerIs {
    /// The text of a choice.
    #[default]
    Text,
    /// The index of a choice, from `answer_base` on.
    Index,
    /// The letter of a choice.
    Letter,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerType {
    /// One of the choices.
    #[default]
    Choice,
    /// A text with the words of the right answer.
    Text,
    /// A number within the tolerance.
    Number,
}

/// What the rows of one side have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// The clip: all questions about it are on one side.
    #[default]
    Audio,
    /// The row's id.
    Id,
    /// Nothing: each row is drawn by its wording, its clip and its id.
    None,
}

/// A side of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The rows to train on.
    Train,
    /// The rows that are held out.
    Heldout,
}
