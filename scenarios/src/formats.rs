//! Readers of the public data formats, one per file; all give [`Question`]s.
//!
//! Facts of the formats: MMAU (arXiv 2410.19168), MMAR (arXiv 2505.13032), AIR-Bench (arXiv 2402.07729), AVQA as R1-AQA
//! (arXiv 2503.11197) writes it. Columns that no reader knows stay with the question as its metadata.

mod air_bench;
mod avqa;
mod mmar;
mod mmau;
mod row;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rewards::Question;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;
use crate::scorers::OfficialScorer;
use row::{Row, Rows};

/// The layout of a data file's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// AVQA as R1-AQA writes it: one JSON object a line, the answer an index.
    Avqa,
    /// MMAU: a JSON array, the answer the text of a choice.
    Mmau,
    /// MMAR: one JSON object a line, the answer the text of a choice.
    Mmar,
    /// AIR-Bench's foundation part: a JSON array, one key per choice.
    AirBench,
}

impl DataFormat {
    /// The format's name, as written in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            DataFormat::Avqa => "avqa",
            DataFormat::Mmau => "mmau",
            DataFormat::Mmar => "mmar",
            DataFormat::AirBench => "air-bench",
        }
    }

    /// The scorer that the benchmark's own script applies.
    pub fn official_scorer(self) -> OfficialScorer {
        match self {
            DataFormat::Avqa | DataFormat::Mmau | DataFormat::Mmar => OfficialScorer::StringMatch,
            DataFormat::AirBench => OfficialScorer::AirBenchLetter,
        }
    }

    /// Reads one row of a file in this format.
    fn question(self, row: Row) -> Result<Question, ScenarioError> {
        match self {
            DataFormat::Avqa => avqa::question(row),
            DataFormat::Mmau => mmau::question(row),
            DataFormat::Mmar => mmar::question(row),
            DataFormat::AirBench => air_bench::question(row),
        }
    }
}

/// Which of a source's rows are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Use at most this many questions, the first ones. Default: all.
    pub limit: Option<usize>,
    /// Leave out AVQA rows whose `question_relation` is `View`: what they ask can only be seen.
    pub drop_view: bool,
    /// Leave out questions that speak of colour.
    pub drop_color: bool,
}

/// How many of the first rows must all lack their audio before the audio root is called wrong.
const AUDIO_CHECKED: usize = 20;

/// Reads the questions of `path` that `filter` lets through, in order. Lines are read one by one, up to the limit.
///
/// # Errors
/// When the file cannot be read, a row is not what the format says, two rows have the same id, nothing is left, or
/// none of the first rows' audio files exists.
pub(crate) fn read(
    format: DataFormat,
    path: &Path,
    audio_root: &Path,
    filter: &RowFilter,
) -> Result<Vec<Arc<Question>>, ScenarioError> {
    let mut questions = Vec::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for row in Rows::open(path)? {
        if filter.limit.is_some_and(|limit| questions.len() >= limit) {
            break;
        }
        let row = row?;
        let line = row.line;
        let mut question = format.question(row).map_err(|error| error.in_row(path, line))?;
        if let Some(earlier) = lines.insert(question.id.clone(), line) {
            let problem = format!("id `{}` is also that of line {earlier}", question.id);
            return Err(ScenarioError::value(problem, "give each row an id of its own").in_row(path, line));
        }
        if is_left_out(&question, filter) {
            continue;
        }
        question.audio_path = audio_root.join(question.audio_path);
        questions.push(Arc::new(question));
    }
    check(path, &questions)?;
    Ok(questions)
}

/// Whether one of the filter's rules leaves the question out.
fn is_left_out(question: &Question, filter: &RowFilter) -> bool {
    let relation = question.metadata.get("question_relation").and_then(|value| value.as_str());
    let text = question.text.to_lowercase();
    filter.drop_view && relation.is_some_and(|relation| relation.eq_ignore_ascii_case("view"))
        || filter.drop_color && (text.contains("color") || text.contains("colour"))
}

/// Sees to it that there are questions and that the audio is where the paths say. A missing clip is the loader's
/// business; that all are missing means that the root is wrong.
fn check(path: &Path, questions: &[Arc<Question>]) -> Result<(), ScenarioError> {
    let fail = |problem, instead: &str| {
        Err(ScenarioError::File { path: path.into(), problem, instead: instead.to_owned() })
    };
    let Some(first) = questions.first() else {
        let problem = "no questions in it, or none that the filters let through".to_owned();
        return fail(problem, "change [data]");
    };
    if questions.iter().take(AUDIO_CHECKED).any(|question| question.audio_path.is_file()) {
        return Ok(());
    }
    let missing = first.audio_path.display();
    fail(
        format!("the audio is not where its rows say: there is no {missing}"),
        "set audio_root to the folder that the paths start from",
    )
}

#[cfg(test)]
mod tests;
