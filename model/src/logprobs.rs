//! Log-probabilities of given completions.
//!
//! [`logprobs`] computes them without gradients, for the reference. `forward.rs` uses the same [`Pass`] to compute them
//! with gradients, for the learner.
//!
//! - `LOGP-1` A prompt is computed once for all its completions, forward and backward ([`GroupAttention`]). The result
//!   is the same as for one sequence per completion.
//! - `LOGP-2` Only hidden states that predict a token of a completion are projected onto the vocabulary, a chunk of
//!   rows at a time.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::decoder::attention::{CompletionRows, GroupAttention};
use crate::decoder::rope::Angles;
use crate::error::{InputError, ModelError};
use crate::memory::no_grad;
use crate::network::{Network, PromptBatch};
use crate::processor::Prompt;

/// Most logits in memory at once, as a number of elements: 256 MB in f32.
pub(crate) const CHUNK: i64 = 1 << 26;

/// Most logits of which the entropy is computed at once, as a number of elements: 1 MB in f32, which fits into a cache.
const ENTROPY_CHUNK: i64 = 1 << 18;

/// Whether the entropies of the tokens are computed beside their log-probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entropies {
    /// No.
    Off,
    /// Yes, as constants.
    Measured,
    /// Yes, with gradients.
    Differentiated,
}

/// A prompt and some of its completions.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// The prompt that all of `completions` follow.
    pub prompt: &'a Prompt,
    /// The token ids of each completion, including the end-of-sequence token if it has one.
    pub completions: Vec<&'a [i64]>,
}

/// The log-probabilities of all tokens of some groups' completions.
#[derive(Debug)]
pub struct GroupLogprobs {
    /// `[N, T]`, f32: one row for each completion, in the order of the groups, padded on the right with
    /// zeros to the longest.
    pub logprobs: Tensor,
    /// `[N, T]`, bool: true for tokens, false for padding.
    pub mask: Tensor,
}

/// A pass over some groups: their prompts, and the layout of their completions.
pub(crate) struct Pass {
    pub(crate) batch: PromptBatch,
    pub(crate) layout: Layout,
}

/// The rows of the decoder, and the tokens that they predict.
///
/// The rows of the prompts, padded on the left, come first; those of the completions follow. The last token of a
/// completion is left out, because its hidden state predicts no token. Short completions of the same prompt share a row
/// of slots, each with positions that continue those of the prompt.
pub(crate) struct Layout {
    /// Token ids of all rows; 0 for padding.
    pub(crate) ids: Vec<i64>,
    /// Position of each id in its sequence.
    positions: Vec<i64>,
    /// For each row of completions, the index of its prompt.
    prompts: Vec<i64>,
    /// For each slot of these rows, the number of its completion plus 1; 0 for padding.
    segments: Vec<i64>,
    /// Number of slots in a row of completions.
    slots: i64,
    /// Indices of the ids whose hidden states predict a token of a completion.
    sources: Vec<i64>,
    /// The token that each of `sources` predicts.
    targets: Vec<i64>,
    /// The flat index in `[N, T]` of each predicted token's log-probability.
    destinations: Vec<i64>,
    /// Number of completions, `N`.
    completions: i64,
    /// Length of the longest completion, `T`.
    longest: i64,
}

