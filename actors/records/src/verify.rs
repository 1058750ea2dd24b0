//! Holds a run directory against its checksums, without changing anything.
//!
//! - `VERIFY-1` a change of any byte of a checkpoint, a `status.json` or the part of a record file that a checksum
//!   covers is found. What was appended after the last checksum, as by a run that was killed, is held against the format of
//!   its rows. What can be made again (`summary.*`, `report.html`) and what nothing is computed from (`run.log`,
//!   `environment.json`) is not covered; `scenario.toml` may be edited before a run is resumed.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::arm_file::ArmFile;
use crate::arm_id::ArmId;
use crate::bookmark::Bookmark;
use crate::checkpoint::CheckpointState;
use crate::checksum::FileSum;
use crate::damage::{Damage, Finding};
use crate::data_problem::DataProblem;
use crate::error::RecordsError;
use crate::evaluation::Evaluation;
use crate::journal::JournalEntry;
use crate::jsonl::each_complete_line;
use crate::manifest::Manifest;
use crate::metrics::StepMetrics;
use crate::record_sums::fitting;
use crate::rollout::Rollout;
use crate::run_dir::{ArmDir, RunDir};
use crate::sealed;
use crate::status::Status;

/// What was held against its checksums, and what does not fit.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Number of arms, each under one seed.
    pub arms: usize,
    /// Number of checkpoints.
    pub checkpoints: usize,
    /// In the order of the files.
    pub findings: Vec<Finding>,
}

/// Checks all records and checkpoints of a run directory.
///
/// Errors: [`RecordsError::Read`] if the directory can't be listed.
pub fn verify(run_dir: &RunDir) -> Result<Verified, RecordsError> {
    let mut verified = Verified::default();
    for (_, seeds) in run_dir.arms()? {
        for (_, dir) in seeds {
            let checkpoints = dir.all_checkpoints()?;
            verified.arms += 1;
            verified.checkpoints += checkpoints.len();
            verified.findings.extend(arm(&dir, &checkpoints));
        }
    }
    verified.findings.extend(journal(run_dir));
    verified.findings.extend(bookmarks(run_dir));
    Ok(verified)
}

/// Checks what resuming these arms builds on: their records and newest checkpoints, and the journal.
pub(crate) fn verify_newest(run_dir: &RunDir, arms: &[ArmId]) -> Vec<Finding> {
    let of_arm = |id: &ArmId| {
        let dir = run_dir.arm(id);
        let findings = arm(&dir, dir.newest_checkpoint().as_slice());
        // The checksums of the older checkpoints say more exactly where a record file is damaged.
        if findings.is_empty() { findings } else { arm(&dir, &dir.all_checkpoints().unwrap_or_default()) }
    };
    arms.iter().flat_map(of_arm).chain(journal(run_dir)).collect()
}

/// What is wrong with an arm: with some of its checkpoints, its status and its records.
fn arm(dir: &ArmDir, checkpoints: &[PathBuf]) -> Vec<Finding> {
    let (mut sums, mut findings) = (Vec::new(), Vec::new());
    for folder in checkpoints {
        match checkpoint(folder) {
            Ok(state) => sums.extend(state.records),
            // The run may have removed it since the folders were listed.
            Err(_) if !folder.exists() => {}
            Err(found) => findings.extend(found),
        }
    }
    match sealed_file::<Status>(&dir.status()) {
        Ok(status) => sums.extend(status.and_then(|status| status.records)),
        Err(finding) => findings.push(finding),
    }
    for file in ArmFile::ALL {
        let sums = sums.iter().map(|sums| sums.of(file)).collect();
        findings.extend(grown_file(&dir.file(file), sums, |path| first_wrong_line(file, path)));
    }
    findings
}

fn journal(run_dir: &RunDir) -> Vec<Finding> {
    let (sums, mut findings) = match sealed_file::<FileSum>(&run_dir.journal_sum()) {
        Ok(sum) => (sum.into_iter().collect(), Vec::new()),
        Err(finding) => (Vec::new(), vec![finding]),
    };
    let of_lines = |path: &Path| lines_of::<JournalEntry>(path, "an entry of a journal", Order::Any);
    findings.extend(grown_file(&run_dir.journal(), sums, of_lines));
    findings
}

/// Bookmarks have no checksum: they are held against their format. Nothing is computed from them, so a resume does not mind.
fn bookmarks(run_dir: &RunDir) -> Option<Finding> {
    let path = run_dir.bookmarks();
    let lines = lines_of::<Bookmark>(&path, "a bookmark", Order::Any);
    lines.unwrap_or_else(|error| Some(Finding::in_file(&path, Damage::Unreadable(error.to_string()))))
}

