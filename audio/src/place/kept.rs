//! What was read of archives, kept for the next clip.
//!
//! Clips of one archive are asked for one after another, by several loader threads. What all of them need, such as the
//! index of a tar archive, is read once, by the first that asks, while the others wait for it.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::Problem;

/// A part of a file as it was at some time. A file that changes is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
    /// Where the part begins.
    offset: u64,
}

impl Key {
    /// The file at `path` as it is now.
    pub fn of(path: &Path) -> Result<Self, Problem> {
        let metadata: Metadata = std::fs::metadata(path)?;
        let (modified, length) = (metadata.modified().ok(), metadata.len());
        Ok(Self { path: path.to_owned(), modified, length, offset: 0 })
    }

    /// The part of the file that begins at `offset`.
    pub fn at(&self, offset: u64) -> Self {
        Self { offset, ..self.clone() }
    }
}

/// Most values, which are searched one after another.
const MOST: usize = 1024;

type Slot<T> = Arc<Mutex<Option<Arc<T>>>>;

/// Values by the part of a file they were read from; those not used for longest are dropped.
pub(crate) struct Kept<T> {
    /// Most memory of all values together, in bytes. The newest value is kept even if it alone needs more.
    budget: usize,
    /// In the order of their last use, with the memory that each needs.
    entries: Mutex<Vec<(Key, usize, Slot<T>)>>,
}

impl<T> Kept<T> {
    pub const fn new(budget: usize) -> Self {
        Self { budget, entries: Mutex::new(Vec::new()) }
    }

    /// The value of `key`, read by `read` if it is not kept; `weigh` returns the bytes of memory it needs.
    ///
    /// Errors: those of `read`, which are not kept.
    pub fn get(
        &self,
        key: &Key,
        weigh: impl FnOnce(&T) -> usize,
        read: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<Arc<T>, Problem> {
        let slot = self.slot(key);
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*held {
            return Ok(value.clone());
        }
        let value = Arc::new(read().inspect_err(|_| self.forget(key))?);
        *held = Some(value.clone());
        drop(held);
        self.settle(key, weigh(&value));
        Ok(value)
    }

    /// The slot of a key, which becomes the newest. Older states of the same part are dropped.
    fn slot(&self, key: &Key) -> Slot<T> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.iter().position(|(other, ..)| other == key);
        let entry = match found {
            Some(place) => entries.remove(place),
            None => (key.clone(), 0, Slot::default()),
        };
        entries.retain(|(other, ..)| other.path != key.path || other.offset != key.offset);
        let slot = entry.2.clone();
        entries.push(entry);
        slot
    }

    /// Removes a key whose value could not be read.
    fn forget(&self, key: &Key) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(other, ..)| other != key);
    }

    /// Notes what a new value weighs, and drops the oldest until all fit.
    fn settle(&self, key: &Key, weight: usize) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.iter_mut().find(|(other, ..)| other == key) {
            entry.1 = weight;
        }
        let mut total: usize = entries.iter().map(|(_, weight, _)| weight).sum();
        while (total > self.budget || entries.len() > MOST) && entries.len() > 1 {
            total -= entries.remove(0).1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_once_until_its_file_changes_or_others_need_the_room() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let kept = Kept::<u64>::new(10);
        let reads = std::cell::Cell::new(0);
        let get = |key: &Key| {
            let read = || {
                reads.set(reads.get() + 1);
                Ok(reads.get())
            };
            *kept.get(key, |_| 6, read).unwrap()
        };
        let key = Key::of(&file).unwrap();
        assert_eq!((get(&key), get(&key)), (1, 1));
        // Two values of weight 6 are more than 10: the older one is dropped.
        assert_eq!((get(&key.at(7)), get(&key)), (2, 3));
        std::fs::write(&file, "12").unwrap();
        assert_eq!(get(&Key::of(&file).unwrap()), 4);
    }

    #[test]
    fn what_could_not_be_read_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::of(folder.path()).unwrap();
        let kept = Kept::<u64>::new(10);
        assert!(kept.get(&key, |_| 1, || Err(Problem::Empty)).is_err());
        assert!(kept.entries.lock().unwrap().is_empty());
        assert_eq!(*kept.get(&key, |_| 1, || Ok(5)).unwrap(), 5);
    }

    #[test]
    fn the_number_of_values_is_bounded_even_if_they_weigh_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::of(folder.path()).unwrap();
        let kept = Kept::<u64>::new(10);
        for offset in 0..2000 {
            kept.get(&key.at(offset), |_| 0, || Ok(offset)).unwrap();
        }
        assert_eq!(kept.entries.lock().unwrap().len(), MOST);
        assert_eq!(*kept.get(&key.at(1999), |_| 0, || panic!("it is kept")).unwrap(), 1999);
    }
}
