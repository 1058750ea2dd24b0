//! Writes and reads checkpoints: a Hugging Face directory, with the optimizer's moments and `state.json` added.

use std::path::Path;

use model::Policy;
use records::{ArmDir, CheckpointState, WrittenCheckpoint};

use crate::error::WorkerError;
use crate::weight_store::{NamedTensors, Published};

/// File of AdamW's moments within the checkpoint's folder.
const OPTIMIZER_FILE: &str = "optimizer.safetensors";

/// Writes a checkpoint into `folder`, which is replaced if it exists.
pub(crate) fn write_checkpoint(
    state: &CheckpointState,
    folder: &Path,
    policy: &Policy,
    moments: &NamedTensors,
) -> Result<WrittenCheckpoint, WorkerError> {
    state.write(folder, |draft| {
        policy.save(draft)?;
        model::checkpoint::write_tensors(&draft.join(OPTIMIZER_FILE), moments)?;
        Ok(())
    })
}

/// Reads an arm's newest checkpoint, and removes the rows of later steps from the arm's files, because those steps are
/// repeated. Returns `None` if there is no checkpoint; then all rows are removed.
///
/// Errors: [`WorkerError`] if a file can't be read or written, or does not fit the policy.
pub fn resume_checkpoint(
    arm_dir: &ArmDir,
    policy: &Policy,
) -> Result<Option<(CheckpointState, Published)>, WorkerError> {
    let Some(folder) = arm_dir.newest_checkpoint() else {
        arm_dir.cut_back_to(None)?;
        return Ok(None);
    };
    let state = CheckpointState::read(&folder)?;
    let trainable = policy.read_trainable(&folder)?;
    let optimizer = model::checkpoint::read_tensors(&folder.join(OPTIMIZER_FILE))?;
    arm_dir.cut_back_to(Some(&state))?;
    let published = Published { policy_version: state.policy_version, trainable, optimizer };
    Ok(Some((state, published)))
}
