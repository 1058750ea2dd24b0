//! JSON files that carry their own checksum, so that a change of any byte of them is found.
//!
//! The last field, `checksum`, is the SHA-256 of the file without it. A file must also be spelt exactly as it is written here:
//! otherwise a changed space between two fields would pass.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::checksum::FileSum;

const FIELD: &str = "checksum";

/// The text of a file that holds `content`, an object, and its checksum.
pub fn seal<T: Serialize>(content: &T) -> String {
    let mut fields = match serde_json::to_value(content).expect("text keys and numbers") {
        Value::Object(fields) => fields,
        other => unreachable!("only objects are sealed, not {other}"),
    };
    let sum = FileSum::of(text(&fields).as_bytes());
    fields.insert(FIELD.to_owned(), Value::String(sum.sha256));
    text(&fields)
}

/// Whether a text is what [`seal`] wrote; `None` if it is an object without a checksum, as older versions wrote.
pub fn is_whole(file: &[u8]) -> Option<bool> {
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(file) else { return Some(false) };
    let Some(found) = fields.shift_remove(FIELD) else {
        // A damaged name of the field must not pass as an older version: those did not end with a hash.
        let hash = |value: &Value| value.as_str().is_some_and(|text| text.len() == 64);
        return if fields.values().next_back().is_some_and(hash) { Some(false) } else { None };
    };
    let sum = FileSum::of(text(&fields).as_bytes());
    fields.insert(FIELD.to_owned(), found);
    Some(fields[FIELD] == sum.sha256.as_str() && text(&fields).as_bytes() == file)
}

fn text(fields: &Map<String, Value>) -> String {
    let mut text = serde_json::to_string_pretty(fields).expect("text keys and numbers");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_byte_is_found() {
        let sealed =
            seal(&serde_json::json!({ "step": 12, "loss": 0.25, "files": { "a": [1, 2], "b": null } }));
        assert_eq!(is_whole(sealed.as_bytes()), Some(true), "{sealed}");
        for place in 0..sealed.len() {
            for change in [0x01, 0x20, 0x80] {
                let mut damaged = sealed.clone().into_bytes();
                damaged[place] ^= change;
                assert_eq!(is_whole(&damaged), Some(false), "byte {place} ^ {change:#x}");
            }
        }
    }

    #[test]
    fn a_file_of_an_older_version_has_no_checksum() {
        assert_eq!(is_whole(br#"{ "step": 12 }"#), None);
    }
}
