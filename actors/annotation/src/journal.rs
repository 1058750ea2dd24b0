//! What an annotation was answered so far, on disk: the file beside the output, with `.journal` behind its name.
//!
//! The first line has the settings. Each answer of a server is a line, and each row that was dropped; both are on the disk
//! before anything is done with them (ANNOTATE-1). A line that was cut off by a kill is removed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use records::{RecordsError, append_line, for_each_line, keep_lines};
use serde::{Deserialize, Serialize};

use crate::chain::DropCause;
use crate::error::AnnotationError;

/// What a server was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// The caption of a clip.
    Caption,
    /// The chain of a row.
    Chain,
}

/// Which answer it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// What was asked for.
    pub asked: Asked,
    /// The id of the row, or the place of the clip.
    pub id: String,
    /// The attempt, from 1.
    pub attempt: u64,
}

/// An answer of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The reply.
    pub text: String,
    /// Whether it was cut off at the limit of its length.
    pub out_of_tokens: bool,
    /// Whether the model declined.
    pub declined: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the reply.
    pub reply_tokens: u64,
    /// When the reply came, as in `2026-01-31T12:00:00Z`.
    pub date: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Settings(BTreeMap<String, String>),
    Answer {
        #[serde(flatten)]
        key: Key,
        #[serde(flatten)]
        kept: Kept,
    },
    Dropped {
        id: String,
        cause: DropCause,
        message: String,
    },
}

/// The answers and the dropped rows of an annotation.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    /// The answers that were there when it was opened.
    answers: HashMap<Key, Kept>,
    dropped: HashMap<String, DropCause>,
}

impl Journal {
    /// The journal's path for an output.
    pub fn path_of(out: &Path) -> PathBuf {
        out.with_added_extension("journal")
    }

    /// Opens the journal of an output. `settings` are those on which the answers depend.
    ///
    /// Errors: it can't be read or written, was begun with other settings, or another process works on it.
    pub fn open(out: &Path, settings: BTreeMap<String, String>) -> Result<Self, AnnotationError> {
        let path = Self::path_of(out);
        let has_content = |path: &Path| path.metadata().is_ok_and(|found| found.len() > 0);
        if has_content(out) && !has_content(&path) {
            return Err(AnnotationError::Exists(out.to_owned()));
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|source| RecordsError::Write { path: path.clone(), source })?;
        // A file system without locks leaves it to the user.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(AnnotationError::Owned(out.to_owned()));
        }
        keep_lines(&path, |_| true)?;
        let (mut answers, mut dropped, mut begun) = (HashMap::new(), HashMap::new(), None);
        for_each_line(&path, |line| {
            match serde_json::from_slice(line)? {
                Line::Settings(found) => begun = Some(found),
                Line::Answer { key, kept } => drop(answers.insert(key, kept)),
                Line::Dropped { id, cause, .. } => drop(dropped.insert(id, cause)),
            }
            Ok(())
        })?;
        let journal = Journal { path, file: Mutex::new(file), answers, dropped };
        match begun {
            None => journal.add(&Line::Settings(settings))?,
            Some(begun) if begun == settings => {}
            Some(begun) => {
                let differs = settings.iter().find(|(name, value)| begun.get(*name) != Some(value));
                let what = differs.map_or("a setting", |(name, _)| name).to_owned();
                return Err(AnnotationError::OtherSettings {
                    out: out.to_owned(),
                    journal: journal.path,
                    what,
                });
            }
        }
        Ok(journal)
    }

    /// An answer of an earlier process.
    pub fn answer(&self, key: &Key) -> Option<&Kept> {
        self.answers.get(key)
    }

    /// All answers of earlier processes.
    pub fn answers(&self) -> impl Iterator<Item = &Kept> {
        self.answers.values()
    }

    /// The rows that earlier processes dropped.
    pub fn dropped(&self) -> &HashMap<String, DropCause> {
        &self.dropped
    }

    /// Appends an answer and waits until it is on the disk, so that a killed process does not ask again.
    ///
    /// Errors: the file can't be written.
    pub fn add_answer(&self, key: Key, kept: Kept) -> Result<(), RecordsError> {
        self.add(&Line::Answer { key, kept })
    }

    /// Adds a row that was dropped.
    ///
    /// Errors: the file can't be written.
    pub fn add_dropped(&self, id: &str, cause: DropCause, message: &str) -> Result<(), RecordsError> {
        self.add(&Line::Dropped { id: id.to_owned(), cause, message: message.to_owned() })
    }

    fn add(&self, line: &Line) -> Result<(), RecordsError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        append_line(&mut file, line).map_err(|source| RecordsError::Write { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(model: &str) -> BTreeMap<String, String> {
        [("--model".to_owned(), model.to_owned())].into()
    }

    fn kept(text: &str) -> Kept {
        Kept {
            text: text.into(),
            out_of_tokens: false,
            declined: false,
            prompt_tokens: 3,
            reply_tokens: 2,
            date: "2026-01-31T12:00:00Z".into(),
        }
    }

    // ANNOTATE-1
    #[test]
    fn a_journal_cut_off_anywhere_has_its_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.jsonl");
        let key = |attempt| Key { asked: Asked::Chain, id: "a".into(), attempt };
        let journal = Journal::open(&out, settings("m")).unwrap();
        journal.add_answer(key(1), kept("first")).unwrap();
        let one = std::fs::metadata(Journal::path_of(&out)).unwrap().len();
        journal.add_answer(key(2), kept("second")).unwrap();
        journal.add_dropped("b", DropCause::WrongConclusion, "cat").unwrap();
        drop(journal);
        let whole = std::fs::read(Journal::path_of(&out)).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(Journal::path_of(&out), &whole[..length]).unwrap();
            let journal = Journal::open(&out, settings("m")).unwrap();
            assert_eq!(journal.answer(&key(1)).is_some(), length as u64 >= one, "{length}");
            assert_eq!(journal.dropped().contains_key("b"), length == whole.len(), "{length}");
        }
    }

    #[test]
    fn a_file_that_no_annotation_wrote_and_one_in_work_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.jsonl");
        std::fs::write(&out, "{\"id\": 1}\n").unwrap();
        assert!(matches!(Journal::open(&out, settings("m")), Err(AnnotationError::Exists(_))));
        std::fs::remove_file(&out).unwrap();
        let _working = Journal::open(&out, settings("m")).unwrap();
        assert!(matches!(Journal::open(&out, settings("m")), Err(AnnotationError::Owned(_))));
    }

    #[test]
    fn an_output_of_other_settings_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.jsonl");
        Journal::open(&out, settings("one")).unwrap();
        let error = Journal::open(&out, settings("two")).unwrap_err().to_string();
        assert!(error.contains("--model differs"), "{error}");
    }
}
