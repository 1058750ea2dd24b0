//! How the other ranks come to have rank 0's weights and moments.

use distributed::{Group, RankError};
use model::Policy;
use model::optim::{AdamW, OptimError};
use tch::Tensor;

use super::peers::sorted;
use crate::error::WorkerError;
use crate::weight_store::NamedTensors;

/// The name of AdamW's number of steps in its state.
const STEP: &str = "step";

/// Rank 0's moments, if it has any to send.
#[derive(Clone, Copy)]
pub(crate) struct Moments<'a> {
    pub(crate) adamw: &'a AdamW,
    /// Whether it was restored from a state, which the other ranks lack.
    pub(crate) restored: bool,
}

impl Moments<'_> {
    pub(super) fn steps_if_any(&self) -> Option<u64> {
        self.restored.then(|| self.adamw.steps())
    }

    fn tensors(&self) -> NamedTensors {
        moments(self.adamw)
    }
}

/// The tensors of an optimizer's state by name.
fn moments(adamw: &AdamW) -> NamedTensors {
    let mut state = adamw.state();
    state.retain(|(name, _)| name != STEP);
    state.sort_by(|(a, _), (b, _)| a.cmp(b));
    state
}

/// Rank 0: sends its weights, and its moments if it has any.
pub(crate) fn send_state(group: &mut Group, policy: &Policy, moments: Moments<'_>) -> Result<(), RankError> {
    let weights = sorted(policy).into_iter();
    let moments = if moments.restored { moments.tensors() } else { Vec::new() };
    for (_, tensor) in weights.chain(moments) {
        group.broadcast(&copy_for(group, &tensor))?;
    }
    Ok(())
}

/// A follower: takes rank 0's weights, and its moments if it sends some, after `steps`. `optimizer` makes AdamW of the policy
/// once it has its weights.
pub(crate) fn receive_state(
    group: &mut Group,
    policy: &Policy,
    steps: Option<u64>,
    optimizer: impl FnOnce() -> Result<AdamW, OptimError>,
) -> Result<AdamW, WorkerError> {
    let weights = sorted(policy);
    let received = receive(group, weights)?;
    policy.load_trainable(&received)?;
    let mut adamw = optimizer()?;
    if let Some(steps) = steps {
        let mut state = receive(group, moments(&adamw))?;
        state.push((STEP.to_owned(), Tensor::from(steps as i64)));
        adamw.load_state(&state)?;
    }
    Ok(adamw)
}

/// Rank 0's tensors of these names and shapes.
fn receive(group: &mut Group, like: NamedTensors) -> Result<NamedTensors, RankError> {
    let mut received = Vec::new();
    for (name, tensor) in like {
        let tensor = copy_for(group, &tensor);
        group.broadcast(&tensor)?;
        received.push((name, tensor));
    }
    Ok(received)
}

/// A copy in one piece, where the group's tensors must be.
fn copy_for(group: &Group, tensor: &Tensor) -> Tensor {
    tch::no_grad(|| tensor.detach().to_device(group.device()).contiguous().copy())
}
