//! The checkpoints of an arm: where they are, `state.json` within them, and the records that belong to them.
//!
//! A checkpoint is written under another name and renamed when it is complete, so a folder called `step-…` can always
//! be used. The tensors within are written and read by the optimizer (`checkpoint.rs` of the crate `workers`).

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::alarms::AlarmMemory;
use crate::arm_file::ArmFile;
use crate::conditions::ConditionsRecord;
use crate::error::RecordsError;
use crate::files::{cut, replace_file};
use crate::format::FormatVersion;
use crate::groups::GroupCounts;
use crate::health::Health;
use crate::jsonl::{each_complete_line, refuse_newer};
use crate::manifest::{Manifest, sync};
use crate::record_sums::RecordSums;
use crate::rollout::Phase;
use crate::run_dir::ArmDir;

/// How far an arm has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Training steps taken when it was written.
    pub step: u64,
    /// The step after which it was last evaluated. A resumed arm makes an evaluation that a stop interrupted.
    pub evaluated: Option<u64>,
    /// The groups of all steps so far.
    pub groups: GroupCounts,
    /// The health of the policy.
    #[serde(default)]
    pub health: Health,
    /// What the arm remembers of its alarms.
    #[serde(default, skip_serializing_if = "AlarmMemory::is_empty")]
    pub alarms: AlarmMemory,
}

/// What a checkpoint holds besides tensors: the content of its `state.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CheckpointState {
    /// The format of the checkpoint.
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    /// Optimizer steps that made its weights.
    pub policy_version: u64,
    /// How far the arm had come.
    pub progress: Progress,
    /// The conditions of the next step, in arms that are trained by rewards.
    #[serde(default)]
    pub conditions: Option<ConditionsRecord>,
    /// The arm's records at that moment; absent in checkpoints of older versions.
    #[serde(default)]
    pub records: Option<RecordSums>,
}

impl CheckpointState {
    const FILE: &str = "state.json";

    /// Reads the state of the checkpoint in `folder`.
    ///
    /// Errors: [`RecordsError`].
    pub fn read(folder: &Path) -> Result<Self, RecordsError> {
        let path = folder.join(Self::FILE);
        let json = std::fs::read(&path).map_err(RecordsError::reading(&path))?;
        refuse_newer(&path, &json)?;
        serde_json::from_slice(&json).map_err(|source| RecordsError::CheckpointState { path, source })
    }

    /// The state of an arm's newest checkpoint; `None` if there is no checkpoint.
    ///
    /// Errors: [`RecordsError`].
    pub fn newest(arm_dir: &ArmDir) -> Result<Option<Self>, RecordsError> {
        arm_dir.newest_checkpoint().as_deref().map(Self::read).transpose()
    }

    /// Writes `folder` whole: `write_tensors` fills a draft of it, to which the state and a manifest are added. The folder
    /// has its name only when all of it is on the disk. An older checkpoint of this name is replaced.
    ///
    /// Errors: That of `write_tensors`, or [`RecordsError::Write`].
    pub fn write<E: From<RecordsError>>(
        &self,
        folder: &Path,
        write_tensors: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<WrittenCheckpoint, E> {
        let draft = folder.with_extension("draft");
        remove(&draft)?;
        create(&draft)?;
        write_tensors(&draft)?;
        let state = draft.join(Self::FILE);
        let json = serde_json::to_vec_pretty(self).expect("text keys and numbers");
        std::fs::write(&state, json).map_err(RecordsError::writing(&state))?;
        let manifest = Manifest::write(&draft)?;
        remove(folder)?;
        std::fs::rename(&draft, folder).map_err(RecordsError::writing(folder))?;
        sync(folder.parent().unwrap_or(folder)).map_err(RecordsError::writing(folder))?;
        Ok(WrittenCheckpoint { folder: folder.to_owned(), manifest })
    }
}

/// A checkpoint that this process wrote or resumed from.
#[derive(Clone, Debug)]
pub struct WrittenCheckpoint {
    folder: PathBuf,
    manifest: Manifest,
}

impl WrittenCheckpoint {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Checks that nobody has removed or replaced it since; compares the manifest and the lengths of the files.
    ///
    /// Errors: [`RecordsError::Gone`].
    pub fn is_still_there(&self) -> Result<(), RecordsError> {
        let same = Manifest::read(&self.folder).is_ok_and(|found| found.as_ref() == Some(&self.manifest));
        let whole = same && self.manifest.differences(&self.folder, false).is_empty();
        if whole { Ok(()) } else { Err(RecordsError::Gone { path: self.folder.clone() }) }
    }

    /// Reads all of it again, before older checkpoints are removed.
    ///
    /// Errors: [`RecordsError::Gone`].
    fn verify(&self) -> Result<(), RecordsError> {
        self.is_still_there()?;
        let whole = self.manifest.differences(&self.folder, true).is_empty();
        if whole { Ok(()) } else { Err(RecordsError::Gone { path: self.folder.clone() }) }
    }
}

/// Creates the folder of a checkpoint, and the one around it. The arm's own folder must exist: one that was removed
/// while the arm trains is not made again.
fn create(folder: &Path) -> Result<(), RecordsError> {
    let around = folder.parent().unwrap_or(Path::new("."));
    match std::fs::create_dir(around) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(RecordsError::writing(around)(error));
        }
        _ => {}
    }
    std::fs::create_dir(folder).map_err(RecordsError::writing(folder))
}