impl Layout {
    fn new(batch: &PromptBatch, groups: &[Group<'_>]) -> Layout {
        let lengths =
            || groups.iter().flat_map(|group| &group.completions).map(|completion| completion.len() as i64);
        let longest = lengths().max().unwrap_or(0);
        let mut layout = Layout {
            ids: batch.ids.clone(),
            positions: batch.positions.clone(),
            prompts: Vec::new(),
            segments: Vec::new(),
            slots: (longest - 1).max(0),
            sources: Vec::new(),
            targets: Vec::new(),
            destinations: Vec::new(),
            completions: lengths().count() as i64,
            longest,
        };
        let mut number = 0;
        for (prompt, group) in (0i64..).zip(groups) {
            let rows = pack(&group.completions, layout.slots as usize);
            for row in rows {
                for &index in &row {
                    layout.push(batch, prompt, group.completions[index], number + index as i64);
                }
                layout.end_row(prompt);
            }
            number += group.completions.len() as i64;
        }
        layout
    }

    /// Appends a completion to the current row.
    fn push(&mut self, batch: &PromptBatch, prompt: i64, completion: &[i64], number: i64) {
        let first = self.ids.len() as i64;
        let inputs = &completion[..completion.len().saturating_sub(1)];
        self.ids.extend(inputs);
        self.positions.extend((batch.lengths[prompt as usize]..).take(inputs.len()));
        self.segments.extend(std::iter::repeat_n(number + 1, inputs.len()));
        for (offset, &target) in (0i64..).zip(completion) {
            // The first token is predicted by the last row of the prompt, which is never padding.
            let last_of_prompt = (prompt + 1) * batch.rows.length - 1;
            self.sources.push(if offset == 0 { last_of_prompt } else { first + offset - 1 });
            self.targets.push(target);
            self.destinations.push(number * self.longest + offset);
        }
    }

    /// Pads the current row of completions, which belongs to this prompt.
    fn end_row(&mut self, prompt: i64) {
        self.prompts.push(prompt);
        let end = self.prompts.len() * self.slots as usize;
        let padding = end - self.segments.len();
        self.segments.resize(end, 0);
        self.ids.extend(std::iter::repeat_n(0, padding));
        self.positions.extend(std::iter::repeat_n(0, padding));
    }
}

/// Distributes completions to rows of `slots` slots: the longest first, each into the first row with enough room.
/// Returns the completions' indices by row.
fn pack(completions: &[&[i64]], slots: usize) -> Vec<Vec<usize>> {
    let needed = |index: usize| completions[index].len().saturating_sub(1);
    let mut order: Vec<usize> = (0..completions.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(needed(index)));
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for index in order {
        match rows.iter_mut().find(|(room, _)| *room >= needed(index)) {
            Some((room, row)) => {
                *room -= needed(index);
                row.push(index);
            }
            None => rows.push((slots - needed(index), vec![index])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The log-probabilities under the temperature-scaled distribution, without gradients.
pub(crate) fn logprobs(
    model: &Network,
    groups: &[Group<'_>],
    temperature: f64,
) -> Result<GroupLogprobs, ModelError> {
    let _guard = tch::no_grad_guard();
    let pass = Pass::new(model, groups)?;
    let x = model.embed(&pass.layout.ids, &pass.batch);
    let hidden = pass
        .with_attention(model, |angles, attention, keep| model.decoder.run(x, angles, attention, Some(keep)));
    let parts = pass.chunks(model, CHUNK).into_iter();
    let parts: Vec<Tensor> =
        parts.map(|rows| pass.token_logprobs(model, &take(&hidden, &rows), &rows, temperature)).collect();
    Ok(pass.arrange(model, &Tensor::cat(&parts, 0)))
}

/// A range of rows of a tensor.
pub(crate) fn take(x: &Tensor, rows: &Range<i64>) -> Tensor {
    x.narrow(0, rows.start, rows.end - rows.start)
}

impl Pass {
    /// Checks the groups and lays them out. The clips' features have gradients if the tower takes gradients in this
    /// model and autograd records them.
    pub(crate) fn new(model: &Network, groups: &[Group<'_>]) -> Result<Pass, ModelError> {
        for (index, group) in groups.iter().enumerate() {
            for completion in &group.completions {
                model.check_ids(completion, || format!("a completion of group {index}"))?;
            }
        }
        let prompts: Vec<&Prompt> = groups.iter().map(|group| group.prompt).collect();
        let batch = model.batch(&prompts)?;
        let layout = Layout::new(&batch, groups);
        if layout.targets.is_empty() {
            return Err(InputError::NoCompletionTokens.into());
        }
        // Each prompt with its own completions: a long prompt and another's long completion are no sequence.
        let longest =
            |group: &Group<'_>| group.completions.iter().map(|ids| ids.len() as i64).max().unwrap_or(0);
        let lengths = groups.iter().zip(&batch.lengths).map(|(group, prompt)| prompt + longest(group));
        model.check_length(lengths.max().unwrap_or(0))?;
        Ok(Pass { batch, layout })
    }

    /// Calls `run` with the inputs of the decoder's layers: the angles, the attention, and the rows whose hidden
    /// states predict a token.
    pub(crate) fn with_attention<T>(
        &self,
        model: &Network,
        run: impl FnOnce(&Angles, &mut GroupAttention<'_>, &Tensor) -> T,
    ) -> T {
        let Pass { batch, layout } = self;
        let shape = [layout.prompts.len() as i64, layout.slots];
        let completions = CompletionRows {
            prompts: model.upload(&layout.prompts),
            segments: model.upload(&layout.segments).view(shape),
        };
        let options = (model.kind(), model.device());
        let mut attention = GroupAttention::new(&batch.rows, &completions, model.decoder.sizes, options);
        let angles = model.decoder.angles(&model.upload(&layout.positions));
        run(&angles, &mut attention, &model.upload(&layout.sources))
    }

    /// Splits the predicted tokens into ranges with at most `most_logits` logits each, but at least one token.
    pub(crate) fn chunks(&self, model: &Network, most_logits: i64) -> Vec<Range<i64>> {
        let tokens = self.layout.targets.len() as i64;
        let size = (most_logits / model.config.text.vocab_size).max(1);
        (0..tokens).step_by(size as usize).map(|from| from..tokens.min(from + size)).collect()
    }

    /// The log-probabilities of the predicted tokens of one chunk, and the entropies of the distributions that they are
    /// drawn from, in nats.
    ///
    /// Shapes: `hidden: [tokens of the chunk, hidden]`, in the model's dtype → `[tokens of the chunk]`, f32, each
    pub(crate) fn token_statistics(
        &self,
        model: &Network,
        hidden: &Tensor,
        chunk: &Range<i64>,
        temperature: f64,
        entropies: Entropies,
    ) -> (Tensor, Option<Tensor>) {
        if entropies == Entropies::Off {
            return (self.token_logprobs(model, hidden, chunk, temperature), None);
        }
        let targets = model.upload(&self.layout.targets[chunk.start as usize..chunk.end as usize]);
        // The two steps of `cross_entropy_loss`, whose intermediate result has the whole distribution.
        let all = model.decoder.project(hidden, temperature).log_softmax(-1, None);
        let logprobs = -all.g_nll_loss(&targets, None::<&Tensor>, tch::Reduction::None, -100);
        let entropies = match entropies {
            Entropies::Differentiated => -(all.exp() * &all).sum_dim_intlist([-1].as_slice(), false, None),
            Entropies::Off | Entropies::Measured => no_grad(|| entropies_of(&all.detach())),
        };
        (logprobs, Some(entropies))
    }

    /// The log-probabilities of the predicted tokens of one chunk.
    ///
    /// Shapes: `hidden: [tokens of the chunk, hidden]`, in the model's dtype → `[tokens of the chunk]`, f32
    pub(crate) fn token_logprobs(
        &self,
        model: &Network,
        hidden: &Tensor,
        chunk: &Range<i64>,
        temperature: f64,
    ) -> Tensor {
        let targets = model.upload(&self.layout.targets[chunk.start as usize..chunk.end as usize]);
        let logits = model.decoder.project(hidden, temperature);
        -logits.cross_entropy_loss(&targets, None::<&Tensor>, tch::Reduction::None, -100, 0.0)
    }

    /// Arranges the log-probabilities of all predicted tokens by completion.
    ///
    /// Shapes: `logprobs: [tokens]`, f32 → `[N, T]`
    pub(crate) fn arrange(&self, model: &Network, logprobs: &Tensor) -> GroupLogprobs {
        let shape = [self.layout.completions, self.layout.longest];
        let destinations = model.upload(&self.layout.destinations);
        let blank = Tensor::zeros([shape[0] * shape[1]], (Kind::Float, model.device()));
        let mask = blank.index_fill(0, &destinations, 1.0).to_kind(Kind::Bool);
        GroupLogprobs {
            logprobs: blank.index_copy(0, &destinations, logprobs).view(shape),
            mask: mask.view(shape),
        }
    }

    /// Arranges other numbers of all predicted tokens in the same way.
    ///
    /// Shapes: `numbers: [tokens]`, f32 → `[N, T]`
    pub(crate) fn arrange_numbers(&self, model: &Network, numbers: &Tensor) -> Tensor {
        self.arrange(model, numbers).logprobs
    }
}

/// The entropies of some distributions. They are computed a few rows at a time, which is faster and needs less memory.
///
/// Shapes: `logprobs: [rows, vocabulary]`, f32 → `[rows]`
fn entropies_of(logprobs: &Tensor) -> Tensor {
    let (rows, vocab) = (logprobs.size()[0], logprobs.size()[1]);
    let size = (ENTROPY_CHUNK / vocab).clamp(1, rows.max(1));
    let of_part = |from: i64| {
        let part = logprobs.narrow(0, from, size.min(rows - from));
        let mut weighted = part.exp();
        let _ = weighted.g_mul_(&part);
        -weighted.sum_dim_intlist([-1].as_slice(), false, None)
    };
    let parts: Vec<Tensor> = (0..rows).step_by(size as usize).map(of_part).collect();
    Tensor::cat(&parts, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_completions_share_a_row() {
        // A completion needs one slot less than it has tokens: 5, 2, 3, 0 and 1 of 5.
        let completions: [&[i64]; 5] = [&[0; 6], &[0; 3], &[0; 4], &[0; 1], &[0; 2]];
        assert_eq!(pack(&completions, 5), [vec![0, 3], vec![2, 1], vec![4]]);
        assert_eq!(pack(&[&[], &[7]], 0), [[0, 1]], "completions of at most one token need no slot");
        assert!(pack(&[], 5).is_empty());
    }
}
