//! A file that grows by whole pieces.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that pieces are appended to, each with one call to the operating system.
#[derive(Debug)]
pub(crate) struct Appended {
    path: PathBuf,
    file: File,
    /// Length in bytes up to the last whole piece.
    length: u64,
}

impl Appended {
    /// Makes an empty file where there is none yet.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Appended { path: path.to_owned(), file, length: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends a piece. What a full disk leaves of it is cut off again: a reader would not get beyond it.
    pub(crate) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(piece) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += piece.len() as u64;
        Ok(())
    }
}
