//! Writes the files of a world: audio, and a file of rows in the AVQA format for each part.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::settings::Split;
use crate::cache::make_once;
use crate::error::ScenarioError;

/// Makes the clips of a world. A clip depends on its part and number only, so that clips can be made in any order.
pub(crate) trait Generator: Sync {
    /// Number of clips of a part.
    fn clips(&self, split: Split) -> usize;

    /// Makes a clip and the rows about it.
    ///
    /// Errors: what it is made from cannot be read.
    fn clip(&self, split: Split, number: usize) -> Result<Clip, ScenarioError>;
}

/// A clip and its questions.
pub(crate) struct Clip {
    /// Path of the audio file in the world's folder.
    pub(crate) audio_path: String,
    /// The content of the audio file.
    pub(crate) audio: Vec<u8>,
    /// Rows in the AVQA format.
    pub(crate) rows: Vec<Value>,
}

/// The folder `name` of the cache with the files of a world, `train.jsonl`, `heldout.jsonl` and `audio/`. They are made if
/// they are not there; `generator` is then called.
///
/// Errors: those of the generator, and what cannot be written.
pub(crate) fn prepare<G: Generator>(
    cache: &Path,
    name: &str,
    generator: impl FnOnce() -> Result<G, ScenarioError>,
) -> Result<PathBuf, ScenarioError> {
    let folder = cache.join(name);
    make_once(&folder, |unfinished| write_world(unfinished, &generator()?), failed_to_write)?;
    Ok(folder)
}

pub(crate) fn failed_to_write(path: &Path, source: std::io::Error) -> ScenarioError {
    ScenarioError::Write { path: path.into(), source }
}

fn write_world(folder: &Path, generator: &impl Generator) -> Result<(), ScenarioError> {
    let audio = folder.join("audio");
    std::fs::create_dir(&audio).map_err(|error| failed_to_write(&audio, error))?;
    for split in [Split::Train, Split::Heldout] {
        let rows = Mutex::new(vec![String::new(); generator.clips(split)]);
        in_parallel(generator.clips(split), |number| {
            let clip = generator.clip(split, number)?;
            let path = folder.join(&clip.audio_path);
            std::fs::write(&path, clip.audio).map_err(|error| failed_to_write(&path, error))?;
            let text: String = clip.rows.iter().map(|row| format!("{row}\n")).collect();
            rows.lock().unwrap_or_else(PoisonError::into_inner)[number] = text;
            Ok(())
        })?;
        let path = folder.join(split.name()).with_extension("jsonl");
        let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner).concat();
        std::fs::write(&path, rows).map_err(|error| failed_to_write(&path, error))?;
    }
    Ok(())
}

/// Calls `work` for every number below `count`, with a thread per core, until one call fails.
///
/// Errors: that of a call that failed.
pub(crate) fn in_parallel(
    count: usize,
    work: impl Fn(usize) -> Result<(), ScenarioError> + Sync,
) -> Result<(), ScenarioError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), ScenarioError> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            work(number).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_worked_on_once_until_one_fails() {
        let done = Mutex::new(vec![0; 100]);
        in_parallel(100, |number| {
            done.lock().unwrap()[number] += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(*done.lock().unwrap(), vec![1; 100]);
        let calls = AtomicUsize::new(0);
        let error = in_parallel(1_000_000, |number| {
            calls.fetch_add(1, Ordering::Relaxed);
            if number == 7 { Err(ScenarioError::value("seven", "write eight")) } else { Ok(()) }
        });
        assert_eq!(error.unwrap_err().to_string(), "seven; write eight");
        assert!(calls.into_inner() < 1_000_000);
    }
}
