//! Totals of a whole batch, by which each of its micro-batches is divided.

/// What the losses divide by: totals of the WHOLE batch, so that its micro-batches' losses add up (`LOSS-2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalizer {
    /// Completions of the whole batch, those without tokens included.
    pub completions: usize,
    /// Completion tokens of the whole batch that the mask keeps.
    pub tokens: usize,
    /// Tokens that a completion may have at most (`max_new_tokens`); Dr. GRPO's constant length.
    pub max_completion_tokens: usize,
}

impl Normalizer {
    /// Totals of a batch from its completions' lengths in tokens (0 for a completion that is masked out).
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
