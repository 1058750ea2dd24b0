//! Writing and reading checkpoints: a Hugging Face directory plus the optimizer's moments and `state.json`.

use std::path::Path;

use model::Policy;
use records::{ArmDir, CheckpointState};

use crate::error::WorkerError;
use crate::weight_store::{NamedTensors, Published};

/// AdamW's moments.
const OPTIMIZER: &str = "optimizer.safetensors";

/// Writes a checkpoint into `folder`.
pub(crate) fn write_checkpoint(
    state: &CheckpointState,
    folder: &Path,
    policy: &Policy,
    moments: &NamedTensors,
) -> Result<(), WorkerError> {
    state.write(folder, |draft| {
        policy.save(draft)?;
        model::checkpoint::write_tensors(&draft.join(OPTIMIZER), moments)?;
        Ok(())
    })
}

/// Reads an arm's newest checkpoint, and removes the rows of the steps after it, which are taken again. `None` if there is
/// no checkpoint; then all rows are removed.
///
/// # Errors
/// [`WorkerError`].
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
    let optimizer = model::checkpoint::read_tensors(&folder.join(OPTIMIZER))?;
    arm_dir.cut_back_to(Some(&state.progress))?;
    let published = Published { policy_version: state.policy_version, trainable, optimizer };
    Ok(Some((state, published)))
}
