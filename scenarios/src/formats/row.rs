//! Reads the rows of a data file, and the columns of a row with messages about values that do not fit.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rewards::Difficulty;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::ScenarioError;

/// The rows of a file: JSON objects, either one per line, which are read one by one, or in one JSON array. The file's
/// first character decides which, so either layout works with every format.
pub(super) struct Rows {
    path: PathBuf,
    line: usize,
    source: Source,
}

enum Source {
    Lines(std::io::Lines<BufReader<File>>),
    Array(VecDeque<Result<Row, ScenarioError>>),
}

impl Rows {
    /// Opens a file and reads the rows of an array.
    ///
    /// Errors: the file cannot be read, or its array is not JSON.
    pub(super) fn open(path: &Path) -> Result<Self, ScenarioError> {
        let unreadable = |source| ScenarioError::Read {
            path: path.into(),
            source,
            instead: "write the path of a data file",
        };
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let first = loop {
            match reader.fill_buf().map_err(unreadable)?.first() {
                Some(byte) if byte.is_ascii_whitespace() => reader.consume(1),
                other => break other.copied(),
            }
        };
        let source = if first == Some(b'[') {
            // The white space before the array has been consumed. The file is read again, so that lines are counted right.
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
    type Item = Result<Row, ScenarioError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Array(rows) => rows.pop_front(),
            Source::Lines(lines) => loop {
                let text = lines.next()?;
                self.line += 1;
                let row = match text {
                    Ok(text) if text.trim().is_empty() => continue,
                    Ok(text) => Row::parse(&self.path, &text, self.line),
                    Err(error) => {
                        let problem = format!("cannot be read: {error}");
                        Err(ScenarioError::value(problem, "write it in UTF-8").in_row(&self.path, self.line))
                    }
                };
                return Some(row);
            },
        }
    }
}

/// The rows of an array, each with its first line.
fn array(path: &Path, text: &str) -> Result<VecDeque<Result<Row, ScenarioError>>, ScenarioError> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        let instead = "write an array of objects, or one object per line";
        ScenarioError::value(format!("not JSON: {error}"), instead).in_row(path, error.line())
    })?;
    let (mut line, mut seen) = (1, 0);
    let rows = elements.into_iter().map(|element| {
        let start = element.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text.as_bytes()[seen..start].iter().filter(|&&byte| byte == b'\n').count();
        seen = start;
        Row::parse(path, element.get(), line)
    });
    Ok(rows.collect())
}

/// A row of a data file. A reader takes out the columns that it uses; the rest is metadata.
pub(super) struct Row {
    /// First line of the row in the file, from 1.
    pub(super) line: usize,
    columns: Map<String, Value>,
}

impl Row {
    fn parse(path: &Path, text: &str, line: usize) -> Result<Self, ScenarioError> {
        let value = serde_json::from_str(text).map_err(|error| {
            let problem = format!("not a JSON object: {error}");
            ScenarioError::value(problem, "write one object per line, or an array")
                .in_row(path, line + error.line() - 1)
        })?;
        match value {
            Value::Object(columns) => Ok(Self { line, columns }),
            other => {
                let problem = format!("found {}", brief(&other));
                Err(ScenarioError::value(problem, r#"write an object such as {"id": …}"#).in_row(path, line))
            }
        }
    }

    /// Takes out a text column that must not be missing or empty.
    pub(super) fn text(&mut self, key: &str) -> Result<String, ScenarioError> {
        let instead = || format!("write \"{key}\": \"…\"");
        let missing = || ScenarioError::value(format!("`{key}` is missing or empty"), instead());
        self.optional_text(key)?.ok_or_else(missing)
    }

    /// Takes out a text column; `None` if it is missing, null or empty. A number is turned into text.
    pub(super) fn optional_text(&mut self, key: &str) -> Result<Option<String>, ScenarioError> {
        match self.columns.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
            Some(other) => Err(unfit(key, &other, "write a text")),
        }
    }

    /// Takes out a column with a list of texts; `None` if it is missing or null. Numbers are turned into text.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, ScenarioError> {
        let wrong = |value: &Value| unfit(key, value, r#"write a list of texts such as ["dog", "cat"]"#);
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

    /// Takes out the choices, a list of at least two texts.
    pub(super) fn choices(&mut self, key: &str) -> Result<Vec<String>, ScenarioError> {
        let missing = || unfit(key, &Value::Null, "write a list of texts");
        let choices = self.texts(key)?.ok_or_else(missing)?;
        if choices.len() < 2 {
            let problem = format!("`{key}` has {} entries", choices.len());
            return Err(ScenarioError::value(problem, "write at least two"));
        }
        Ok(choices)
    }

    /// Takes out the answer, which must be the text of a choice, and returns that choice. Case and outer
    /// white space may differ.
    pub(super) fn answer(&mut self, key: &str, choices: &[String]) -> Result<String, ScenarioError> {
        let answer = self.text(key)?;
        let plain = |text: &str| text.trim().to_lowercase();
        let exact = choices.iter().find(|choice| **choice == answer);
        exact.or_else(|| choices.iter().find(|choice| plain(choice) == plain(&answer))).cloned().ok_or_else(
            || {
                let instead = format!("write the text of one of the choices {choices:?}");
                ScenarioError::value(format!("`{key}` is \"{answer}\""), instead)
            },
        )
    }

    /// Takes out a column that is an index into a list of `count` entries.
    pub(super) fn index(&mut self, key: &str, count: usize) -> Result<usize, ScenarioError> {
        let value = self.columns.shift_remove(key).unwrap_or(Value::Null);
        let index =
            value.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|&index| index < count);
        index.ok_or_else(|| {
            unfit(key, &value, format!("write the index of a choice, from 0 to {}", count - 1))
        })
    }

    /// Takes out the column `difficulty`; `None` if it is missing.
    pub(super) fn difficulty(&mut self) -> Result<Option<Difficulty>, ScenarioError> {
        let Some(text) = self.optional_text("difficulty")? else {
            return Ok(None);
        };
        let parsed = serde_json::from_value(Value::String(text.to_lowercase()));
        parsed.map(Some).map_err(|_| {
            ScenarioError::value(format!("`difficulty` is \"{text}\""), "write easy, medium or hard")
        })
    }

    /// The columns that were not taken out.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.columns
    }

    /// A text column, which is not taken out.
    pub(super) fn peek(&self, key: &str) -> Option<&str> {
        self.columns.get(key).and_then(Value::as_str)
    }
}

/// The error for a column with a value that does not fit.
fn unfit(key: &str, value: &Value, instead: impl Into<String>) -> ScenarioError {
    ScenarioError::value(format!("`{key}` is {}", brief(value)), instead)
}

/// A short description of a value for a message.
fn brief(value: &Value) -> String {
    match value {
        Value::Null => "missing".into(),
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        other => other.to_string(),
    }
}
