//! The forward and backward passes of a supervised step, micro-batch by micro-batch.

use model::loss::sft_loss;
use model::{Group, ModelError, Policy};
use serde::{Deserialize, Serialize};

use crate::train_group::SftGroup;

/// What a process needs to know of a supervised step for its share of the groups, which are all of them if it trains alone.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SftShare {
    /// Number of tokens of the whole step.
    pub(crate) tokens: usize,
    /// Prompts per micro-batch; 0 for all at once.
    pub(crate) micro_batch_prompts: usize,
    /// Number of micro-batches in the shares before it.
    pub(crate) first_micro_batch: usize,
    /// Learning rate.
    pub(crate) lr: f64,
}

/// Adds the gradients of the share to those of the policy, and returns its part of the loss. `dropout_seed` is called with the
/// index of a micro-batch within the step.
pub(crate) fn sft_backward(
    policy: &Policy,
    groups: &[SftGroup],
    share: &SftShare,
    dropout_seed: impl Fn(usize) -> u64,
) -> Result<f64, ModelError> {
    let size = if share.micro_batch_prompts == 0 { groups.len() } else { share.micro_batch_prompts };
    let mut total = 0.0;
    for (index, micro_batch) in groups.chunks(size.max(1)).enumerate() {
        let packed: Vec<Group<'_>> = micro_batch.iter().map(SftGroup::packed).collect();
        let current = policy.forward(&packed, 1.0, dropout_seed(share.first_micro_batch + index))?;
        let loss = sft_loss(&current.logprobs, &current.mask, share.tokens);
        current.backward(&loss)?;
        total += loss.f_double_value(&[])?;
    }
    Ok(total)
}
