//! AudioMCQ (arXiv 2509.21060). Columns: `source_dataset, id, question_type, audio_path, question, choices, answer` (the
//! text of a choice), and in the release for DCASE 2026 `gemini_cot`, a chain of thought.

use rewards::Question;

use super::row::Row;
use crate::rows::RowError;

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
    let choices = row.choices("choices")?;
    let (id, source) = (row.text("id")?, row.optional_text("source_dataset")?);
    let kind = row.optional_text("question_type")?;
    let question = Question {
        // The ids are those of the data sets that the rows come from.
        id: source.as_ref().map(|source| format!("{source}_{id}")).unwrap_or(id),
        text: row.question("question")?,
        answer: row.answer("answer", &choices)?,
        choices,
        audio_path: row.text("audio_path")?.into(),
        reasoning: row.optional_text("gemini_cot")?,
        kind,
        ..Question::default()
    };
    let mut metadata = row.rest();
    if let Some(source) = source {
        metadata.insert("source_dataset".into(), source.into());
    }
    Ok(Question { metadata, ..question })
}
