//! Replacing a file whole, and cutting a JSON-lines file at a line.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use crate::error::RecordsError;

/// Writes a file so that a reader sees either the old content or the new. The file is readable by its owner only. Its
/// folder must exist: one that was removed while a run goes on must be noticed, not made again.
///
/// Errors: [`RecordsError::Write`].
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), RecordsError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let replace = || {
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(content)?;
        draft.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    replace().map_err(RecordsError::writing(path))
}

/// Makes `to` a hard link of a file to which nobody writes again, or a copy where the file system has no links.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

/// Cuts a file after `kept` bytes, and waits until that is on the disk.
///
/// Errors: [`RecordsError::Write`].
pub(crate) fn cut(path: &Path, kept: u64) -> Result<(), RecordsError> {
    let cut = || {
        let file = match OpenOptions::new().write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        if file.metadata()?.len() > kept {
            file.set_len(kept)?;
            file.sync_all()?;
        }
        Ok(())
    };
    cut().map_err(RecordsError::writing(path))
}

/// Truncates a JSON-lines file before the first line that is incomplete or does not satisfy `keep`. A missing
/// file is left missing.
///
/// Errors: [`RecordsError::Write`].
pub fn keep_lines(path: &Path, keep: impl Fn(&str) -> bool) -> Result<(), RecordsError> {
    let cut = || {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let mut reader = BufReader::new(&mut file);
        let (mut kept, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)? as u64;
            if line.last() != Some(&b'\n') || !keep(&String::from_utf8_lossy(&line)) {
                break;
            }
            kept += length;
        }
        file.set_len(kept)
    };
    cut().map_err(RecordsError::writing(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_last_line_is_removed_and_complete_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"st").unwrap();
        keep_lines(&path, |_| true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
        keep_lines(&path, |line| !line.contains('2')).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }
}
