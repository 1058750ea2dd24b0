//! What can go wrong with the files of a run directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::FORMAT_VERSION;

/// Why a file of a run directory could not be read or written. Each is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The operating system could not read it.
    #[error("{}: can't be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The operating system could not write it.
    #[error("{}: can't write: {source}; free some space or choose another folder with --out", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A line is not the row that the file holds.
    #[error("{}:{line}: not {expected}: {source}", path.display())]
    Line {
        /// The file that was being read or written.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What a line of this file is, with its article.
        expected: &'static str,
        /// Why it is not.
        source: serde_json::Error,
    },
    /// A checkpoint's `state.json` can't be understood.
    #[error("{}: {source}; remove this checkpoint folder to go on from the one before", path.display())]
    CheckpointState {
        /// The file that was being read or written.
        path: PathBuf,
        /// Why the row has no JSON form.
        source: serde_json::Error,
    },
    /// It was written by a newer version of this program.
    #[error(
        "{}: written in format {found} by a newer sandbox; this one reads up to format {FORMAT_VERSION}, so use that version",
        path.display()
    )]
    NewerFormat {
        /// The file that was being read or written.
        path: PathBuf,
        /// The version it names.
        found: u64,
    },
}

impl RecordsError {
    pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| RecordsError::Read { path, source }
    }

    /// The error of an operating-system call that writes `path`.
    pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| RecordsError::Write { path, source }
    }
}
