//! AVQA as R1-AQA publishes it. Columns: `id, video_name, video_id, question_text, multi_choice, answer` (index from
//! 0)`, question_relation, question_type, dataset_name, audio_path`. The soundscape world writes the same columns and
//! `difficulty, kind, steps`. A further column `reasoning` is a chain of thought for supervised fine-tuning.

use rewards::Question;

use super::row::Row;
use crate::rows::RowError;

pub(super) fn question(mut row: Row) -> Result<Question, RowError> {
    let choices = row.choices("multi_choice")?;
    let answer = row.indexed("answer", &choices)?;
    Ok(Question {
        id: row.text("id")?,
        // The questions were written for videos, of which only the audio is used.
        text: row.question("question_text")?.replace("video", "audio"),
        answer,
        choices,
        audio_path: row.text("audio_path")?.into(),
        difficulty: row.difficulty()?,
        kind: row.optional_text("kind")?,
        steps: row.texts("steps")?,
        reasoning: row.optional_text("reasoning")?,
        metadata: row.rest(),
        ..Question::default()
    })
}