/// The state of a checkpoint that is whole.
///
/// Errors: All differences to its manifest.
pub(crate) fn checkpoint(folder: &Path) -> Result<CheckpointState, Vec<Finding>> {
    let manifest = Manifest::read(folder).map_err(|finding| vec![finding])?;
    if let Some(manifest) = &manifest {
        let differences = manifest.differences(folder, true);
        if !differences.is_empty() {
            return Err(differences);
        }
    }
    let unreadable =
        |error: RecordsError| vec![Finding::in_file(folder, Damage::Unreadable(error.to_string()))];
    let state = CheckpointState::read(folder).map_err(unreadable)?;
    if state.records.is_some() && manifest.is_none() {
        return Err(vec![Finding::in_file(&folder.join(Manifest::FILE), Damage::Missing)]);
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let step = state.progress.step;
    if ArmDir::checkpoint_name(step) != name {
        return Err(vec![Finding::in_file(folder, Damage::OtherStep { step })]);
    }
    Ok(state)
}

/// The content of a file with a checksum of its own; `None` if there is no such file, or it is of an older version.
fn sealed_file<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Finding> {
    let json = match std::fs::read(path) {
        Ok(json) => json,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Finding::in_file(path, Damage::of_reading(&error))),
    };
    match sealed::is_whole(&json) {
        Some(true) => Ok(serde_json::from_slice(&json).ok()),
        Some(false) => Err(Finding::in_file(path, Damage::Edited)),
        None => Ok(None),
    }
}

/// What is wrong with a file that grows: a line, or else the part between two checksums.
fn grown_file(
    path: &Path,
    mut sums: Vec<FileSum>,
    lines: impl Fn(&Path) -> Result<Option<Finding>, RecordsError>,
) -> Vec<Finding> {
    sums.sort_by_key(|sum| sum.bytes);
    let unreadable = |error: String| Finding::in_file(path, Damage::Unreadable(error));
    let in_lines = lines(path).unwrap_or_else(|error| Some(unreadable(error.to_string())));
    let in_sums = match fitting(path, &sums) {
        Ok((_, finding)) => finding,
        Err(error) => Some(unreadable(error.to_string())),
    };
    in_lines.or(in_sums).into_iter().collect()
}

/// How the steps of successive lines follow each other.
#[derive(Clone, Copy)]
enum Order {
    /// One line per step.
    Successive,
    /// Several lines per step, never of an earlier one.
    Rising,
    Any,
}

/// The first line of an arm's file that is wrong.
pub(crate) fn first_wrong_line(file: ArmFile, path: &Path) -> Result<Option<Finding>, RecordsError> {
    match file {
        ArmFile::Metrics => lines_of::<StepMetrics>(path, "a line of metrics", Order::Successive),
        ArmFile::Rollouts => lines_of::<Rollout>(path, "a completion", Order::Rising),
        ArmFile::Evaluations => lines_of::<Evaluation>(path, "an evaluation", Order::Rising),
        ArmFile::DataProblems => lines_of::<DataProblem>(path, "a row that can't be used", Order::Any),
    }
}

fn lines_of<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
    order: Order,
) -> Result<Option<Finding>, RecordsError> {
    #[derive(serde::Deserialize)]
    struct Step {
        step: u64,
    }
    let (mut finding, mut last) = (None, None);
    each_complete_line(path, |number, line| {
        let wrong = |damage| Some(Finding::in_lines(path, number, number, damage));
        let row = serde_json::from_slice::<T>(line).and_then(|_| serde_json::from_slice::<Step>(line));
        finding = match (row, last, order) {
            (Err(error), ..) => wrong(Damage::Line { expected, reason: error.to_string() }),
            (Ok(Step { step }), Some(last), Order::Successive | Order::Rising) if step < last => {
                wrong(Damage::StepAgain { last, found: step })
            }
            (Ok(Step { step }), Some(last), Order::Successive) if step == last => {
                wrong(Damage::StepAgain { last, found: step })
            }
            (Ok(Step { step }), last, Order::Successive) if step != last.unwrap_or(0) + 1 => {
                wrong(Damage::StepMissing { expected: last.unwrap_or(0) + 1, found: step })
            }
            (Ok(Step { step }), ..) => {
                last = Some(step);
                None
            }
        };
        finding.is_none()
    })?;
    Ok(finding)
}
