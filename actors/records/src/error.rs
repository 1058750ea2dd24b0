//! What can go wrong with the files of a run directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::damage::Finding;
use crate::format::FORMAT_VERSION;
use crate::owner::Owner;

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
        line: u64,
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
    /// Another process owns the run directory.
    #[error("{}: {}", path.display(), owned_by(owner.as_deref()))]
    Owned {
        /// The run directory.
        path: PathBuf,
        /// The process, if its lock names it.
        owner: Option<Box<Owner>>,
    },
    /// The run directory, or a file in it, disappeared while a run wrote to it, or another one took its place.
    #[error("{}: was removed or replaced by another program while the run was writing to it", path.display())]
    Gone {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file that only this process appends to has another length than it gave it.
    #[error(
        "{}: was changed by another program while the run was writing to it: {expected} bytes were written, {found} are there",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its length in bytes as this process left it.
        expected: u64,
        /// Its length in bytes now.
        found: u64,
    },
    /// A run directory can't be resumed as it is.
    #[error(
        "{first}{}; `sandbox verify {}` lists everything that is damaged, and --repair goes on from the newest checkpoint that is whole",
        and_more(*more),
        run_dir.display()
    )]
    Damaged {
        /// The run directory.
        run_dir: PathBuf,
        /// What was found first.
        first: Box<Finding>,
        /// Number of other findings.
        more: usize,
    },
    /// A task is not part of the experiment of its sweep.
    #[error(
        "{}:{line}: this sweep has `{found}`, and the scenario now `{wanted}`; go back to that scenario, or name another folder with --sweep",
        path.display()
    )]
    OtherSweep {
        /// The scenario that the first task of the sweep stored.
        path: PathBuf,
        /// The first line that differs, from 1.
        line: u64,
        /// What the file says there.
        found: String,
        /// The line of the task's scenario in its place.
        wanted: String,
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

fn owned_by(owner: Option<&Owner>) -> String {
    let by = owner.map_or_else(
        || "another process".to_owned(),
        |Owner { host, process_id, since, .. }| format!("process {process_id} on {host}, since {since}"),
    );
    format!("is in use by {by}; wait until it ends, or stop it")
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more)") }
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
