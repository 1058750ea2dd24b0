//! What can be wrong with the files of a run directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One place of a run directory that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file or folder.
    pub file: PathBuf,
    /// The first and last line that may be affected, from 1, in files of lines.
    pub lines: Option<(u64, u64)>,
    /// How it differs.
    #[serde(flatten)]
    pub damage: Damage,
}

/// How a file differs from what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "damage", rename_all = "snake_case")]
pub enum Damage {
    /// There is no such file.
    #[error("is missing")]
    Missing,
    /// The operating system or the JSON parser can't read it.
    #[error("can't be read: {0}")]
    #[serde(serialize_with = "as_reason")]
    Unreadable(String),
    /// Its own checksum does not fit.
    #[error("was changed after it was written: its own checksum does not fit")]
    Edited,
    /// It is shorter or longer than its recorded length in bytes.
    #[error("has {found} bytes, but {expected} were written")]
    Length {
        /// Bytes that were written.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// Its checksum does not fit.
    #[error("was changed after it was written: its checksum does not fit")]
    Content,
    /// A checkpoint is that of another step.
    #[error("holds the checkpoint of step {step}")]
    OtherStep {
        /// The step in its `state.json`.
        step: u64,
    },
    /// A line is not the row that the file holds.
    #[error("is not {expected}: {reason}")]
    Line {
        /// What a line of this file is, with its article.
        expected: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// A step is missing between two others.
    #[error("is step {found}, but step {expected} should follow here")]
    StepMissing {
        /// The step after the one in the line before.
        expected: u64,
        /// The step of this line.
        found: u64,
    },
    /// A step is recorded twice, or after a later one.
    #[error("is step {found} again, after step {last}")]
    StepAgain {
        /// The step of the line before.
        last: u64,
        /// The step of this line.
        found: u64,
    },
}

impl Finding {
    pub(crate) fn in_file(path: &Path, damage: Damage) -> Self {
        Finding { file: path.to_owned(), lines: None, damage }
    }

    pub(crate) fn in_lines(path: &Path, first: u64, last: u64, damage: Damage) -> Self {
        Finding { file: path.to_owned(), lines: Some((first, last)), damage }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.lines {
            Some((first, last)) if first == last => write!(f, ":{first}")?,
            Some((first, last)) => write!(f, ":{first}-{last}")?,
            None => {}
        }
        write!(f, ": {}", self.damage)
    }
}

impl Damage {
    pub(crate) fn of_reading(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Damage::Missing,
            _ => Damage::Unreadable(error.to_string()),
        }
    }
}

fn as_reason<S: serde::Serializer>(reason: &str, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("reason", reason)?;
    map.end()
}
