//! MMSU. Columns: `id, audio_path, question, choice_a, choice_b, choice_c?, choice_d?, answer_gt` (the text of a
//! choice)`, task_name, category` (`Perception` or `Reasoning`)`, sub-category, sub-sub-category,
//! linguistics_sub_discipline`.

use rewards::Question;

use super::air_bench::lettered_choices;
use super::row::Row;
use crate::rows::RowError;

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
    let (choices, letters) = lettered_choices(&mut row)?;
    Ok(Question {
        id: row.text("id")?,
        text: row.question("question")?,
        answer: row.answer("answer_gt", &choices)?,
        choices,
        letters,
        audio_path: row.text("audio_path")?.into(),
        kind: row.peek("task_name").map(str::to_owned),
        metadata: row.rest(),
        ..Question::default()
    })
}
