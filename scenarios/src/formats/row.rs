//! The rows of a data file, and one row's columns with messages that say what to write instead.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rewards::Difficulty;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::DataError;

/// The rows of a file: JSON objects, one a line (read one by one) or as one JSON array. Which of the two is seen from
/// the file itself, whatever its format's custom.
pub(super) struct Rows {
    path: PathBuf,
    line: usize,
    source: Source,
}

/// A row, or the line and what is wrong there.
type Parsed = Result<Row, (usize, String)>;

enum Source {
    Lines(std::io::Lines<BufReader<File>>),
    Array(VecDeque<Parsed>),
}

impl Rows {
    /// # Errors
    /// When the file cannot be read or is an array that is not JSON.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let unreadable =
            |source| DataError::Read { path: path.into(), source, advice: "write the path of a data file" };
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let first = loop {
            match reader.fill_buf().map_err(unreadable)?.first() {
                Some(byte) if byte.is_ascii_whitespace() => reader.consume(1),
                other => break other.copied(),
            }
        };
        let source = if first == Some(b'[') {
            // White space before the array is gone; put its lines back by reading the file anew.
            let mut text = String::new();
            File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map_err(unreadable)?;
            Source::Array(array(path, &text)?)
        } else {
            Source::Lines(BufReader::new(File::open(path).map_err(unreadable)?).lines())
        };
        Ok(Self { path: path.into(), line: 0, source })
    }
}

impl Iterator for Rows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let fail = |path: &Path, line, what| DataError::Row { path: path.into(), line, what };
        match &mut self.source {
            Source::Array(rows) => {
                let row = rows.pop_front()?;
                Some(row.map_err(|(line, what)| fail(&self.path, line, what)))
            }
            Source::Lines(lines) => loop {
                let text = lines.next()?;
                self.line += 1;
                let row = match text {
                    Ok(text) if text.trim().is_empty() => continue,
                    Ok(text) => {
                        Row::parse(&text, self.line).map_err(|(line, what)| fail(&self.path, line, what))
                    }
                    Err(error) => Err(fail(
                        &self.path,
                        self.line,
                        format!("cannot be read: {error}; write it in UTF-8"),
                    )),
                };
                return Some(row);
            },
        }
    }
}

/// The rows of an array, each with the line it starts on.
fn array(path: &Path, text: &str) -> Result<VecDeque<Parsed>, DataError> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| DataError::Row {
        path: path.into(),
        line: error.line(),
        what: format!("not JSON: {error}; write an array of objects, or one object a line"),
    })?;
    let (mut line, mut seen) = (1, 0);
    let rows = elements.into_iter().map(|element| {
        let start = element.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text.as_bytes()[seen..start].iter().filter(|&&byte| byte == b'\n').count();
        seen = start;
        Row::parse(element.get(), line)
    });
    Ok(rows.collect())
}

/// One row: its columns, taken out one by one; what is left is metadata.
pub(super) struct Row {
    /// The row's first line in the file, from 1.
    pub(super) line: usize,
    columns: Map<String, Value>,
}

impl Row {
    fn parse(text: &str, line: usize) -> Parsed {
        let value = serde_json::from_str(text).map_err(|error| {
            (
                line + error.line() - 1,
                format!("not a JSON object: {error}; write one object a line, or an array"),
            )
        })?;
        match value {
            Value::Object(columns) => Ok(Self { line, columns }),
            other => Err((line, format!("found {}; write an object such as {{\"id\": …}}", brief(&other)))),
        }
    }

    /// A column that must be there and is a text.
    pub(super) fn text(&mut self, key: &str) -> Result<String, String> {
        self.optional_text(key)?.ok_or_else(|| format!("`{key}` is missing or empty; write \"{key}\": \"…\""))
    }

    /// A column that may be missing, null or empty and is a text otherwise. Numbers count as their digits.
    pub(super) fn optional_text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.columns.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
            Some(other) => Err(format!("`{key}` is {}; write a text", brief(&other))),
        }
    }

    /// A column that is a list of texts. Numbers count as their digits.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, String> {
        let wrong = |value: &Value| {
            format!("`{key}` is {}; write a list of texts such as [\"dog\", \"cat\"]", brief(value))
        };
        let items = match self.columns.shift_remove(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong(&other)),
        };
        let text = |item: Value| match item {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(wrong(&other)),
        };
        items.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// The choices: a list of at least two texts.
    pub(super) fn choices(&mut self, key: &str) -> Result<Vec<String>, String> {
        let choices = self.texts(key)?.ok_or_else(|| format!("`{key}` is missing; write a list of texts"))?;
        if choices.len() < 2 {
            return Err(format!("`{key}` has {} entries; write at least two", choices.len()));
        }
        Ok(choices)
    }

    /// The answer as the text of a choice, spelt as the choice is; case and outer white space may differ.
    pub(super) fn answer(&mut self, key: &str, choices: &[String]) -> Result<String, String> {
        let answer = self.text(key)?;
        let plain = |text: &str| text.trim().to_lowercase();
        let exact = choices.iter().find(|choice| **choice == answer);
        exact.or_else(|| choices.iter().find(|choice| plain(choice) == plain(&answer))).cloned().ok_or_else(
            || format!("`{key}` is \"{answer}\"; write the text of one of the choices {choices:?}"),
        )
    }

    /// A column that is an index into a list of `count` entries.
    pub(super) fn index(&mut self, key: &str, count: usize) -> Result<usize, String> {
        let value = self.columns.shift_remove(key).unwrap_or(Value::Null);
        let index =
            value.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|&index| index < count);
        index.ok_or_else(|| {
            format!("`{key}` is {}; write the index of a choice, from 0 to {}", brief(&value), count - 1)
        })
    }

    /// The column `difficulty`, where it is there.
    pub(super) fn difficulty(&mut self) -> Result<Option<Difficulty>, String> {
        let Some(text) = self.optional_text("difficulty")? else {
            return Ok(None);
        };
        let parsed = serde_json::from_value(Value::String(text.to_lowercase()));
        parsed.map(Some).map_err(|_| format!("`difficulty` is \"{text}\"; write easy, medium or hard"))
    }

    /// What nobody took.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.columns
    }

    /// A look at a text column, which stays with the metadata.
    pub(super) fn peek(&self, key: &str) -> Option<&str> {
        self.columns.get(key).and_then(Value::as_str)
    }
}

/// A value in words short enough for an error message.
fn brief(value: &Value) -> String {
    match value {
        Value::Null => "missing".into(),
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        other => other.to_string(),
    }
}
