//! The forward and backward passes of a supervised step, micro-batch by micro-batch.

use std::borrow::Cow;

use model::loss::sft_loss;
use model::{Group, ModelError, Policy};
use serde::{Deserialize, Serialize};

use crate::peaks::Peaks;
use crate::train_group::SftGroup;

/// What a process needs to know of a supervised step for its share of the groups, which are all of them if it trains alone.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SftShare {
    /// Number of tokens of the whole step.
    pub(crate) tokens: usize,
    /// Number of micro-batches in the shares before it.
    pub(crate) first_micro_batch: usize,
    /// Learning rate.
    pub(crate) lr: f64,
}

/// Adds the gradients of the micro-batches of a share to those of the policy, and returns its part of the loss. `dropout_seed`
/// is called with the index of a micro-batch within the step.
pub(crate) fn sft_backward(
    policy: &Policy,
    micro_batches: &[Cow<'_, [SftGroup]>],
    share: &SftShare,
    dropout_seed: impl Fn(usize) -> u64,
    peaks: &mut Peaks,
) -> Result<f64, ModelError> {
    let mut total = 0.0;
    for (index, micro_batch) in micro_batches.iter().enumerate() {
        let packed: Vec<Group<'_>> = micro_batch.iter().map(SftGroup::packed).collect();
        let current = policy.forward(&packed, 1.0, dropout_seed(share.first_micro_batch + index))?;
        peaks.forward_ended();
        let loss = sft_loss(&current.logprobs, &current.mask, share.tokens);
        current.backward(&loss)?;
        peaks.backward_ended();
        #[cfg(test)]
        crate::fit::exhaust_above(micro_batch.iter().flat_map(|group| &group.targets).map(Vec::len).sum());
        total += loss.f_double_value(&[])?;
    }
    Ok(total)
}
