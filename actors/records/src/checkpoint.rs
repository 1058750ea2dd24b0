//! The checkpoints of an arm: where they are, `state.json` within them, and the records that belong to them.
//!
//! A checkpoint is written under another name and renamed when it is complete, so a folder called `step-…` can always
//! be used. The tensors within are written and read by the optimizer (`checkpoint.rs` of the crate `workers`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::conditions::ConditionsRecord;
use crate::error::RecordsError;
use crate::files::keep_lines;
use crate::format::FormatVersion;
use crate::groups::GroupCounts;
use crate::health::Health;
use crate::jsonl::refuse_newer;
use crate::rollout::Phase;
use crate::run_dir::{ArmDir, ArmFile};

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

    /// Writes `folder` whole: `write_tensors` fills a draft of it, to which the state is added. An older checkpoint of
    /// this name is replaced.
    ///
    /// Errors: That of `write_tensors`, or [`RecordsError::Write`].
    pub fn write<E: From<RecordsError>>(
        &self,
        folder: &Path,
        write_tensors: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let draft = folder.with_extension("draft");
        remove(&draft)?;
        std::fs::create_dir_all(&draft).map_err(RecordsError::writing(&draft))?;
        write_tensors(&draft)?;
        let state = draft.join(Self::FILE);
        let json = serde_json::to_vec_pretty(self).expect("text keys and numbers");
        std::fs::write(&state, json).map_err(RecordsError::writing(&state))?;
        remove(folder)?;
        std::fs::rename(&draft, folder).map_err(RecordsError::writing(folder))?;
        Ok(())
    }
}

fn remove(folder: &Path) -> Result<(), RecordsError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(RecordsError::Write { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

impl ArmDir {
    /// All complete checkpoints, oldest first.
    fn all_checkpoints(&self) -> Result<Vec<PathBuf>, RecordsError> {
        let path = self.checkpoints();
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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

    /// Removes all but the newest `keep` checkpoints; at least one stays.
    ///
    /// Errors: [`RecordsError`].
    pub fn keep_newest_checkpoints(&self, keep: usize) -> Result<(), RecordsError> {
        let mut folders = self.all_checkpoints()?;
        let surplus = folders.len().saturating_sub(keep.max(1));
        folders.drain(..surplus).try_for_each(|folder| remove(&folder))
    }

    /// Removes the rows of steps after `progress`, which a resumed arm takes again. `None` removes all rows, for an arm
    /// that begins again without a checkpoint.
    ///
    /// Errors: [`RecordsError::Write`], or [`RecordsError::NewerFormat`] before any row is removed.
    pub fn cut_back_to(&self, progress: Option<&Progress>) -> Result<(), RecordsError> {
        self.check_formats()?;
        let keep = |file, line: &str| progress.is_some_and(|progress| progress.covers(file, line));
        ArmFile::ALL.iter().try_for_each(|&file| keep_lines(&self.file(file), |line| keep(file, line)))
    }
}

impl Progress {
    /// Whether a row is of something that had happened by then.
    fn covers(&self, file: ArmFile, line: &str) -> bool {
        #[derive(Deserialize)]
        struct Row {
            step: u64,
            phase: Option<Phase>,
        }
        serde_json::from_str::<Row>(line).is_ok_and(|row| {
            let of_evaluation = file == ArmFile::Evaluations || row.phase == Some(Phase::Eval);
            let done = !of_evaluation || self.evaluated == Some(self.step);
            row.step < self.step || (row.step == self.step && done)
        })
    }
}
