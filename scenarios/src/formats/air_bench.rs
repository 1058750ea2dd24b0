//! AIR-Bench, foundation part. Columns: `path, question, choice_a, choice_b, choice_c?, choice_d?, answer_gt` (the text
//! of a choice)`, task_name, dataset_name, uniq_id`. The audio file is `{task_name}_{dataset_name}/{path}`.

use std::path::{Path, PathBuf};

use rewards::Question;

use super::row::{Row, no_choice_twice};
use crate::rows::RowError;

/// The task whose clips are FLAC in the published archive although the file says `.wav`.
const FLAC_TASK: &str = "Audio_Grounding";

/// Takes out the choices of a row with a key for each, and their letters if the row skips one.
pub(super) fn lettered_choices(row: &mut Row) -> Result<(Vec<String>, String), RowError> {
    let mut choices = vec![row.text("choice_a")?, row.text("choice_b")?];
    let mut letters = "AB".to_owned();
    for (letter, key) in [('C', "choice_c"), ('D', "choice_d")] {
        if let Some(choice) = row.optional_text(key)? {
            choices.push(choice);
            letters.push(letter);
        }
    }
    // Letters without a gap need not be stated.
    if "ABCD".starts_with(&letters) {
        letters.clear();
    }
    no_choice_twice(&choices)?;
    Ok((choices, letters))
}

/// The clip of a question: `path`, or the FLAC file beside it if there is no such file.
pub(super) fn clip(question: &Question, path: PathBuf) -> PathBuf {
    let flac = path.with_extension("flac");
    let grounding = question.kind.as_deref() == Some(FLAC_TASK);
    if grounding && !path.exists() && flac.is_file() { flac } else { path }
}

/// The id of a row, of which `uniq_id` is unique within a task only.
pub(super) fn id(task: &str, dataset: &str, uniq_id: &str) -> String {
    format!("{task}_{dataset}_{uniq_id}")
}

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
    let (choices, letters) = lettered_choices(&mut row)?;
    let (task, dataset) = (row.text("task_name")?, row.text("dataset_name")?);
    let folder = format!("{task}_{dataset}");
    let id = id(&task, &dataset, &row.text("uniq_id")?);
    let (text, answer, path) =
        (row.question("question")?, row.answer("answer_gt", &choices)?, row.text("path")?);
    let mut metadata = row.rest();
    metadata.insert("task_name".into(), task.clone().into());
    metadata.insert("dataset_name".into(), dataset.into());
    Ok(Question {
        id,
        text,
        answer,
        choices,
        letters,
        audio_path: Path::new(&folder).join(path),
        kind: Some(task),
        metadata,
        ..Question::default()
    })
}
