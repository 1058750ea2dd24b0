//! Rows of CSV and TSV files. The first line names the columns. Which sign separates the cells is read from that line.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::bytes::{Text, unreadable};
use super::row::{NoRow, Row, not_utf8};
use crate::error::ScenarioError;
use crate::rows::{RowCause, RowError};

/// Signs that may separate cells, the likelier first.
const SEPARATORS: [u8; 4] = *b",\t;|";

/// The rows of a file, read one by one.
pub(super) struct Delimited {
    path: PathBuf,
    reader: csv::Reader<Text>,
    names: Vec<String>,
    record: csv::ByteRecord,
}

/// The separator of a table that begins with this line; `None` if it has only one column.
pub(super) fn separator(line: &[u8], path: &Path) -> Option<u8> {
    let is_tsv = matches!(extension(path).as_str(), "tsv" | "tab");
    let count = |sign: u8| {
        let mut quoted = false;
        line.iter()
            .filter(|&&byte| {
                quoted ^= byte == b'"';
                byte == sign && !quoted
            })
            .count()
    };
    if is_tsv && count(b'\t') > 0 {
        return Some(b'\t');
    }
    let (most, _) =
        SEPARATORS.iter().rev().map(|&sign| (sign, count(sign))).max_by_key(|&(_, count)| count)?;
    (count(most) > 0).then_some(most)
}

/// The extension of a file in lower case, without that of its compression.
pub(super) fn extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned()).unwrap_or_default()
}

impl Delimited {
    /// Reads the names of the columns.
    ///
    /// Errors: the file cannot be read; a column has no name, or that of another.
    pub(super) fn open(path: &Path, mut text: Text) -> Result<Self, ScenarioError> {
        let start = text.fill_buf().map_err(unreadable(path))?;
        let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let separator = separator(line, path).unwrap_or(b',');
        let mut reader = csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text);
        let fail = |problem: String, instead: &str| ScenarioError::value(problem, instead).in_row(path, 1);
        let header = reader.headers().map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => unreadable(path)(error),
            _ => fail("the names of the columns are not UTF-8".into(), "write the file in UTF-8"),
        })?;
        let mut names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        // pandas writes its index under an empty name.
        if names.first().is_some_and(String::is_empty) {
            names[0] = "Unnamed: 0".into();
        }
        for (place, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(fail(format!("column {} has no name", place + 1), "name every column"));
            }
            if names[..place].contains(name) {
                return Err(fail(format!("two columns are named `{name}`"), "name each column differently"));
            }
        }
        Ok(Self { path: path.to_owned(), reader, names, record: csv::ByteRecord::new() })
    }
}

impl Iterator for Delimited {
    type Item = Result<Row, NoRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { path, reader, names, record } = self;
        match reader.read_byte_record(record) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                let error = match error.into_kind() {
                    csv::ErrorKind::Io(error) => error,
                    other => std::io::Error::other(format!("{other:?}")),
                };
                return Some(Err(NoRow::File(unreadable(path)(error))));
            }
        }
        let line = record.position().map_or(0, |position| position.line() as usize);
        let problem = |error: RowError| Some(Err(NoRow::Problem(error.in_row(path, line, None))));
        if record.len() != names.len() {
            let problem_text =
                format!("{} cells, where the first line names {} columns", record.len(), names.len());
            let instead = "quote cells that contain the separator, as in \"a, b\"";
            return problem(RowError::new(RowCause::BadColumn, problem_text, instead));
        }
        let mut columns = Map::new();
        for (name, cell) in names.iter().zip(record.iter()) {
            let Ok(cell) = std::str::from_utf8(cell) else { return problem(not_utf8()) };
            columns.insert(name.clone(), Value::String(cell.to_owned()));
        }
        Some(Ok(Row::new(line, columns)))
    }
}
