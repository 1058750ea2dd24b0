//! `control.jsonl`: who changed what in a run, when, from what to what, and at which step it took effect.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::Entry;
use super::watchers::Watchers;
use crate::event::RunEvent;
use crate::recorder::{Lines, RecorderMsg};
use crate::slot::Slot;

/// Its name in the run directory.
pub const JOURNAL: &str = "control.jsonl";

/// The time, as the journal has it.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now).to_string()
}

/// The journal of a run; clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct Journal {
    entries: Arc<Mutex<Vec<Arc<Entry>>>>,
    recorder: Slot<RecorderMsg>,
    watchers: Watchers,
}

impl Journal {
    pub(crate) fn new(earlier: Vec<Entry>, recorder: Slot<RecorderMsg>, watchers: Watchers) -> Self {
        let earlier = earlier.into_iter().map(Arc::new).collect();
        Journal { entries: Arc::new(Mutex::new(earlier)), recorder, watchers }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.lock().clone()
    }

    /// Writes an entry down, then tells of it.
    pub(crate) async fn append(&self, entry: Entry) -> Result<(), String> {
        let line = serde_json::to_string(&entry).map_err(|error| error.to_string())?;
        let lines = vec![Lines { file: PathBuf::from(JOURNAL), lines: vec![line] }];
        self.recorder.call(lines, RecorderMsg::Append).await.map_err(|error| error.to_string())??;
        let entry = Arc::new(entry);
        self.lock().push(entry.clone());
        self.watchers.tell(RunEvent::Journaled { entry });
        Ok(())
    }
}

/// The journal of a run directory, without a last line that was cut short; empty if nothing was ever changed.
///
/// # Errors
/// One line: it can't be read, or a line of it is no entry.
pub fn read_journal(run_dir: &Path) -> Result<Vec<Entry>, String> {
    let path = run_dir.join(JOURNAL);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: can't be read: {error}", path.display())),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| format!("{}:{}: not an entry of a journal: {error}", path.display(), number + 1))
    };
    whole.lines().enumerate().map(read).collect()
}
