//! Readers of the public data formats, one per file. Each turns a row into a [`Question`].
//!
//! The formats are those of MMAU (arXiv 2410.19168), MMAU-Pro (arXiv 2508.13992), MMAR (arXiv 2505.13032), MMSU (arXiv
//! 2506.04779), AIR-Bench (arXiv 2402.07729), and AVQA as R1-AQA (arXiv 2503.11197) publishes it. Columns that a reader does not use become the question's metadata.
//!
//! To add a format, write its reader, then add it to [`DataFormat`] below; the JSON Schema of scenarios is generated.

mod air_bench;
mod avqa;
mod clip;
mod mmar;
mod mmau;
mod mmau_pro;
mod mmsu;
mod row;

use std::path::Path;

use rewards::{OfficialRule, Question};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cache::cache_dir;
use crate::error::ScenarioError;
use crate::rows::{Dataset, RowError};
use row::{NoRow, Row, Rows};

/// The format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// AVQA as R1-AQA publishes it: one JSON object per line; the answer is the index of a choice.
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
}

impl DataFormat {
    /// All formats.
    pub const ALL: [DataFormat; 6] = [
        DataFormat::Avqa,
        DataFormat::Mmau,
        DataFormat::Mmar,
        DataFormat::AirBench,
        DataFormat::Mmsu,
        DataFormat::MmauPro,
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
        }
    }

    /// The rule of the benchmark's own script.
    fn official(self) -> OfficialRule {
        match self {
            DataFormat::Avqa | DataFormat::Mmau | DataFormat::Mmar => OfficialRule::StringMatch,
            DataFormat::AirBench => OfficialRule::AirBenchLetter,
            DataFormat::Mmsu => OfficialRule::MmsuLetter,
            DataFormat::MmauPro => OfficialRule::ChoiceEmbedding,
        }
    }

    /// The column that says where a row's clip lies.
    fn audio_column(self) -> &'static str {
        match self {
            DataFormat::Avqa | DataFormat::Mmar | DataFormat::Mmsu | DataFormat::MmauPro => "audio_path",
            DataFormat::Mmau => "audio_id",
            DataFormat::AirBench => "path",
        }
    }

    /// Turns a row of a file in this format into a question.
    fn question(self, row: Row) -> Result<Question, RowError> {
        match self {
            DataFormat::Avqa => avqa::question(row),
            DataFormat::Mmau => mmau::question(row),
            DataFormat::Mmar => mmar::question(row),
            DataFormat::AirBench => air_bench::question(row),
            DataFormat::Mmsu => mmsu::question(row),
            DataFormat::MmauPro => mmau_pro::question(row),
        }
    }
}

/// The rows of a file as they are, without those that are no objects.
///
/// Errors: the file cannot be read.
pub(crate) fn raw_rows(path: &Path) -> Result<Vec<Map<String, Value>>, ScenarioError> {
    let mut rows = Vec::new();
    for row in Rows::open(path)? {
        match row {
            Ok(row) => rows.push(row.rest()),
            Err(NoRow::Problem(_)) => {}
            Err(NoRow::File(error)) => return Err(error),
        }
    }
    Ok(rows)
}

/// The id of the question that a row of this format becomes; `None` if the row lacks it.
pub(crate) fn id(format: DataFormat, row: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| match row.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match format {
        DataFormat::AirBench => {
            Some(air_bench::id(&text("task_name")?, &text("dataset_name")?, &text("uniq_id")?))
        }
        DataFormat::Avqa | DataFormat::Mmau | DataFormat::Mmar | DataFormat::Mmsu | DataFormat::MmauPro => {
            text("id")
        }
    }
}

/// Selects the rows of a source that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Use only the first rows, up to this number. `None` uses all.
    pub limit: Option<usize>,
    /// Exclude AVQA rows whose `question_relation` is `View`: they are about what is seen.
    pub drop_view: bool,
    /// Exclude questions that contain `color` or `colour`.
    pub drop_color: bool,
}

/// Number of first rows whose audio files are checked; if all are missing, `audio_root` is wrong.
const AUDIO_CHECKED: usize = 20;

