//! The most memory that the tasks of a sweep took: `SWEEP/taken/001.json`, a file for each task. Each is written by the task that it is
//! of, so no two processes write the same (SWEEP-1).

use std::fs;
use std::path::PathBuf;

use records::{RecordsError, SweepDir, replace_file};
use serde::{Deserialize, Serialize};

use crate::memory::most_memory;

/// What a task took.
#[derive(Serialize, Deserialize)]
struct Taken {
    memory_bytes: u64,
}

fn file(sweep: &SweepDir, task: usize) -> PathBuf {
    sweep.path().join("taken").join(format!("{task:03}.json"))
}

/// The most memory that a process of a task has taken, in bytes; `None` if no process of it has ended by itself.
pub fn memory_taken(sweep: &SweepDir, task: usize) -> Option<u64> {
    let taken: Taken = serde_json::from_slice(&fs::read(file(sweep, task)).ok()?).ok()?;
    Some(taken.memory_bytes)
}

/// Keeps the most memory that this process has taken for a task, unless an earlier one has taken more.
///
/// Errors: [`RecordsError::Write`].
pub fn keep_memory_taken(sweep: &SweepDir, task: usize) -> Result<(), RecordsError> {
    let Some(bytes) = most_memory("self").filter(|bytes| *bytes > 0) else { return Ok(()) };
    let memory_bytes = bytes.max(memory_taken(sweep, task).unwrap_or_default());
    let folder = sweep.path().join("taken");
    fs::create_dir_all(&folder).map_err(|source| RecordsError::Write { path: folder.clone(), source })?;
    let taken = serde_json::json!(Taken { memory_bytes });
    replace_file(&file(sweep, task), format!("{taken}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_several_processes_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepDir::new(folder.path());
        assert_eq!(memory_taken(&sweep, 3), None);
        keep_memory_taken(&sweep, 3).unwrap();
        let once = memory_taken(&sweep, 3).unwrap();
        assert!(once > 1_000_000, "{once}");
        fs::write(file(&sweep, 3), format!("{{\"memory_bytes\": {}}}", 1_u64 << 50)).unwrap();
        keep_memory_taken(&sweep, 3).unwrap();
        assert_eq!(memory_taken(&sweep, 3), Some(1 << 50));
    }
}