fn remove(folder: &Path) -> Result<(), RecordsError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RecordsError::Write { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

impl ArmDir {
    /// All complete checkpoints, oldest first.
    pub(crate) fn all_checkpoints(&self) -> Result<Vec<PathBuf>, RecordsError> {
        let path = self.checkpoints();
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(RecordsError::reading(&path))?,
        };
        let complete = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("step-") && path.extension().is_none()
        };
        let mut folders: Vec<PathBuf> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(complete).collect();
        folders.sort();
        Ok(folders)
    }

    /// The folder of the newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<PathBuf> {
        self.all_checkpoints().ok()?.pop()
    }

    /// The steps of all checkpoints, in ascending order.
    pub fn checkpoint_steps(&self) -> Vec<u64> {
        let name = |folder: &PathBuf| folder.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
        self.all_checkpoints().unwrap_or_default().iter().filter_map(name).collect()
    }

    /// The newest checkpoint as it is on the disk; `None` if there is none, or it has no manifest, as those of older
    /// versions.
    pub fn newest_written(&self) -> Option<WrittenCheckpoint> {
        let folder = self.newest_checkpoint()?;
        Some(WrittenCheckpoint { manifest: Manifest::read(&folder).ok()??, folder })
    }

    /// Removes all but the newest `keep` checkpoints, once `newest` was read again and is whole; at least one stays.
    ///
    /// Errors: [`RecordsError`].
    pub fn keep_newest_checkpoints(
        &self,
        keep: usize,
        newest: &WrittenCheckpoint,
    ) -> Result<(), RecordsError> {
        let mut folders = self.all_checkpoints()?;
        let surplus = folders.len().saturating_sub(keep.max(1));
        if surplus > 0 {
            newest.verify()?;
        }
        folders.drain(..surplus).try_for_each(|folder| remove(&folder))
    }

    /// Removes the rows of steps after a checkpoint, which a resumed arm takes again. `None` removes all rows, for an arm
    /// that begins again without a checkpoint.
    ///
    /// Errors: [`RecordsError::Write`]; [`RecordsError::NewerFormat`] or [`RecordsError::Line`] before any row is removed.
    pub fn cut_back_to(&self, checkpoint: Option<&CheckpointState>) -> Result<(), RecordsError> {
        self.check_formats()?;
        let kept = match checkpoint {
            None => ArmFile::ALL.map(|file| (file, 0)).to_vec(),
            Some(state) => self.lengths_at(state)?,
        };
        // The status must not promise more than is there, if the process is killed between these writes.
        if let Some(mut status) = self.read_status()? {
            status.records = Some(checkpoint.and_then(|state| state.records.clone()).unwrap_or_default());
            replace_file(&self.status(), status.to_text().as_bytes())?;
        }
        kept.iter().try_for_each(|(file, bytes)| cut(&self.file(*file), *bytes))
    }

    /// The length in bytes that each of the arm's files had when a checkpoint was written.
    ///
    /// Errors: [`RecordsError`]: the checkpoint knows no lengths, and a row can't be read.
    pub(crate) fn lengths_at(&self, state: &CheckpointState) -> Result<Vec<(ArmFile, u64)>, RecordsError> {
        let length = |file| {
            let bytes = match &state.records {
                Some(sums) => sums.of(file).bytes,
                None => state.progress.bytes_covered(file, &self.file(file))?,
            };
            Ok((file, bytes))
        };
        ArmFile::ALL.into_iter().map(length).collect()
    }
}

impl Progress {
    /// The length of the lines that had been written by then, found by their steps. For checkpoints of older versions,
    /// which know no lengths.
    fn bytes_covered(&self, file: ArmFile, path: &Path) -> Result<u64, RecordsError> {
        let (mut bytes, mut wrong) = (0, None);
        each_complete_line(path, |line, row| {
            let covered = self.covers(file, row).unwrap_or_else(|source| {
                let expected = "a row with a step";
                wrong = Some(RecordsError::Line { path: path.to_owned(), line, expected, source });
                false
            });
            bytes += if covered { row.len() as u64 + 1 } else { 0 };
            covered
        })?;
        wrong.map_or(Ok(bytes), Err)
    }

    /// Whether a row is of something that had happened by then.
    fn covers(&self, file: ArmFile, row: &[u8]) -> Result<bool, serde_json::Error> {
        #[derive(Deserialize)]
        struct Row {
            step: u64,
            phase: Option<Phase>,
        }
        let row: Row = serde_json::from_slice(row)?;
        let of_evaluation = file == ArmFile::Evaluations || row.phase == Some(Phase::Eval);
        let done = !of_evaluation || self.evaluated == Some(self.step);
        Ok(row.step < self.step || (row.step == self.step && done))
    }
}
