//! Writes `control.jsonl`, the journal of live changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use records::{ArmId, JournalEntry, RunDir, json_lines};
use runtime::{RunEvent, Slot, Watchers};
use workers::{Lines, RecorderMsg};

use super::lock::lock;
use crate::error::RecordingError;

/// The journal of a run. Clones refer to the same journal.
#[derive(Clone)]
pub(crate) struct Journal {
    entries: Arc<Mutex<Vec<Arc<JournalEntry>>>>,
    recorder: Slot<RecorderMsg>,
    watchers: Watchers,
}

impl Journal {
    /// A journal that continues `earlier`, the entries of a run that is resumed.
    pub(crate) fn new(earlier: Vec<JournalEntry>, recorder: Slot<RecorderMsg>, watchers: Watchers) -> Self {
        let earlier = earlier.into_iter().map(Arc::new).collect();
        Journal { entries: Arc::new(Mutex::new(earlier)), recorder, watchers }
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self) -> Vec<Arc<JournalEntry>> {
        lock(&self.entries).clone()
    }

    /// The entries of an arm, oldest first.
    pub(crate) fn entries_of(&self, id: &ArmId) -> Vec<JournalEntry> {
        let entries = lock(&self.entries);
        entries.iter().filter(|entry| entry.id == *id).map(|entry| JournalEntry::clone(entry)).collect()
    }

    /// Writes an entry to the file, then to the watchers.
    pub(crate) async fn append(&self, entry: JournalEntry) -> Result<(), RecordingError> {
        let lines = vec![Lines { file: PathBuf::from(RunDir::JOURNAL), lines: json_lines([&entry]) }];
        self.recorder.call(lines, RecorderMsg::Append).await??;
        let entry = Arc::new(entry);
        lock(&self.entries).push(entry.clone());
        self.watchers.tell(RunEvent::Journaled { entry });
        Ok(())
    }
}
