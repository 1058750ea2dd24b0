//! A file of one's own: the scenario says which column is what, or the usual names do.
//!
//! What the answers are, texts, indices or letters, is decided once for the file, from its first rows: a single row cannot
//! tell whether `2` is a choice's text or its index.

mod answers;
mod cells;
mod columns;

use std::path::PathBuf;

use rewards::Question;
use serde_json::{Map, Value};

use super::container::Rows;
use super::row::{NoRow, Row, no_choice_twice, unfit};
use crate::error::ScenarioError;
use crate::rows::{RowCause, RowError};
use crate::source::FileSource;
use answers::Answers;
use columns::Roles;

/// Number of first rows from which columns and answers are told.
const ROWS_LOOKED_AT: usize = 10_000;

/// How the rows of a source become questions.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) roles: Roles,
    separator: Option<String>,
    answers: Answers,
}

impl Table {
    /// Finds out what the columns and the answers of a source are.
    ///
    /// Errors: a file cannot be read, a column is missing or may be either of two, or the answers can be read in two ways.
    pub(super) fn of(source: &FileSource, files: &[PathBuf]) -> Result<Self, ScenarioError> {
        let first = files.first().map_or(source.path.as_path(), PathBuf::as_path);
        let rows = first_rows(files)?;
        let names = column_names(&rows);
        if names.is_empty() {
            // Without rows, what is wrong with the file is told by its rows that cannot be used.
            return Ok(Self::default());
        }
        let fail = |(problem, instead): (String, String)| ScenarioError::File {
            path: first.into(),
            problem,
            instead,
        };
        let answer_type = source.answer_type.unwrap_or_default();
        let roles = Roles::of(&source.columns, &names, answer_type).map_err(fail)?;
        let separator = source.choice_separator.clone();
        if let Some(error) = unseparated(&roles, separator.as_deref(), &rows) {
            return Err(fail(error));
        }
        let choices = |row: &Map<String, Value>| {
            let mut row = Row::new(0, row.clone());
            let choices = roles.choices(&mut row, separator.as_deref()).ok()?.0;
            Some((choices, row.value(&roles.answer)?))
        };
        let answers = Answers::of(source, &roles.answer, rows.iter().filter_map(choices)).map_err(fail)?;
        Ok(Self { roles, separator, answers })
    }

    /// Turns a row into a question. Its clip is a text by now.
    pub(super) fn question(&self, mut row: Row) -> Result<Question, RowError> {
        let roles = &self.roles;
        let (choices, letters) = roles.choices(&mut row, self.separator.as_deref())?;
        no_choice_twice(&choices)?;
        let value = row
            .value(&roles.answer)
            .ok_or_else(|| unfit(&roles.answer, &Value::Null, "write the right answer"))?;
        let (answer, other_answers) = self.answers.read(&roles.answer, value, &choices)?;
        let line = row.line;
        let optional = |row: &mut Row, key: &Option<String>| match key {
            Some(key) => row.optional_text(key),
            None => Ok(None),
        };
        let id = optional(&mut row, &roles.id)?;
        if let (None, Some(key)) = (&id, &roles.id) {
            return Err(unfit(key, &Value::Null, "write an id of its own in each row"));
        }
        let kind = optional(&mut row, &roles.kind)?;
        let reasoning = optional(&mut row, &roles.reasoning)?;
        if let Some(key) = roles.difficulty.as_deref().filter(|&key| key != "difficulty")
            && let Some(value) = row.value(key)
        {
            row.set("difficulty", value);
        }
        let difficulty = if roles.difficulty.is_some() { row.difficulty()? } else { None };
        Ok(Question {
            id: id.unwrap_or_else(|| line.to_string()),
            text: row.question(&roles.question)?,
            answer,
            other_answers,
            choices,
            letters,
            tolerance: self.answers.tolerance(),
            audio_path: row.text(&roles.audio)?.into(),
            difficulty,
            kind,
            reasoning,
            metadata: row.rest(),
            ..Question::default()
        })
    }
}

fn first_rows(files: &[PathBuf]) -> Result<Vec<Map<String, Value>>, ScenarioError> {
    let mut found = Vec::new();
    for file in files {
        for row in Rows::open(file)? {
            if found.len() >= ROWS_LOOKED_AT {
                return Ok(found);
            }
            match row {
                Ok(row) => found.push(row.rest()),
                Err(NoRow::Problem(_)) => {}
                Err(NoRow::File(error)) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// The names of the columns, in the order of the file.
fn column_names(rows: &[Map<String, Value>]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let keys = rows.iter().flat_map(|row| row.keys());
    keys.filter(|key| seen.insert(key.as_str())).cloned().collect()
}

/// What to set if the choices are in one text and no row says how they are separated.
fn unseparated(
    roles: &Roles,
    separator: Option<&str>,
    rows: &[Map<String, Value>],
) -> Option<(String, String)> {
    let (Some(column), None) = (roles.choice_column(), separator) else { return None };
    let texts = rows.iter().filter_map(|row| row.get(column)).filter_map(Value::as_str);
    let text = texts.map(str::trim).find(|text| !text.is_empty() && cells::list(text).is_none())?;
    let sign = ["|", ";", "\n", ","].into_iter().find(|sign| text.contains(sign)).unwrap_or("|");
    let problem = format!("`{column}` is the text \"{text}\", and no list of choices");
    let instead = format!("set choice_separator = {sign:?}, or write [\"…\", \"…\"] in the cells");
    Some((problem, instead))
}

/// The error for choices of which there are fewer than two.
fn too_few(key: &str, count: usize) -> RowError {
    let problem = format!("`{key}` has {count} entries");
    RowError::new(RowCause::TooFewChoices, problem, "write at least two, or set answer_type = \"text\"")
}
