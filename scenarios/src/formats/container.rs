//! The rows of a data file, whatever it is: JSON objects, one per line or in an array, CSV, TSV or Parquet. The content
//! decides, not the extension, so every container works with every format.

use std::io::BufRead;
use std::ops::Range;
use std::path::{Path, PathBuf};

use audio::ParquetTable;
use serde_json::Value;
use serde_json::value::RawValue;

use super::bytes::{self, Text, unreadable};
use super::delimited::{Delimited, extension, separator};
use super::repair;
use super::row::{NoRow, Row, not_utf8};
use crate::error::ScenarioError;
use crate::rows::RowProblem;

/// The rows of a file. Lines are read one by one.
pub(super) struct Rows {
    path: PathBuf,
    line: usize,
    source: Source,
}

enum Source {
    Lines(Text),
    Array(Array),
    Delimited(Box<Delimited>),
    Parquet(Box<ParquetTable>),
}

impl Rows {
    /// Opens a file and reads the beginning of its content, or all of an array.
    ///
    /// Errors: the file cannot be read, or its array is not JSON.
    pub(super) fn open(path: &Path) -> Result<Self, ScenarioError> {
        let rows = |source| Ok(Self { path: path.into(), line: 0, source });
        if bytes::is_parquet(path)? {
            // Cells are named by the path, to which no folder may be added.
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
            let table = ParquetTable::open(&absolute).map_err(|error| ScenarioError::File {
                path: path.into(),
                problem: error.problem.to_string(),
                instead: "write the path of a file that can be read".into(),
            })?;
            return rows(Source::Parquet(Box::new(table)));
        }
        let mut text = bytes::open(path)?;
        let start = text.fill_buf().map_err(unreadable(path))?;
        let line = start.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty());
        let line = line.unwrap_or_default().trim_ascii();
        match line.first() {
            Some(b'[') => rows(Source::Array(Array::read(path, text)?)),
            Some(b'{') if is_open_object(line) => match Array::read_object(path)? {
                Some(array) => rows(Source::Array(array)),
                None => rows(Source::Lines(text)),
            },
            Some(b'{') => rows(Source::Lines(text)),
            _ if is_table(line, path) => rows(Source::Delimited(Box::new(Delimited::open(path, text)?))),
            _ => rows(Source::Lines(text)),
        }
    }

    /// The number of rows that were not read yet; lines are counted without being parsed.
    pub(super) fn count_rest(mut self) -> usize {
        match &mut self.source {
            Source::Array(array) => array.elements.len(),
            Source::Lines(reader) => {
                let (mut lines, mut line) = (0, Vec::new());
                while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    lines += usize::from(!line.trim_ascii().is_empty());
                    line.clear();
                }
                lines
            }
            Source::Delimited(_) | Source::Parquet(_) => self.count(),
        }
    }
}

/// Whether a line begins an object that is not one row: it is not closed on the line, or it holds a list of objects.
fn is_open_object(line: &[u8]) -> bool {
    match repair::parse(&String::from_utf8_lossy(line)) {
        Ok(Value::Object(fields)) => {
            let is_rows =
                |value: &Value| value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
            fields.len() <= 4
                && fields.values().filter(|value| is_rows(value)).count() == 1
                && !fields.contains_key("messages")
                && !fields.contains_key("conversations")
        }
        Ok(_) => false,
        Err(error) => error.is_eof(),
    }
}

fn is_table(line: &[u8], path: &Path) -> bool {
    matches!(extension(path).as_str(), "csv" | "tsv" | "tab" | "txt") && separator(line, path).is_some()
}

impl Iterator for Rows {
    type Item = Result<Row, NoRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let Rows { path, line, source } = self;
        match source {
            Source::Array(array) => array.next(path).map(|row| row.map_err(NoRow::Problem)),
            Source::Delimited(rows) => rows.next(),
            Source::Parquet(table) => {
                *line += 1;
                Some(table.next()?.map(|columns| Row::new(*line, columns)).map_err(|error| {
                    NoRow::File(ScenarioError::File {
                        path: path.clone(),
                        problem: format!("row {}: {}", *line, error.problem),
                        instead: "or leave the file out".into(),
                    })
                }))
            }
            Source::Lines(reader) => loop {
                let mut bytes = Vec::new();
                match reader.read_until(b'\n', &mut bytes) {
                    Ok(0) => return None,
                    Ok(_) => *line += 1,
                    Err(error) => return Some(Err(NoRow::File(unreadable(path)(error)))),
                }
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let row = match std::str::from_utf8(&bytes) {
                    Ok(text) => Row::parse(path, text.trim_end_matches(['\r', '\n']), *line),
                    Err(_) => Err(not_utf8().in_row(path, *line, None)),
                };
                return Some(row.map_err(NoRow::Problem));
            },
        }
    }
}

