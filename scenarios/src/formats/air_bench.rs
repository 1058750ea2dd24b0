//! AIR-Bench, foundation part. Columns: `path, question, choice_a, choice_b, choice_c?, choice_d?, answer_gt` (the text
//! of a choice)`, task_name, dataset_name, uniq_id`. The audio file is `{task_name}_{dataset_name}/{path}`.

use std::path::Path;

use rewards::Question;

use super::row::{Row, no_choice_twice};
use crate::rows::RowError;

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
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
    let (task, dataset) = (row.text("task_name")?, row.text("dataset_name")?);
    let folder = format!("{task}_{dataset}");
    let id = row.text("uniq_id")?;
    let (text, answer, path) =
        (row.question("question")?, row.answer("answer_gt", &choices)?, row.text("path")?);
    let mut metadata = row.rest();
    metadata.insert("task_name".into(), task.clone().into());
    metadata.insert("dataset_name".into(), dataset.into());
    Ok(Question {
        // `uniq_id` is unique within a task only.
        id: format!("{folder}_{id}"),
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
