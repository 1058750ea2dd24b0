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

use crate::dataset::{DataError, DataFormat, RowFilter};
use row::Rows;

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
) -> Result<Vec<Arc<Question>>, DataError> {
    let question = match format {
        DataFormat::Avqa => avqa::question,
        DataFormat::Mmau => mmau::question,
        DataFormat::Mmar => mmar::question,
        DataFormat::AirBench => air_bench::question,
    };
    let mut questions = Vec::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for row in Rows::open(path)? {
        if filter.limit.is_some_and(|limit| questions.len() >= limit) {
            break;
        }
        let row = row?;
        let line = row.line;
        let fail = |what| DataError::Row { path: path.into(), line, what };
        let mut question: Question = question(row).map_err(fail)?;
        if let Some(earlier) = lines.insert(question.id.clone(), line) {
            let what = format!(
                "id `{}` is also that of line {earlier}; give each row an id of its own",
                question.id
            );
            return Err(fail(what));
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
fn check(path: &Path, questions: &[Arc<Question>]) -> Result<(), DataError> {
    let fail = |what| Err(DataError::File { path: path.into(), what });
    let Some(first) = questions.first() else {
        return fail("no questions in it, or none that the filters let through; change [data]".into());
    };
    if questions.iter().take(AUDIO_CHECKED).any(|question| question.audio_path.is_file()) {
        return Ok(());
    }
    fail(format!(
        "the audio is not where its rows say: there is no {}; set audio_root to the folder that the paths start from",
        first.audio_path.display()
    ))
}

#[cfg(test)]
mod tests;
