//! Reads the columns of a row, with messages about values that do not fit.

use std::collections::HashSet;
use std::path::Path;

use rewards::Difficulty;
use serde_json::{Map, Value};

use super::repair;
use crate::error::ScenarioError;
use crate::rows::{RowCause, RowError, RowProblem};

/// What the file has in place of a row.
pub(super) enum NoRow {
    /// A row that cannot be used; the next one may be.
    Problem(RowProblem),
    /// The file cannot be read any further.
    File(ScenarioError),
}

pub(super) fn not_utf8() -> RowError {
    RowError::new(RowCause::NotUtf8, "bytes that are not UTF-8", "write it in UTF-8")
}

/// A row of a data file. A reader takes out the columns that it uses; the rest is metadata.
pub(super) struct Row {
    /// First line of the row in the file, from 1.
    pub(super) line: usize,
    columns: Map<String, Value>,
}

impl Row {
    pub(super) fn new(line: usize, columns: Map<String, Value>) -> Self {
        Self { line, columns }
    }

    pub(super) fn parse(path: &Path, text: &str, line: usize) -> Result<Self, RowProblem> {
        let wrong = |problem: String, instead: &str| RowError::new(RowCause::NotJson, problem, instead);
        let value = repair::parse(text).map_err(|error| {
            let (problem, instead) = repair::advice(text, &error);
            wrong(problem, instead).in_row(path, line + error.line().max(1) - 1, None)
        })?;
        match value {
            Value::Object(columns) => Ok(Self { line, columns }),
            other => {
                let error = wrong(format!("found {}", brief(&other)), r#"write an object such as {"id": …}"#);
                Err(error.in_row(path, line, None))
            }
        }
    }

    /// The row's id as the file has it, for messages.
    pub(super) fn id(&self) -> Option<String> {
        let id = ["id", "uniq_id"].iter().find_map(|key| self.columns.get(*key))?;
        match id {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Takes out the question, which must have words.
    pub(super) fn question(&mut self, key: &str) -> Result<String, RowError> {
        let text = self.optional_text(key)?.filter(|text| text.chars().any(char::is_alphanumeric));
        let empty = || format!("`{key}` is missing or empty");
        text.ok_or_else(|| RowError::new(RowCause::EmptyQuestion, empty(), format!("write \"{key}\": \"…\"")))
    }

    /// Takes out a text column that must not be missing or empty.
    pub(super) fn text(&mut self, key: &str) -> Result<String, RowError> {
        let instead = || format!("write \"{key}\": \"…\"");
        let missing =
            || RowError::new(RowCause::BadColumn, format!("`{key}` is missing or empty"), instead());
        self.optional_text(key)?.ok_or_else(missing)
    }

    /// Takes out a text column; `None` if it is missing, null or empty. A number is turned into text.
    pub(super) fn optional_text(&mut self, key: &str) -> Result<Option<String>, RowError> {
        match self.columns.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
            Some(other) => Err(unfit(key, &other, "write a text")),
        }
    }

    /// Takes out a column as it is; `None` if it is missing or null.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.columns.shift_remove(key).filter(|value| !value.is_null())
    }

    /// Writes a column, from which a reader then takes it.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        self.columns.insert(key.to_owned(), value);
    }

    /// Takes out a column with a list of texts; `None` if it is missing or null. Numbers are turned into text.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, RowError> {
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
    pub(super) fn choices(&mut self, key: &str) -> Result<Vec<String>, RowError> {
        let missing = || unfit(key, &Value::Null, "write a list of texts");
        let choices = self.texts(key)?.ok_or_else(missing)?;
        if choices.len() < 2 {
            let problem = format!("`{key}` has {} entries", choices.len());
            return Err(RowError::new(RowCause::TooFewChoices, problem, "write at least two"));
        }
        no_choice_twice(&choices)?;
        Ok(choices)
    }

    /// Takes out the answer, which must be the text of a choice, and returns that choice. Case and outer
    /// white space may differ.
    pub(super) fn answer(&mut self, key: &str, choices: &[String]) -> Result<String, RowError> {
        let answer = self.text(key)?;
        let exact = choices.iter().find(|choice| **choice == answer);
        exact.or_else(|| choices.iter().find(|choice| plain(choice) == plain(&answer))).cloned().ok_or_else(
            || {
                let instead = format!("write the text of one of the choices {choices:?}");
                RowError::new(RowCause::AnswerNotAChoice, format!("`{key}` is \"{answer}\""), instead)
            },
        )
    }

    /// Takes out the index of the right choice, and returns that choice.
    pub(super) fn indexed(&mut self, key: &str, choices: &[String]) -> Result<String, RowError> {
        let value = self.columns.shift_remove(key).unwrap_or(Value::Null);
        let index = value.as_u64().and_then(|index| usize::try_from(index).ok());
        let choice = index.and_then(|index| choices.get(index)).filter(|choice| !choice.trim().is_empty());
        choice.cloned().ok_or_else(|| {
            let instead = format!("write the index of a choice, from 0 to {}", choices.len() - 1);
            RowError { cause: RowCause::AnswerNotAChoice, ..unfit(key, &value, instead) }
        })
    }

    /// Takes out the column `difficulty`; `None` if it is missing.
    pub(super) fn difficulty(&mut self) -> Result<Option<Difficulty>, RowError> {
        let Some(text) = self.optional_text("difficulty")? else {
            return Ok(None);
        };
        let parsed = serde_json::from_value(Value::String(text.to_lowercase()));
        parsed.map(Some).map_err(|_| {
            let problem = format!("`difficulty` is \"{text}\"");
            RowError::new(RowCause::BadColumn, problem, "write easy, medium or hard")
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
pub(super) fn unfit(key: &str, value: &Value, instead: impl Into<String>) -> RowError {
    RowError::new(RowCause::BadColumn, format!("`{key}` is {}", brief(value)), instead)
}

/// A text as choices and answers are compared.
fn plain(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Refuses choices of which two have the same text: nobody could tell which of them is right.
pub(super) fn no_choice_twice(choices: &[String]) -> Result<(), RowError> {
    let mut seen = HashSet::new();
    let repeated = choices.iter().find(|choice| !choice.trim().is_empty() && !seen.insert(plain(choice)));
    let Some(choice) = repeated else { return Ok(()) };
    let problem = format!("the choice \"{choice}\" is listed twice");
    Err(RowError::new(RowCause::RepeatedChoices, problem, "list each choice once"))
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
