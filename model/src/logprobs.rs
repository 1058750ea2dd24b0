//! Log-probabilities of given completions, for the learner (with gradients) and the reference (without).
//!
//! - LOGP-1 a prompt is computed once for all its completions, forward and backward ([`GroupAttention`]); the result is
//!   that of one sequence per completion.
//! - LOGP-2 only hidden states that predict a completion's token are projected onto the vocabulary, some rows at a time.

use tch::{Kind, Tensor};

use crate::decoder::attention::GroupAttention;
use crate::error::ModelError;
use crate::processor::Prompt;
use crate::qwen2_audio::{PromptBatch, Qwen2Audio};

/// Logits computed at once, as a count of numbers: 256 MB.
const CHUNK: i64 = 1 << 26;

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

/// Rows of the packed sequences, and what each predicts.
struct Layout {
    ids: Vec<i64>,
    positions: Vec<i64>,
    /// Rows whose hidden state predicts a token.
    sources: Vec<i64>,
    /// The token it predicts.
    targets: Vec<i64>,
    /// Where its log-probability goes in `[N, T]`, flat.
    places: Vec<i64>,
    completions: i64,
    longest: i64,
    group: i64,
}

impl Layout {
    /// Rows: the prompts of the batch, then `group` completions of each without their last token, padded on the right.
    fn new(batch: &PromptBatch, groups: &[Group<'_>]) -> Layout {
        let lengths =
            || groups.iter().flat_map(|group| &group.completions).map(|completion| completion.len() as i64);
        let longest = lengths().max().unwrap_or(0);
        let group = groups.iter().map(|group| group.completions.len() as i64).max().unwrap_or(0);
        let (prompt, own) = (batch.rows.length, (longest - 1).max(0));
        let mut layout = Layout {
            ids: batch.ids.clone(),
            positions: batch.positions.clone(),
            sources: Vec::new(),
            targets: Vec::new(),
            places: Vec::new(),
            completions: lengths().count() as i64,
            longest,
            group,
        };
        let mut place = 0;
        for (index, each) in (0i64..).zip(groups) {
            for slot in 0..group {
                let completion = each.completions.get(slot as usize).copied().unwrap_or_default();
                let first = layout.ids.len() as i64;
                let read = &completion[..completion.len().saturating_sub(1)];
                layout.ids.extend(read);
                layout.ids.extend(std::iter::repeat_n(0, own as usize - read.len()));
                layout.positions.extend((0..own).map(|offset| batch.lengths[index as usize] + offset));
                for (offset, &target) in (0i64..).zip(completion) {
                    // The first token is predicted by the prompt's last row, which is never padding.
                    let last_of_prompt = (index + 1) * prompt - 1;
                    layout.sources.push(if offset == 0 { last_of_prompt } else { first + offset - 1 });
                    layout.targets.push(target);
                    layout.places.push(place * longest + offset);
                }
                place += i64::from((slot as usize) < each.completions.len());
            }
        }
        layout
    }
}

/// Log-probabilities under the temperature-scaled distribution.
pub(crate) fn logprobs(
    model: &Qwen2Audio,
    groups: &[Group<'_>],
    temperature: f64,
) -> Result<GroupLogprobs, ModelError> {
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

    let hidden = hidden_states(model, &batch, &layout);
    let logprobs = token_logprobs(model, &hidden, &layout, temperature);
    let shape = [layout.completions, layout.longest];
    let places = model.upload(&layout.places);
    let blank = Tensor::zeros([layout.completions * layout.longest], (Kind::Float, model.device()));
    let mask = blank.index_fill(0, &places, 1.0).to_kind(Kind::Bool);
    Ok(GroupLogprobs {
        logprobs: blank.index_copy(0, &places, &logprobs).view(shape),
        mask: mask.view(shape),
    })
}

/// Hidden states that predict a token, `[tokens, hidden]`.
fn hidden_states(model: &Qwen2Audio, batch: &PromptBatch, layout: &Layout) -> Tensor {
    let decoder = &model.decoder;
    let own = (layout.longest - 1).max(0);
    let mut attention =
        GroupAttention::new(&batch.rows, layout.group, own, decoder.sizes, model.kind(), model.device());
    let angles = decoder.angles(&model.upload(&layout.positions));
    let x = decoder.run(model.embed(&layout.ids, batch), &angles, &mut attention);
    x.index_select(0, &model.upload(&layout.sources))
}

/// `[tokens]`
fn token_logprobs(model: &Qwen2Audio, hidden: &Tensor, layout: &Layout, temperature: f64) -> Tensor {
    let targets = model.upload(&layout.targets);
    let rows = layout.targets.len() as i64;
    let chunk = (CHUNK / model.config.text.vocab_size).max(1);
    let mut parts = Vec::new();
    for from in (0..rows).step_by(chunk as usize) {
        let count = chunk.min(rows - from);
        let logits = model.decoder.project(&hidden.narrow(0, from, count), temperature);
        let targets = targets.narrow(0, from, count);
        parts.push(-logits.cross_entropy_loss(&targets, None::<&Tensor>, tch::Reduction::None, -100, 0.0));
    }
    Tensor::cat(&parts, 0)
}
