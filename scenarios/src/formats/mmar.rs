//! MMAR. Columns: `id, audio_path, question, choices, answer` (the text of a choice)`, modality,
//! category, sub-category, language, source, url, timestamp`. Newer rows also have `thinking` (a chain
//! of thought)`, cue, rubric`.

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
        audio_path: row.text("audio_path")?.into(),
        kind: row.peek("modality").map(str::to_owned),
        reasoning: row.optional_text("thinking")?,
        metadata: row.rest(),
        ..Question::default()
    })
}
