//! `run.json`: the one object of a stored run that is replaced. It names the parts of every file.

use std::collections::BTreeMap;

use records::{FORMAT_VERSION, FormatVersion};
use serde::{Deserialize, Serialize};

use crate::error::StorageError;
use crate::parts::Part;
use crate::target::Target;
use crate::writer::Writer;

/// A run as a store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    /// The format of the store.
    pub format_version: FormatVersion,
    /// As in `storage.json` of the run directory: tells the run from others.
    pub run: String,
    /// The name of the run directory.
    pub name: String,
    /// The process that uploads it, or did last.
    pub writer: Writer,
    /// Grows by one whenever the object is replaced.
    pub generation: u64,
    /// When it was replaced, as in the journal.
    pub updated: String,
    /// The files by their paths below the run directory.
    pub files: BTreeMap<String, StoredFile>,
}

/// A file in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// SHA-256 of the whole file, unless it grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// In the order of the file.
    pub parts: Vec<Part>,
}

impl StoredFile {
    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

impl StoredRun {
    /// The name of the object in the folder of the run.
    pub(crate) const OBJECT: &str = "run.json";

    /// The object's text, with its own checksum.
    pub(crate) fn to_text(&self) -> String {
        records::seal(self)
    }

    /// Reads the object's text.
    ///
    /// Errors: [`StorageError::Damaged`] or [`StorageError::Setting`] for a newer format.
    pub(crate) fn of_text(text: &[u8], target: &Target) -> Result<Self, StorageError> {
        let damaged = |problem: String| StorageError::Damaged {
            url: target.url().to_owned(),
            path: Self::OBJECT.to_owned(),
            problem,
        };
        #[derive(Deserialize)]
        struct Format {
            format_version: u64,
        }
        let format: Format =
            serde_json::from_slice(text).map_err(|error| damaged(format!("can't be read: {error}")))?;
        if format.format_version > FORMAT_VERSION {
            return Err(StorageError::Setting(format!(
                "{}: stored in format {} by a newer sandbox; this one reads up to format {FORMAT_VERSION}, so use that version",
                target.url(),
                format.format_version
            )));
        }
        if records::is_whole(text) != Some(true) {
            return Err(damaged("was changed after it was written: its own checksum does not fit".into()));
        }
        serde_json::from_slice(text).map_err(|error| damaged(format!("can't be read: {error}")))
    }
}
