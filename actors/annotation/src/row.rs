//! The rows that are written: AVQA's columns, what the original row had besides, and how the chain was made.

use std::path::Path;

use rewards::Question;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// How a chain was made; the column `annotation` of its row.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// The model that wrote the chain.
    pub model: String,
    /// The address of its server.
    pub server: String,
    /// The model that wrote the caption; `None` if it came from elsewhere.
    pub caption_model: Option<String>,
    /// The first 16 digits of the SHA-256 of the prompts with which both were asked for.
    pub prompt: String,
    /// When the chain was written, as in the journal of a run.
    pub date: String,
    /// The attempt that was kept, from 1.
    pub attempt: u64,
}

/// A row in AVQA's format with the column `reasoning`; `None` if the answer is none of the choices. Paths are absolute, so
/// that the file can lie anywhere.
pub fn row(
    question: &Question,
    caption: Option<&str>,
    reasoning: &str,
    provenance: &Provenance,
) -> Option<Map<String, Value>> {
    let answer = question.choices.iter().position(|choice| *choice == question.answer)?;
    let path = std::path::absolute(&question.audio_path).unwrap_or_else(|_| question.audio_path.clone());
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    put("id", json!(question.id));
    put("question_text", json!(question.text));
    put("multi_choice", json!(question.choices));
    put("answer", json!(answer));
    put("audio_path", json!(text(&path)));
    let optional = [
        ("start", question.start.map(|start| json!(start))),
        ("end", question.end.map(|end| json!(end))),
        ("difficulty", question.difficulty.map(|difficulty| json!(difficulty))),
        ("kind", question.kind.as_ref().map(|kind| json!(kind))),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            put(key, value);
        }
    }
    // The steps of a soundscape would be trained on in the place of the chain.
    for (key, value) in &question.metadata {
        if !row.contains_key(key) {
            row.insert(key.clone(), value.clone());
        }
    }
    if let Some(caption) = caption {
        row.insert("caption".to_owned(), json!(caption));
    }
    row.insert("reasoning".to_owned(), json!(reasoning));
    row.insert("annotation".to_owned(), json!(provenance));
    Some(row)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