/// Reads the rows of `path` that `filter` selects, in their order. Lines are read one by one, up to the limit, to which
/// rows that cannot be used count too.
///
/// Errors: the file cannot be read, no row is selected, none of the first audio files exists, or sound that a row itself
/// contains cannot be written to the cache.
pub(crate) fn read(
    format: DataFormat,
    path: &Path,
    audio_root: &Path,
    filter: &RowFilter,
) -> Result<Dataset, ScenarioError> {
    read_with_cache(format, path, audio_root, filter, &cache_dir())
}

fn read_with_cache(
    format: DataFormat,
    path: &Path,
    audio_root: &Path,
    filter: &RowFilter,
    cache: &Path,
) -> Result<Dataset, ScenarioError> {
    let mut dataset = Dataset::new(path);
    for row in Rows::open(path)? {
        if filter.limit.is_some_and(|limit| dataset.rows() >= limit) {
            break;
        }
        let row = match row {
            Ok(row) => row,
            Err(NoRow::Problem(problem)) => {
                dataset.problems.push(problem);
                continue;
            }
            Err(NoRow::File(error)) => return Err(error),
        };
        if is_left_out(&row, filter) {
            continue;
        }
        let (line, id) = (row.line, row.id());
        let added =
            question(format, row, audio_root, cache)?.and_then(|question| dataset.add(question, line));
        if let Err(error) = added {
            dataset.problems.push(error.in_row(path, line, id));
        }
    }
    check(path, &dataset)?;
    Ok(dataset)
}

/// Turns a row into a question, with the place of its clip and the part of it that is asked about.
///
/// Errors: sound that the row contains cannot be written to `cache`.
fn question(
    format: DataFormat,
    mut row: Row,
    audio_root: &Path,
    cache: &Path,
) -> Result<Result<Question, RowError>, ScenarioError> {
    if format == DataFormat::MmauPro
        && let Err(error) = mmau_pro::one_clip(&mut row)
    {
        return Ok(Err(error));
    }
    if let Err(error) = clip::settle(&mut row, format.audio_column(), cache)? {
        return Ok(Err(error));
    }
    Ok(clip::part(&mut row).and_then(|(start, end)| {
        let question = format.question(row)?;
        let audio_path = audio_root.join(&question.audio_path);
        let audio_path = match format {
            DataFormat::AirBench => air_bench::clip(&question, audio_path),
            _ => audio_path,
        };
        Ok(Question { audio_path, start, end, official: format.official(), ..question })
    }))
}

/// Whether the filter excludes the row.
fn is_left_out(row: &Row, filter: &RowFilter) -> bool {
    let relation = row.peek("question_relation");
    let text = row.peek("question_text").or_else(|| row.peek("question"));
    let text = text.unwrap_or_default().to_lowercase();
    filter.drop_view && relation.is_some_and(|relation| relation.eq_ignore_ascii_case("view"))
        || filter.drop_color && (text.contains("color") || text.contains("colour"))
}

/// Checks that there are rows and that the audio root is right. The loader handles a single missing clip; if all
/// are missing, the root is wrong.
fn check(path: &Path, dataset: &Dataset) -> Result<(), ScenarioError> {
    let fail = |problem, instead: &str| {
        Err(ScenarioError::File { path: path.into(), problem, instead: instead.to_owned() })
    };
    let Some(first) = dataset.questions.first() else {
        if !dataset.problems.is_empty() {
            // The caller, which lists the problems, reports that no row is left.
            return Ok(());
        }
        let problem = "it has no questions, or the filters exclude all of them".to_owned();
        return fail(problem, "change [data]");
    };
    if dataset.questions.iter().take(AUDIO_CHECKED).any(|question| clip::has_file(&question.audio_path)) {
        return Ok(());
    }
    let missing = first.audio_path.display();
    fail(
        format!("the audio files of its rows are missing: there is no {missing}"),
        "set audio_root to the folder that the paths are relative to",
    )
}

#[cfg(test)]
mod tests;
