//! Lists in the cells of a table: JSON, what Python or numpy print, or texts with a sign between them.

use serde_json::Value;

use crate::formats::row::unfit;
use crate::rows::RowError;

const WRITE_A_LIST: &str = "write a list of texts such as [\"dog\", \"cat\"]";

/// The choices of a cell.
///
/// Errors: it has no list, and no `separator` was given.
pub(super) fn choices(key: &str, value: Value, separator: Option<&str>) -> Result<Vec<String>, RowError> {
    let value = match value {
        Value::String(cell) => match (list(&cell), separator) {
            (Some(list), _) => Value::Array(list),
            (None, Some(separator)) => {
                return Ok(cell.split(separator).map(|choice| choice.trim().to_owned()).collect());
            }
            (None, None) => return Err(unfit(key, &Value::String(cell), WRITE_A_LIST)),
        },
        // `{"A": "dog", "B": "cat"}`, whose letters are those of the places.
        Value::Object(mut fields)
            if fields.keys().zip('A'..).all(|(key, letter)| *key == letter.to_string()) =>
        {
            Value::Array(fields.iter_mut().map(|(_, value)| value.take()).collect())
        }
        other => other,
    };
    let Value::Array(items) = value else { return Err(unfit(key, &value, WRITE_A_LIST)) };
    let text = |item: Value| match item {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(unfit(key, &other, WRITE_A_LIST)),
    };
    items.into_iter().map(text).collect()
}

/// The list in a cell, in JSON or as Python prints it: `['dog', "it's"]`, or of numpy `['dog' 'cat']`.
pub(super) fn list(cell: &str) -> Option<Vec<Value>> {
    let cell = cell.trim();
    if !(cell.starts_with('[') && cell.ends_with(']') || cell.starts_with('(') && cell.ends_with(')')) {
        return None;
    }
    serde_json::from_str(cell).ok().or_else(|| python_list(&cell[1..cell.len() - 1]))
}

/// The entries of a list that Python printed, between its brackets.
fn python_list(mut rest: &str) -> Option<Vec<Value>> {
    let mut items = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\n', '\r', '\t']);
        let Some(first) = rest.chars().next() else { return Some(items) };
        if matches!(first, '\'' | '"') {
            let (text, length) = python_text(rest, first)?;
            items.push(Value::String(text));
            rest = &rest[length..];
            if !(rest.is_empty() || rest.starts_with([' ', ',', '\n', '\r', '\t'])) {
                return None;
            }
        } else {
            let (item, after) = rest.split_at(rest.find([',', ' ', '\n']).unwrap_or(rest.len()));
            items.push(Value::Number(serde_json::from_str(item).ok()?));
            rest = after;
        }
    }
}

/// The text in quotes that `rest` begins with, and its length with its quotes.
fn python_text(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                kind @ ('x' | 'u') => {
                    let digits: String =
                        chars.by_ref().take(if kind == 'x' { 2 } else { 4 }).map(|(_, c)| c).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                other => other,
            }),
            c if c == quote => return Some((text, at + 1)),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_read_as_json_and_as_python_and_numpy_print_them() {
        for (cell, expected) in [
            (r#"["dog", "cat"]"#, json!(["dog", "cat"])),
            (r#"['dog', "it's", 'a \'b\'']"#, json!(["dog", "it's", "a 'b'"])),
            ("('dog', 'cat',)", json!(["dog", "cat"])),
            ("['dog' 'cat'\n 'cow']", json!(["dog", "cat", "cow"])),
            ("[1, 2.5]", json!([1, 2.5])),
            (r"['caf\xe9', 'M\u00f6we']", json!(["café", "Möwe"])),
            ("[]", json!([])),
        ] {
            assert_eq!(list(cell).map(Value::Array), Some(expected), "{cell}");
        }
        for cell in ["dog|cat", "[dog, cat]", "['dog'cat']", "['dog", "", "["] {
            assert_eq!(list(cell), None, "{cell}");
        }
    }

    #[test]
    fn choices_may_have_a_sign_between_them_or_letters() {
        let read = |value, separator| choices("options", value, separator).map_err(|error| error.problem);
        let expected = Ok(vec!["dog".to_owned(), "cat".to_owned()]);
        assert_eq!(read(json!("dog | cat"), Some("|")), expected);
        assert_eq!(read(json!("['dog', 'cat']"), Some("|")), expected);
        assert_eq!(read(json!({"A": "dog", "B": "cat"}), None), expected);
        assert_eq!(read(json!("dog|cat"), None), Err("`options` is \"dog|cat\"".to_owned()));
        assert_eq!(read(json!(["dog", null]), None), Err("`options` is missing".to_owned()));
    }
}
