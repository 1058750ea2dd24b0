//! Ends the thinking of a completion that has spent its budget of tokens, by forcing the closing tag.
//!
//! The tokens of the tag are not drawn, so the optimizer does not train on them ([`Completion::forced`]).
//! Budget forcing: <https://arxiv.org/abs/2501.19393>.
//!
//! [`Completion::forced`]: crate::Completion::forced

use std::ops::Range;

use crate::processor::Processor;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// The budgets of the completions of a batch.
pub(crate) struct ThinkBudget<'a> {
    processor: &'a Processor,
    /// Number of tokens after which thinking ends, counted from the beginning of the completion.
    tokens: usize,
    /// Token ids of the closing tag.
    close: Vec<i64>,
    /// Whether the completion was still thinking then.
    spent: Vec<bool>,
}

impl<'a> ThinkBudget<'a> {
    /// The budgets of `completions`; `None` if `tokens` is 0, which is no limit.
    pub(crate) fn new(processor: &'a Processor, tokens: usize, completions: usize) -> Option<Self> {
        let close = || processor.encode(CLOSE);
        (tokens > 0).then(|| ThinkBudget {
            processor,
            tokens,
            close: close(),
            spent: vec![false; completions],
        })
    }

    /// The places of the closing tag in the completions that get it.
    pub(crate) fn closes(&self) -> Range<usize> {
        self.tokens..self.tokens + self.close.len()
    }

    /// The id that follows `ids`, the tokens of this completion so far, if it is forced.
    pub(crate) fn forced(&mut self, completion: usize, ids: &[i64]) -> Option<i64> {
        let place = ids.len().checked_sub(self.tokens)?;
        if place == 0 {
            let text = self.processor.decode(ids);
            self.spent[completion] = text.contains(OPEN) && !text.contains(CLOSE);
        }
        self.close.get(place).copied().filter(|_| self.spent[completion])
    }

    /// The places of the forced tokens in a completion of this length.
    pub(crate) fn places(&self, completion: usize, length: usize) -> Range<usize> {
        match self.spent[completion] {
            true => self.tokens.min(length)..(self.tokens + self.close.len()).min(length),
            false => 0..0,
        }
    }
}
