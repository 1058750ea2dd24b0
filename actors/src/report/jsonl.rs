//! Reads JSON Lines one at a time, forgiving what a killed writer leaves behind.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde_json::Error;

/// Calls `take` with each line of the file and returns how many of them it could not read. A last line without
/// its newline that cannot be read is what a killed writer leaves: it is skipped and not counted. A file that is
/// not there has no lines.
pub(super) fn for_each_line(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    let mut unreadable = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(unreadable);
        }
        let whole = line.last() == Some(&b'\n');
        let text = line.trim_ascii();
        if !text.is_empty() && take(text).is_err() && whole {
            unreadable += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<u64>, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        let mut rows = Vec::new();
        let unreadable = for_each_line(&path, |line| {
            rows.push(serde_json::from_slice::<u64>(line)?);
            Ok(())
        });
        (rows, unreadable.unwrap())
    }

    #[test]
    fn a_half_written_last_line_is_skipped_without_a_word() {
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
    }
}
