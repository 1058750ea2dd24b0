//! The totals of a whole batch, by which the losses of its micro-batches are divided.

use serde::{Deserialize, Serialize};

/// The divisors of the losses: totals of the whole batch, so that the losses of its micro-batches add up (`LOSS-2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalizer {
    /// Number of completions of the whole batch, including those without tokens.
    pub completions: usize,
    /// Number of unmasked completion tokens of the whole batch.
    pub tokens: usize,
    /// Most tokens that a completion may have (`max_new_tokens`), the constant length of Dr. GRPO.
    pub max_completion_tokens: usize,
}

impl Normalizer {
    /// The totals of a batch, from the lengths of its completions in tokens; 0 for a completion that is masked out.
    pub fn of_lengths(lengths: impl IntoIterator<Item = usize>, max_completion_tokens: usize) -> Self {
        let mut totals = Normalizer { completions: 0, tokens: 0, max_completion_tokens };
        for length in lengths {
            totals.completions += 1;
            totals.tokens += length;
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_out_completions_count_as_completions() {
        let totals = Normalizer::of_lengths([3, 0, 5], 8);
        assert_eq!(totals, Normalizer { completions: 3, tokens: 8, max_completion_tokens: 8 });
    }
}
