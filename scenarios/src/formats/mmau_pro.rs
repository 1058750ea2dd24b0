//! MMAU-Pro. Columns: `id, audio_path` (a list of paths)`, question, choices, answer` (the text of a choice)`, category,
//! sub-cat, length_type, perceptual_skills, reasoning_skills, task_identifier, kwargs, transcription`.
//!
//! Only questions with choices about one clip are read. The benchmark grades free answers (`open`) by a language model, and
//! `instruction following` by the form of the answer, neither of which is a right choice.

use rewards::Question;
use serde_json::Value;

use super::row::Row;
use crate::rows::{RowCause, RowError};

/// Categories of which the questions have no choices.
const WITHOUT_CHOICES: [&str; 2] = ["open", "instruction following"];

/// Makes the list with the path of a clip a text.
pub(super) fn one_clip(row: &mut Row) -> Result<(), RowError> {
    match row.value("audio_path") {
        Some(Value::Array(mut paths)) if paths.len() == 1 => {
            row.set("audio_path", paths.remove(0));
            Ok(())
        }
        Some(Value::Array(paths)) => {
            let problem = format!("`audio_path` names {} clips", paths.len());
            Err(RowError::new(RowCause::BadColumn, problem, "leave out rows that are not about one clip"))
        }
        Some(other) => {
            row.set("audio_path", other);
            Ok(())
        }
        None => Ok(()),
    }
}

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
    let category = row.peek("category").map(str::to_owned);
    if let Some(category) = category.as_deref().filter(|category| WITHOUT_CHOICES.contains(category)) {
        let problem = format!("`category` is \"{category}\", and such rows have no choices");
        return Err(RowError::new(RowCause::TooFewChoices, problem, "leave them out"));
    }
    let choices = row.choices("choices")?;
    Ok(Question {
        id: row.text("id")?,
        text: row.question("question")?,
        answer: row.answer("answer", &choices)?,
        choices,
        audio_path: row.text("audio_path")?.into(),
        kind: category,
        metadata: row.rest(),
        ..Question::default()
    })
}
