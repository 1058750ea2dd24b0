//! MMAU. Columns: `id, audio_id` (a path)`, question, choices, answer` (the text of a choice)`, dataset, task,
//! split, category, sub-category, difficulty`.

use rewards::Question;

use super::row::Row;
use crate::rows::RowError;

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
    let choices = row.choices("choices")?;
    Ok(Question {
        id: row.text("id")?,
        text: row.question("question")?,
        answer: row.answer("answer", &choices)?,
        choices,
        audio_path: row.text("audio_id")?.into(),
        difficulty: row.difficulty()?,
        kind: row.peek("task").map(str::to_owned),
        metadata: row.rest(),
        ..Question::default()
    })
}
