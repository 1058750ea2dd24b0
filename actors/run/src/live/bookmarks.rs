//! Writes `bookmarks.jsonl`: places of the run that somebody wants to find again.

use std::sync::{Arc, Mutex};

use records::{ArmId, Bookmark, BookmarkedCompletion, FormatVersion, RecordsError, RunDir, json_lines, now};
use runtime::{RunEvent, Slot, Watchers};
use workers::{Lines, RecorderMsg};

use super::lock::lock;
use crate::error::RecordingError;

/// What a new bookmark marks, and what is written about it.
#[derive(Clone, Debug)]
pub struct NewBookmark {
    /// The arm and its seed.
    pub id: ArmId,
    /// The number of steps taken by then.
    pub step: u64,
    /// The completion, if it is not the step as a whole.
    pub completion: Option<BookmarkedCompletion>,
    /// The note; may be empty.
    pub note: String,
    /// What the page shows; may be empty.
    pub view: String,
}

/// Why a bookmark was not written. The training does not mind.
#[derive(Debug, thiserror::Error)]
pub enum BookmarkError {
    /// There is none with this number.
    #[error("there is no bookmark {number}; GET /api/bookmarks lists them")]
    Unknown {
        /// The number.
        number: u64,
    },
    /// The file can't be written.
    #[error("the bookmark could not be written: {reason}")]
    Unrecorded {
        /// Why, in one line.
        reason: String,
    },
}

/// The bookmarks of a run. Clones refer to the same ones.
#[derive(Clone)]
pub struct Bookmarks(Arc<Shared>);

struct Shared {
    /// Those that there are, by their numbers.
    there: Mutex<Vec<Arc<Bookmark>>>,
    /// The next number. It is held while a row is written, so that rows have the order of their numbers.
    next: tokio::sync::Mutex<u64>,
    recorder: Slot<RecorderMsg>,
    watchers: Watchers,
}

impl Bookmarks {
    /// The bookmarks that `run_dir` has; damaged ones are left out with a warning.
    ///
    /// Errors: [`RecordsError`]: the file can't be read, or is of a newer format.
    pub(crate) fn open(
        run_dir: &RunDir,
        recorder: Slot<RecorderMsg>,
        watchers: Watchers,
    ) -> Result<Self, RecordsError> {
        let (there, unreadable) = run_dir.read_bookmarks()?;
        if unreadable > 0 {
            let path = run_dir.bookmarks();
            tracing::warn!("{}: {unreadable} lines are no bookmarks and are left out", path.display());
        }
        // Above the number of lines, so that a damaged line's number is not given again.
        let next = there.last().map_or(0, |bookmark| bookmark.number) + unreadable + 1;
        let there = Mutex::new(there.into_iter().map(Arc::new).collect());
        Ok(Bookmarks(Arc::new(Shared { there, next: tokio::sync::Mutex::new(next), recorder, watchers })))
    }

    /// Those that there are, by their numbers.
    pub fn list(&self) -> Vec<Arc<Bookmark>> {
        lock(&self.0.there).clone()
    }

    /// Writes a new bookmark.
    ///
    /// Errors: [`BookmarkError::Unrecorded`].
    pub async fn add(&self, new: NewBookmark, by: &str) -> Result<Arc<Bookmark>, BookmarkError> {
        let mut next = self.0.next.lock().await;
        let NewBookmark { id, step, completion, note, view } = new;
        let bookmark = Bookmark {
            format_version: FormatVersion::CURRENT,
            number: *next,
            time: now(),
            by: by.to_owned(),
            id,
            step,
            completion,
            note,
            view,
            removed: false,
        };
        let written = self.write(bookmark).await?;
        *next += 1;
        Ok(written)
    }

    /// Replaces the note of a bookmark.
    ///
    /// Errors: [`BookmarkError`].
    pub async fn note(&self, number: u64, note: String, by: &str) -> Result<Arc<Bookmark>, BookmarkError> {
        let _held = self.0.next.lock().await;
        let bookmark = Bookmark { note, time: now(), by: by.to_owned(), ..self.get(number)? };
        self.write(bookmark).await
    }

    /// Takes a bookmark away.
    ///
    /// Errors: [`BookmarkError`].
    pub async fn remove(&self, number: u64, by: &str) -> Result<Arc<Bookmark>, BookmarkError> {
        let _held = self.0.next.lock().await;
        let bookmark = Bookmark { removed: true, time: now(), by: by.to_owned(), ..self.get(number)? };
        self.write(bookmark).await
    }

    fn get(&self, number: u64) -> Result<Bookmark, BookmarkError> {
        let there = lock(&self.0.there);
        let found = there.iter().find(|bookmark| bookmark.number == number);
        found.map(|bookmark| Bookmark::clone(bookmark)).ok_or(BookmarkError::Unknown { number })
    }

    /// Writes a row to the file, then to the watchers.
    async fn write(&self, bookmark: Bookmark) -> Result<Arc<Bookmark>, BookmarkError> {
        let lines = vec![Lines { file: RunDir::BOOKMARKS.into(), lines: json_lines([&bookmark]) }];
        let appended = match self.0.recorder.call(lines, RecorderMsg::Append).await {
            Ok(appended) => appended.map_err(RecordingError::from),
            Err(error) => Err(error.into()),
        };
        appended.map_err(|error| BookmarkError::Unrecorded { reason: error.to_string() })?;
        let bookmark = Arc::new(bookmark);
        let mut there = lock(&self.0.there);
        there.retain(|other| other.number != bookmark.number);
        if !bookmark.removed {
            let at = there.partition_point(|other| other.number < bookmark.number);
            there.insert(at, bookmark.clone());
        }
        drop(there);
        self.0.watchers.tell(RunEvent::Bookmarked { bookmark: bookmark.clone() });
        Ok(bookmark)
    }
}
