//! What an unfinished evaluation has counted, on disk.
//!
//! Each batch adds a line when it is answered. If the process is killed, the next one reads the lines and asks only the
//! other batches. A line that was cut off is ignored, and so is a draft of other settings.
//!
//! - EVAL-3 an evaluation that goes on from a draft records the same rows as one that was never interrupted.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use records::append_line;
use serde::{Deserialize, Serialize};

use crate::tallies::Tallies;

/// The place of a batch in an evaluation: the number of its pass, and its number within the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchPlace {
    /// Number of the pass, from 0.
    pub pass: usize,
    /// Number of the batch within the pass, from 0.
    pub batch: usize,
}

#[derive(Serialize, Deserialize)]
struct Head {
    settings: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    place: BatchPlace,
    tallies: Tallies,
}

/// The file with the batches that were answered.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    file: File,
    /// The batches that an interrupted evaluation had answered.
    answered: HashMap<BatchPlace, Tallies>,
}

impl Draft {
    /// Opens the draft at `path`, whose folder is made if the recorder has not made it yet. `settings` identifies the
    /// questions and how they are asked; a draft of other settings is begun anew.
    ///
    /// Errors: the file cannot be read or written.
    pub fn open(path: &Path, settings: &str) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (answered, whole_bytes) = match File::open(path) {
            Ok(file) => read(file, settings)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (HashMap::new(), 0),
            Err(error) => return Err(error),
        };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(whole_bytes)?;
        if whole_bytes == 0 {
            append_line(&mut file, &Head { settings: settings.to_owned() })?;
        }
        Ok(Draft { path: path.to_owned(), file, answered })
    }

    /// What an interrupted evaluation counted in this batch; `None` if it did not get there.
    pub fn take(&mut self, place: BatchPlace) -> Option<Tallies> {
        self.answered.remove(&place)
    }

    /// Adds a batch that was answered.
    ///
    /// Errors: the file cannot be written.
    pub fn add(&mut self, place: BatchPlace, tallies: &Tallies) -> io::Result<()> {
        append_line(&mut self.file, &Line { place, tallies: tallies.clone() })
    }

    /// Removes the file, once the evaluation is recorded.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The batches of a draft, and the length of its whole lines in bytes; none if it is a draft of other settings.
fn read(file: File, settings: &str) -> io::Result<(HashMap<BatchPlace, Tallies>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut answered, mut whole_bytes, mut line) = (HashMap::new(), 0, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 || !line.ends_with(b"\n") {
            return Ok((answered, whole_bytes));
        }
        if whole_bytes == 0 {
            let head = serde_json::from_slice::<Head>(&line);
            if head.is_ok_and(|head| head.settings == settings) {
                whole_bytes += read as u64;
                continue;
            }
            return Ok((HashMap::new(), 0));
        }
        let Ok(Line { place, tallies }) = serde_json::from_slice(&line) else {
            return Ok((answered, whole_bytes));
        };
        answered.insert(place, tallies);
        whole_bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(n: u64) -> Tallies {
        let mut tallies = Tallies::default();
        tallies.evaluation.overall.n = n;
        tallies
    }

    const FIRST: BatchPlace = BatchPlace { pass: 0, batch: 0 };
    const SECOND: BatchPlace = BatchPlace { pass: 0, batch: 1 };

    // EVAL-3
    #[test]
    fn a_draft_cut_off_anywhere_has_its_whole_batches() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arm/seed-7/draft");
        let mut draft = Draft::open(&path, "s").unwrap();
        draft.add(FIRST, &tallies(4)).unwrap();
        let one_batch = std::fs::metadata(&path).unwrap().len();
        draft.add(SECOND, &tallies(5)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut draft = Draft::open(&path, "s").unwrap();
            let first = draft.take(FIRST).map(|found| found.evaluation.overall.n);
            let second = draft.take(SECOND).map(|found| found.evaluation.overall.n);
            assert_eq!(first, (length as u64 >= one_batch).then_some(4), "{length}");
            assert_eq!(second, (length == whole.len()).then_some(5), "{length}");
            draft.add(SECOND, &tallies(6)).unwrap();
            let mut again = Draft::open(&path, "s").unwrap();
            assert!(again.take(SECOND).is_some(), "{length}");
        }
    }

    #[test]
    fn a_draft_of_other_settings_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("draft");
        Draft::open(&path, "one").unwrap().add(FIRST, &tallies(4)).unwrap();
        assert!(Draft::open(&path, "two").unwrap().take(FIRST).is_none());
        assert!(Draft::open(&path, "one").unwrap().take(FIRST).is_none(), "the other draft is gone");
    }
}