/// The elements of an array, which are parsed one by one.
struct Array {
    text: String,
    /// Where in `text` the elements are, the next one last.
    elements: Vec<Range<usize>>,
    /// Where bytes that are not UTF-8 were.
    replaced: Vec<usize>,
    line: usize,
    seen: usize,
}

impl Array {
    fn read(path: &Path, text: Text) -> Result<Self, ScenarioError> {
        let (text, replaced) = read_text(path, text)?;
        let parse = |text: String| match elements(&text) {
            Ok(elements) => Ok((text, elements)),
            Err(error) => Err((text, error)),
        };
        let parsed = parse(text).or_else(|(text, error)| match repair::without_nan(&text) {
            Some(repaired) => parse(repaired).map_err(|(_, error)| error),
            None => Err(error),
        });
        let (text, elements) = parsed.map_err(|error| {
            let comma = error.to_string().contains("trailing comma");
            let instead = match comma {
                true => "remove the comma in front of the closing bracket",
                false => "write an array of objects, or one object per line",
            };
            ScenarioError::value(format!("not JSON: {error}"), instead).in_row(path, error.line())
        })?;
        Ok(Self { text, elements, replaced, line: 1, seen: 0 })
    }

    /// Reads an object with one list of objects, such as `{"version": 1, "data": [{…}, …]}`; `None` if the file is none.
    fn read_object(path: &Path) -> Result<Option<Self>, ScenarioError> {
        type Fields<'a> = std::collections::BTreeMap<String, &'a RawValue>;
        let (mut text, replaced) = read_text(path, bytes::open(path)?)?;
        if serde_json::from_str::<Fields<'_>>(&text).is_err() {
            let Some(repaired) = repair::without_nan(&text) else { return Ok(None) };
            text = repaired;
        }
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(&text) else { return Ok(None) };
        let lists: Vec<(&String, &&RawValue)> = fields
            .iter()
            .filter(|(_, value)| {
                let inner = value.get().strip_prefix('[').map(str::trim_start);
                inner.is_some_and(|inner| inner.starts_with('{'))
            })
            .collect();
        match lists.as_slice() {
            [] => Ok(None),
            [(_, list)] => {
                let start = list.get().as_ptr() as usize - text.as_ptr() as usize;
                let found = elements(list.get()).unwrap_or_default();
                let shift = |range: Range<usize>| range.start + start..range.end + start;
                let elements = found.into_iter().map(shift).collect();
                Ok(Some(Self { text, elements, replaced, line: 1, seen: 0 }))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
                Err(ScenarioError::File {
                    path: path.into(),
                    problem: format!("it holds several lists of rows: {}", names.join(", ")),
                    instead: "write the rows of one of them into a file of their own".into(),
                })
            }
        }
    }

    fn next(&mut self, path: &Path) -> Option<Result<Row, RowProblem>> {
        let range = self.elements.pop()?;
        self.line +=
            self.text.as_bytes()[self.seen..range.start].iter().filter(|&&byte| byte == b'\n').count();
        self.seen = range.start;
        if self.replaced.iter().any(|place| range.contains(place)) {
            return Some(Err(not_utf8().in_row(path, self.line, None)));
        }
        Some(Row::parse(path, &self.text[range], self.line))
    }
}

/// Where the elements of an array are, the last one first.
fn elements(text: &str) -> Result<Vec<Range<usize>>, serde_json::Error> {
    let elements: Vec<&RawValue> = serde_json::from_str(text)?;
    let place = |element: &&RawValue| {
        let start = element.get().as_ptr() as usize - text.as_ptr() as usize;
        start..start + element.get().len()
    };
    Ok(elements.iter().rev().map(place).collect())
}

/// A text, and where in it bytes that are not UTF-8 were replaced. They cost the row they are in.
fn read_text(path: &Path, mut text: Text) -> Result<(String, Vec<usize>), ScenarioError> {
    let mut bytes = Vec::new();
    text.read_to_end(&mut bytes).map_err(unreadable(path))?;
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok((text, Vec::new())),
        Err(error) => error.into_bytes(),
    };
    let (mut text, mut replaced) = (String::with_capacity(bytes.len()), Vec::new());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            replaced.push(text.len());
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Ok((text, replaced))
}
