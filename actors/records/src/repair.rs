//! Takes a damaged run directory back to the newest checkpoints that are whole.
//!
//! - `REPAIR-1` nothing is deleted: bytes that are cut from `FILE` are appended to `FILE.damaged`, and damaged checkpoints
//!   are renamed to `step-….damaged`. What is left can be verified, and is resumed like a run that stopped there.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::arm_file::ArmFile;
use crate::arm_id::ArmId;
use crate::checkpoint::CheckpointState;
use crate::checksum::FileSum;
use crate::damage::Finding;
use crate::error::RecordsError;
use crate::files::cut;
use crate::journal::JournalEntry;
use crate::jsonl::{check_format, each_complete_line};
use crate::record_sums::fitting;
use crate::run_dir::{ArmDir, RunDir};
use crate::verify::{self, verify_newest};

/// Refuses to resume arms whose records or newest checkpoints are damaged.
///
/// Errors: [`RecordsError::Damaged`] with the first finding, or [`RecordsError::NewerFormat`].
pub fn refuse_damage(run_dir: &RunDir, arms: &[ArmId]) -> Result<(), RecordsError> {
    // Another version must read what this one can't.
    check_format(&run_dir.journal())?;
    check_format(&run_dir.bookmarks())?;
    for dir in arms.iter().map(|id| run_dir.arm(id)) {
        dir.check_formats()?;
        if let Err(newer @ RecordsError::NewerFormat { .. }) = CheckpointState::newest(&dir) {
            return Err(newer);
        }
    }
    let mut findings = verify_newest(run_dir, arms).into_iter();
    match findings.next() {
        None => Ok(()),
        Some(first) => Err(RecordsError::Damaged {
            run_dir: run_dir.path().to_owned(),
            first: Box::new(first),
            more: findings.len(),
        }),
    }
}

/// Makes the arms resumable, and says in one line each what was wrong and what is lost.
///
/// Errors: [`RecordsError::Read`] or [`RecordsError::Write`].
pub fn repair(run_dir: &RunDir, arms: &[ArmId]) -> Result<Vec<String>, RecordsError> {
    let findings = verify_newest(run_dir, arms);
    let mut done: Vec<String> = findings.iter().map(Finding::to_string).collect();
    for id in arms {
        let dir = run_dir.arm(id);
        if findings.iter().any(|finding| finding.file.starts_with(dir.path())) {
            done.push(format!("{id}: {}", repair_arm(&dir)?));
        }
    }
    let journal = run_dir.journal();
    let sum = run_dir.journal_sum();
    if findings.iter().any(|finding| finding.file == journal || finding.file == sum) {
        let removed = move_out(&journal, whole_lines(&journal)?)?;
        run_dir.seal_journal(&FileSum::of_file(&journal).unwrap_or_else(|_| FileSum::of(b"")))?;
        done.push(format!(
            "{}: {removed} bytes moved to {}; a replay can't repeat the changes in them",
            journal.display(),
            damaged(&journal).display()
        ));
    }
    Ok(done)
}

/// Takes an arm back to its newest checkpoint that is whole and whose records are; says in words what is lost.
fn repair_arm(dir: &ArmDir) -> Result<String, RecordsError> {
    let mut kept = None;
    let mut lost_from = None;
    for folder in dir.all_checkpoints()?.into_iter().rev() {
        if let Some(state) = whole(dir, &folder)? {
            kept = Some(state);
            break;
        }
        lost_from = lost_from.or(step_of(&folder));
        rename(&folder, &damaged(&folder))?;
    }
    let status = dir.status();
    if status.exists() {
        rename(&status, &damaged(&status))?;
    }
    let mut removed = 0;
    for file in ArmFile::ALL {
        let path = dir.file(file);
        let bytes = match kept.as_ref().map(|state| state.records.as_ref().map(|sums| sums.of(file).bytes)) {
            None => 0,
            Some(Some(bytes)) => bytes,
            // A checkpoint of an older version: its rows are found by their steps when it is resumed.
            Some(None) => continue,
        };
        removed += move_out(&path, bytes)?;
    }
    let step = kept.map_or(0, |state| state.progress.step);
    let until =
        lost_from.filter(|&lost| lost > step).map_or_else(String::new, |lost| format!(" up to {lost}"));
    Ok(format!(
        "goes on from step {step}; the steps after it{until} are taken again, and {removed} bytes of records were moved to \
         files named *.damaged"
    ))
}

/// The state of a checkpoint, if it and the records that belong to it are whole.
fn whole(dir: &ArmDir, folder: &Path) -> Result<Option<CheckpointState>, RecordsError> {
    let Ok(state) = verify::checkpoint(folder) else { return Ok(None) };
    for file in ArmFile::ALL {
        let path = dir.file(file);
        let finding = match &state.records {
            Some(sums) => fitting(&path, &[sums.of(file)]).map_err(RecordsError::reading(&path))?.1,
            // An older version knew no checksums.
            None => verify::first_wrong_line(file, &path)?,
        };
        if finding.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(state))
}

/// Number of bytes at the beginning of the journal that can be read as entries.
fn whole_lines(journal: &Path) -> Result<u64, RecordsError> {
    let mut whole = 0;
    each_complete_line(journal, |_, line| {
        let is_entry = serde_json::from_slice::<JournalEntry>(line).is_ok();
        whole += if is_entry { line.len() as u64 + 1 } else { 0 };
        is_entry
    })?;
    Ok(whole)
}

/// Cuts a file after `kept` bytes and appends what was behind them to `FILE.damaged`. Returns how many bytes that were.
fn move_out(path: &Path, kept: u64) -> Result<u64, RecordsError> {
    let copy = || {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            file => file?,
        };
        if file.metadata()?.len() <= kept {
            return Ok(0);
        }
        file.seek(SeekFrom::Start(kept))?;
        let mut beside = OpenOptions::new().create(true).append(true).open(damaged(path))?;
        let copied = io::copy(&mut file, &mut beside)?;
        beside.sync_all()?;
        Ok(copied)
    };
    let copied = copy().map_err(RecordsError::writing(path))?;
    if copied > 0 {
        cut(path, kept)?;
    }
    Ok(copied)
}

/// `FILE.damaged`.
fn damaged(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".damaged");
    path.with_file_name(name)
}

/// Renames; what an earlier repair left under that name is numbered.
fn rename(from: &Path, to: &Path) -> Result<(), RecordsError> {
    let mut free = to.to_owned();
    for number in 2.. {
        if !free.exists() {
            break;
        }
        free = to.with_extension(format!("damaged.{number}"));
    }
    std::fs::rename(from, &free).map_err(RecordsError::writing(&free))
}

/// The step that the name of a checkpoint's folder has.
fn step_of(checkpoint: &Path) -> Option<u64> {
    checkpoint.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}
