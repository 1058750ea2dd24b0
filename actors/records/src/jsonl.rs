//! JSON-lines files: rows become lines, and lines are read strictly, where a wrong one must stop the reader, or
//! leniently, where it is counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::RecordsError;
use crate::format::FormatVersion;

/// Each row as a line of JSON.
pub fn json_lines<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<String> {
    rows.into_iter()
        .map(|row| serde_json::to_string(&row).expect("rows have string keys and no failing serializer"))
        .collect()
}

/// A row as a JSON value.
pub fn json_value<T: Serialize>(row: &T) -> serde_json::Value {
    serde_json::to_value(row).expect("rows have string keys and no failing serializer")
}

/// Appends a row as a line of JSON, and returns when it is on the disk.
///
/// Errors: the file can't be written.
pub fn append_line(file: &mut File, row: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(row)?;
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

/// Calls `take` with each line of the file and returns how many of them `take` could not read. A last line
/// without its newline that can't be read is what a killed writer leaves: it is skipped and not counted. A
/// missing file has no lines.
///
/// Errors: [`RecordsError::Read`], and [`RecordsError::NewerFormat`] for a line of a newer format.
pub fn for_each_line(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
) -> Result<u64, RecordsError> {
    let Some(mut reader) = open(path)? else { return Ok(0) };
    let mut line = Vec::new();
    let mut unreadable = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(RecordsError::reading(path))? == 0 {
            return Ok(unreadable);
        }
        let complete = line.last() == Some(&b'\n');
        let text = line.trim_ascii();
        if !text.is_empty() && take(text).is_err() {
            refuse_newer(path, text)?;
            unreadable += u64::from(complete);
        }
    }
}

/// Calls `take` with the number and the text of each complete line, until it returns false. A missing file has no lines.
///
/// Errors: [`RecordsError::Read`].
pub(crate) fn each_complete_line(
    path: &Path,
    mut take: impl FnMut(u64, &[u8]) -> bool,
) -> Result<(), RecordsError> {
    let Some(mut reader) = open(path)? else { return Ok(()) };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(RecordsError::reading(path))?;
        if line.pop() != Some(b'\n') || !take(number, &line) {
            break;
        }
    }
    Ok(())
}

/// All complete lines of a file as rows; none if the file is missing. `expected` says in messages what a line is.
///
/// Errors: [`RecordsError::Read`], [`RecordsError::Line`] for the first line that is no
/// such row, or [`RecordsError::NewerFormat`].
pub(crate) fn read_rows<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
) -> Result<Vec<T>, RecordsError> {
    let (mut rows, mut wrong) = (Vec::new(), None);
    each_complete_line(path, |number, line| {
        match serde_json::from_slice(line) {
            Ok(row) => rows.push(row),
            Err(source) => {
                let wrong_line = RecordsError::Line { path: path.to_owned(), line: number, expected, source };
                wrong = Some(refuse_newer(path, line).err().unwrap_or(wrong_line));
            }
        }
        wrong.is_none()
    })?;
    wrong.map_or(Ok(rows), Err)
}

/// Refuses a file whose first line is of a newer format; a missing file passes.
pub(crate) fn check_format(path: &Path) -> Result<(), RecordsError> {
    let Some(mut reader) = open(path)? else { return Ok(()) };
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).map_err(RecordsError::reading(path))?;
    refuse_newer(path, &line)
}

/// Refuses JSON of a newer format.
pub(crate) fn refuse_newer(path: &Path, json: &[u8]) -> Result<(), RecordsError> {
    match FormatVersion::newer_than_known(json) {
        Some(found) => Err(RecordsError::NewerFormat { path: path.to_owned(), found }),
        None => Ok(()),
    }
}

fn open(path: &Path) -> Result<Option<BufReader<File>>, RecordsError> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::with_capacity(1 << 16, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordsError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn read(text: &str) -> (Vec<u64>, u64) {
        let (_folder, path) = file(text);
        let mut rows = Vec::new();
        let unreadable = for_each_line(&path, |line| {
            rows.push(serde_json::from_slice::<u64>(line)?);
            Ok(())
        });
        (rows, unreadable.unwrap())
    }

    #[test]
    fn an_incomplete_last_line_is_skipped_and_not_counted() {
        assert_eq!(read("1\n2\n{\"st"), (vec![1, 2], 0));
    }

    #[test]
    fn a_broken_line_in_the_middle_is_skipped_and_counted() {
        assert_eq!(read("1\n{\"st\n\n3\n"), (vec![1, 3], 1));
    }

    #[test]
    fn a_missing_file_has_no_lines() {
        let path = Path::new("/nonexistent/rows.jsonl");
        assert_eq!(for_each_line(path, |_| Ok(())).unwrap(), 0);
        assert_eq!(read_rows::<u64>(path, "a number").unwrap(), [0; 0]);
    }

    #[test]
    fn strict_reading_names_the_line() {
        let (_folder, path) = file("1\nx\n3\n");
        let error = read_rows::<u64>(&path, "a number").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2: not a number: ", path.display())), "{error}");
    }

    #[test]
    fn a_newer_format_is_refused_by_every_reader_with_the_files_name() {
        let (_folder, path) = file("{\"format_version\":2,\"step\":1}\n");
        let row = |line: &[u8]| serde_json::from_slice::<crate::Status>(line).map(drop);
        let errors = [
            for_each_line(&path, row).unwrap_err(),
            read_rows::<crate::Status>(&path, "a status").unwrap_err(),
            check_format(&path).unwrap_err(),
        ];
        for error in errors {
            let message = error.to_string();
            assert!(message.contains("rows.jsonl: written in format 2 by a newer sandbox"), "{message}");
        }
    }
}
