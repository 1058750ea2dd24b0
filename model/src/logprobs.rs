//! Log-probabilities of given completions, without gradients; [`crate::forward`] has them with.
//!
//! - LOGP-1 a prompt is computed once for all its completions, forward and backward ([`GroupAttention`]); the result is
//!   that of one sequence per completion.
//! - LOGP-2 only hidden states that predict a completion's token are projected onto the vocabulary, some rows at a time.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::decoder::attention::{CompletionRows, GroupAttention};
use crate::decoder::rope::Angles;
use crate::error::ModelError;
use crate::network::{Network, PromptBatch};
use crate::processor::Prompt;

/// Logits computed at once, as a count of numbers: 256 MB.
pub(crate) const CHUNK: i64 = 1 << 26;

/// A prompt and completions of it.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// Token ids of each completion, with the end-of-sequence token where there is one.
    pub completions: Vec<&'a [i64]>,
}

/// Log-probabilities of every token of every completion.
#[derive(Debug)]
pub struct GroupLogprobs {
    /// `[N, T]`, f32: the completions of all groups in order, padded on the right with zeros to the longest.
    pub logprobs: Tensor,
    /// `[N, T]`, bool: where there is a token.
    pub mask: Tensor,
}

/// What a pass over some groups computes.
pub(crate) struct Pass {
    pub(crate) batch: PromptBatch,
    pub(crate) layout: Layout,
}

/// The decoder's rows, and what each predicts.
///
/// First the prompts, padded on the left, then rows of completions. A completion's last token predicts nothing and is
/// left out. Short completions of a prompt share a row, each with positions that start behind the prompt.
pub(crate) struct Layout {
    pub(crate) ids: Vec<i64>,
    positions: Vec<i64>,
    /// The prompt of each row of completions.
    prompts: Vec<i64>,
    /// The completion in each place of these rows; 0 is padding.
    segments: Vec<i64>,
    /// Places in each of these rows.
    places: i64,
    /// Rows whose hidden state predicts a token.
    sources: Vec<i64>,
    /// The token it predicts.
    targets: Vec<i64>,
    /// Where its log-probability goes in `[N, T]`, flat.
    destinations: Vec<i64>,
    completions: i64,
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
            places: (longest - 1).max(0),
            sources: Vec::new(),
            targets: Vec::new(),
            destinations: Vec::new(),
            completions: lengths().count() as i64,
            longest,
        };
        let mut number = 0;
        for (prompt, group) in (0i64..).zip(groups) {
            let rows = pack(&group.completions, layout.places as usize);
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

    /// Adds a completion to the row that is being filled.
    fn push(&mut self, batch: &PromptBatch, prompt: i64, completion: &[i64], number: i64) {
        let first = self.ids.len() as i64;
        let read = &completion[..completion.len().saturating_sub(1)];
        self.ids.extend(read);
        self.positions.extend((batch.lengths[prompt as usize]..).take(read.len()));
        self.segments.extend(std::iter::repeat_n(number + 1, read.len()));
        for (offset, &target) in (0i64..).zip(completion) {
            // The first token is predicted by the prompt's last row, which is never padding.
            let last_of_prompt = (prompt + 1) * batch.rows.length - 1;
            self.sources.push(if offset == 0 { last_of_prompt } else { first + offset - 1 });
            self.targets.push(target);
            self.destinations.push(number * self.longest + offset);
        }
    }

    fn end_row(&mut self, prompt: i64) {
        self.prompts.push(prompt);
        let end = self.prompts.len() * self.places as usize;
        let padding = end - self.segments.len();
        self.segments.resize(end, 0);
        self.ids.extend(std::iter::repeat_n(0, padding));
        self.positions.extend(std::iter::repeat_n(0, padding));
    }
}

/// Shares out completions to rows of so many places, the longest first, each to the first row with room.
fn pack(completions: &[&[i64]], places: usize) -> Vec<Vec<usize>> {
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
            None => rows.push((places - needed(index), vec![index])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Log-probabilities under the temperature-scaled distribution, without gradients.
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

/// Some rows of a tensor.
pub(crate) fn take(x: &Tensor, rows: &Range<i64>) -> Tensor {
    x.narrow(0, rows.start, rows.end - rows.start)
}

impl Pass {
    /// Checks the groups and lays them out. The clips' features have gradients if the tower learns here and gradients are
    /// recorded.
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
            return Err(ModelError::input("log-probabilities of no completion tokens at all"));
        }
        model.check_length(batch.rows.length + layout.longest)?;
        Ok(Pass { batch, layout })
    }

    /// Hands over what the decoder's layers need: angles, attention, and the rows whose hidden states predict a token.
    pub(crate) fn with_attention<T>(
        &self,
        model: &Network,
        run: impl FnOnce(&Angles, &mut GroupAttention<'_>, &Tensor) -> T,
    ) -> T {
        let Pass { batch, layout } = self;
        let shape = [layout.prompts.len() as i64, layout.places];
        let completions = CompletionRows {
            prompts: model.upload(&layout.prompts),
            segments: model.upload(&layout.segments).view(shape),
        };
        let options = (model.kind(), model.device());
        let mut attention = GroupAttention::new(&batch.rows, &completions, model.decoder.sizes, options);
        let angles = model.decoder.angles(&model.upload(&layout.positions));
        run(&angles, &mut attention, &model.upload(&layout.sources))
    }

    /// Predicted tokens, so many at a time that their logits are at most `numbers`.
    pub(crate) fn chunks(&self, model: &Network, numbers: i64) -> Vec<Range<i64>> {
        let tokens = self.layout.targets.len() as i64;
        let size = (numbers / model.config.text.vocab_size).max(1);
        (0..tokens).step_by(size as usize).map(|from| from..tokens.min(from + size)).collect()
    }

    /// # Shapes
    /// `hidden: [tokens of the chunk, hidden]` → `[tokens of the chunk]`
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

    /// Lays the tokens' log-probabilities out by completion.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_completions_share_a_row() {
        // What is read is one token less: 5, 2, 3, 0 and 1 places of 5.
        let completions: [&[i64]; 5] = [&[0; 6], &[0; 3], &[0; 4], &[0; 1], &[0; 2]];
        assert_eq!(pack(&completions, 5), [vec![0, 3], vec![2, 1], vec![4]]);
        assert_eq!(pack(&[&[], &[7]], 0), [[0, 1]], "nothing to read needs no place");
        assert!(pack(&[], 5).is_empty());
    }
}
