//! Follows a growing JSON-lines file: each complete line is read once. If the file was truncated or replaced in the
//! meantime, it is read again from its beginning.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// An index built from lines.
pub(super) trait Lines: Default {
    /// Adds a line that begins at `offset`, in bytes; a line that can't be parsed is skipped.
    fn take(&mut self, offset: u64, line: &[u8]);
}

/// A file, and the index of the lines read so far.
pub(super) struct Follower<L> {
    path: PathBuf,
    lines: L,
    /// The end of the last line read, in bytes.
    position: u64,
    /// The beginning of the last line read, and its hash. They show whether a file was truncated and grew again, as
    /// when a run is resumed.
    last: Option<(u64, u64)>,
}

impl<L: Lines> Follower<L> {
    /// Reads nothing yet; the file need not exist.
    pub fn new(path: PathBuf) -> Self {
        Follower { path, lines: L::default(), position: 0, last: None }
    }

    pub fn lines(&self) -> &L {
        &self.lines
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file; `None` if it does not exist yet.
    pub fn open(&self) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the lines added since the last call.
    pub fn advance(&mut self) -> io::Result<()> {
        let Some(mut file) = self.open()? else {
            self.reset();
            return Ok(());
        };
        if !self.is_same(&mut file)? {
            self.reset();
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                return Ok(());
            }
            self.lines.take(self.position, &line);
            self.last = Some((self.position, hash(&line)));
            self.position += length as u64;
        }
    }

    fn reset(&mut self) {
        (self.lines, self.position, self.last) = (L::default(), 0, None);
    }

    /// Whether the last line read is still at its place.
    fn is_same(&self, file: &mut File) -> io::Result<bool> {
        let Some((start, hash_then)) = self.last else { return Ok(true) };
        if file.metadata()?.len() < self.position {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(start))?;
        let mut line = Vec::new();
        file.take(self.position - start).read_to_end(&mut line)?;
        Ok(line.pop() == Some(b'\n') && hash(&line) == hash_then)
    }
}

fn hash(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[derive(Default)]
    struct Seen(Vec<(u64, String)>);

    impl Lines for Seen {
        fn take(&mut self, offset: u64, line: &[u8]) {
            self.0.push((offset, String::from_utf8(line.to_vec()).unwrap()));
        }
    }

    #[test]
    fn complete_lines_are_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut follower = Follower::<Seen>::new(path.clone());
        follower.advance().unwrap();
        assert_eq!(follower.lines().0, []);
        std::fs::write(&path, "one\ntw").unwrap();
        follower.advance().unwrap();
        assert_eq!(follower.lines().0, [(0, "one".to_owned())]);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"o\nthree\n").unwrap();
        follower.advance().unwrap();
        follower.advance().unwrap();
        let all = [(0, "one".to_owned()), (4, "two".to_owned()), (8, "three".to_owned())];
        assert_eq!(follower.lines().0, all);
    }

    #[test]
    fn a_file_that_was_truncated_and_grew_again_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut follower = Follower::<Seen>::new(path.clone());
        for (content, expected) in [
            ("one\ntwo\n", vec![(0, "one".to_owned()), (4, "two".to_owned())]),
            ("one\n", vec![(0, "one".to_owned())]),
            ("eno\nowt\nmore\n", vec![(0, "eno".to_owned()), (4, "owt".to_owned()), (8, "more".to_owned())]),
        ] {
            std::fs::write(&path, content).unwrap();
            follower.advance().unwrap();
            assert_eq!(follower.lines().0, expected);
        }
        std::fs::remove_file(&path).unwrap();
        follower.advance().unwrap();
        assert_eq!(follower.lines().0, []);
    }
}
