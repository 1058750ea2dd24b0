//! MMAU. Columns: `id, audio_id` (a path)`, question, choices, answer` (the text of a choice)`, dataset, task,
//! split, category, sub-category, difficulty`. The rows of the split `test` are published without their answers.

use rewards::Question;

use super::row::Row;
use crate::rows::{RowCause, RowError};

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
    let choices = row.choices("choices")?;
    match row.optional_text("answer")? {
        Some(answer) => row.set("answer", answer.into()),
        None if row.peek("split") == Some("test") => {
            let problem = "`answer` is withheld, as in all rows of MMAU's split `test`";
            let instead = "use `mmau-test-mini.json`, which has answers";
            return Err(RowError::new(RowCause::AnswerNotAChoice, problem, instead));
        }
        None => {}
    }
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
