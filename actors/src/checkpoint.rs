//! Checkpoints of an arm: a Hugging Face directory with, beside it, what is needed to go on.
//!
//! A checkpoint is written under another name and renamed when it is whole, so a folder called `step-…` can be used.

use std::path::{Path, PathBuf};

use model::{ModelError, Policy};
use serde::{Deserialize, Serialize};

use crate::live::ConditionsRecord;
use crate::progress::Progress;
use crate::recorder::keep_lines;
use crate::records::Phase;
use crate::shelf::{NamedTensors, Published};

/// The optimizer's moments.
const OPTIMIZER: &str = "optimizer.safetensors";
/// What an arm records, line by line.
const RECORDS: [&str; 3] = ["metrics.jsonl", "rollouts.jsonl", "eval.jsonl"];
/// How far the arm had come.
const STATE: &str = "state.json";

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system's word.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// The state file can't be understood.
    #[error("{}: {source}; remove this checkpoint folder to go on from the one before", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The error.
        source: serde_json::Error,
    },
    /// Weights or moments could not be written or read.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What a checkpoint holds besides the policy and the optimizer's moments.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResumeState {
    /// Version of its weights.
    pub policy_version: u64,
    /// How far the arm had come.
    pub progress: Progress,
    /// What the next step is rewarded by, in arms that are trained by rewards.
    #[serde(default)]
    pub conditions: Option<ConditionsRecord>,
}

/// The folder of an arm's checkpoint at `step`.
pub fn folder(arm_dir: &Path, step: u64) -> PathBuf {
    arm_dir.join("checkpoints").join(format!("step-{step:06}"))
}

impl ResumeState {
    /// What an arm's newest checkpoint says, its tensors aside; `None` if there is none.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn newest(arm_dir: &Path) -> Result<Option<Self>, CheckpointError> {
        newest(arm_dir).as_deref().map(Self::read).transpose()
    }

    fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(STATE);
        let json =
            std::fs::read(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
        serde_json::from_slice(&json).map_err(|source| CheckpointError::State { path, source })
    }

    /// Writes a checkpoint into `folder`.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn write(
        &self,
        folder: &Path,
        policy: &Policy,
        moments: &NamedTensors,
    ) -> Result<(), CheckpointError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| CheckpointError::Io { path, source }
        };
        let draft = folder.with_extension("draft");
        remove(&draft).map_err(io(&draft))?;
        std::fs::create_dir_all(&draft).map_err(io(&draft))?;
        policy.save(&draft)?;
        model::checkpoint::write_tensors(&draft.join(OPTIMIZER), moments)?;
        let state = draft.join(STATE);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|source| CheckpointError::State { path: state.clone(), source })?;
        std::fs::write(&state, json).map_err(io(&state))?;
        remove(folder).map_err(io(folder))?;
        std::fs::rename(&draft, folder).map_err(io(folder))
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes all but the newest `keep` checkpoints of an arm.
///
/// # Errors
/// Whatever the file system says.
pub fn keep_newest(arm_dir: &Path, keep: usize) -> std::io::Result<()> {
    let mut folders = all(arm_dir)?;
    let surplus = folders.len().saturating_sub(keep.max(1));
    folders.drain(..surplus).try_for_each(|folder| remove(&folder))
}

/// All checkpoints of an arm, oldest first.
fn all(arm_dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(arm_dir.join("checkpoints")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let whole = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("step-") && path.extension().is_none()
    };
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(whole).collect();
    folders.sort();
    Ok(folders)
}

/// The folder of an arm's newest checkpoint.
pub fn newest(arm_dir: &Path) -> Option<PathBuf> {
    all(arm_dir).ok()?.pop()
}

/// An arm's newest checkpoint, and what was recorded after it removed, so that the steps are taken again.
///
/// # Errors
/// [`CheckpointError`].
pub fn resume(
    arm_dir: &Path,
    policy: &Policy,
) -> Result<Option<(PathBuf, ResumeState, Published)>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: arm_dir.to_owned(), source };
    let Some(folder) = all(arm_dir).map_err(io)?.pop() else { return Ok(None) };
    let state = ResumeState::read(&folder)?;
    let trainable = policy.read_trainable(&folder)?;
    let optimizer = model::checkpoint::read_tensors(&folder.join(OPTIMIZER))?;
    for file in RECORDS {
        keep_lines(&arm_dir.join(file), |line| state.progress.covers(file, line)).map_err(io)?;
    }
    let published = Published { policy_version: state.policy_version, trainable, optimizer };
    Ok(Some((folder, state, published)))
}

/// Forgets an arm's records, for one that begins again without a checkpoint.
///
/// # Errors
/// Whatever the file system says.
pub fn forget(arm_dir: &Path) -> std::io::Result<()> {
    RECORDS.iter().try_for_each(|file| keep_lines(&arm_dir.join(file), |_| false))
}

impl Progress {
    /// Whether a recorded line is of what had happened by then; what came later happens again.
    fn covers(&self, file: &str, line: &str) -> bool {
        #[derive(Deserialize)]
        struct Line {
            step: u64,
            phase: Option<Phase>,
        }
        serde_json::from_str::<Line>(line).is_ok_and(|line| {
            let of_evaluation = file == "eval.jsonl" || line.phase == Some(Phase::Eval);
            let done = !of_evaluation || self.evaluated == Some(self.step);
            line.step < self.step || (line.step == self.step && done)
        })
    }
}
