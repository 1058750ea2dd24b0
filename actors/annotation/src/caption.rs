//! Captions of clips: from a server that takes audio, from a file, or none.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use chat::Settings;
use serde_json::Value;

use crate::error::AnnotationError;

/// What a server is asked about a clip.
pub const CAPTION_PROMPT: &str = "Describe this audio clip in detail for somebody who can't hear it: every sound in its \
    order, what makes it, how loud and how long it is; what is said and in which voice and mood; which instruments play, in \
    which style and tempo. Write only what can be heard, in one paragraph.";

/// Where captions come from.
pub enum CaptionSource {
    /// A server that takes audio; clips are sent up to this length in seconds.
    Server {
        /// The server and its model.
        settings: Box<Settings>,
        /// Longest part of a clip that is sent.
        clip_seconds: f64,
    },
    /// A file of JSON lines with `id` and `caption`.
    File(PathBuf),
    /// None: the chain is written from the question alone.
    None,
}

/// Reads captions by the id of their row.
///
/// Errors: the file can't be read, or a line is no object with two texts.
pub fn read_captions(path: &Path) -> Result<HashMap<String, String>, AnnotationError> {
    let unreadable = |source| AnnotationError::Read { path: path.to_owned(), source };
    let reader = BufReader::new(std::fs::File::open(path).map_err(unreadable)?);
    let mut captions = HashMap::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        let row: Value = serde_json::from_str(&line).unwrap_or_default();
        let id = match &row["id"] {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        let (Some(id), Some(caption)) = (id, row["caption"].as_str()) else {
            let problem = "no caption; write one object per line, such as {\"id\": \"7\", \"caption\": \"A dog barks.\"}";
            return Err(AnnotationError::Line {
                path: path.to_owned(),
                line: number + 1,
                problem: problem.to_owned(),
            });
        };
        captions.insert(id, caption.trim().to_owned());
    }
    Ok(captions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_read_by_id_and_a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions.jsonl");
        std::fs::write(
            &path,
            "{\"id\": \"a\", \"caption\": \" A bark. \"}\n\n{\"id\": 7, \"caption\": \"A meow.\"}\n",
        )
        .unwrap();
        let captions = read_captions(&path).unwrap();
        assert_eq!((captions["a"].as_str(), captions["7"].as_str()), ("A bark.", "A meow."));
        std::fs::write(&path, "{\"id\": \"a\"}\n").unwrap();
        let error = read_captions(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:1: no caption; ", path.display())), "{error}");
    }
}
