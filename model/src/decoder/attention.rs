//! Attention over whole prompts, and over prompts with their completions.

use tch::{Device, Kind, Tensor};

use super::{Attention, HeadSizes, Heads};

/// Which rows of a left-padded batch of prompts are real.
pub(crate) struct PromptRows {
    pub(crate) batch: i64,
    /// Rows per prompt, padding included.
    pub(crate) length: i64,
    /// `[batch, length]`, 0 for a real token and -inf for padding; none if nothing is padded.
    bias: Option<Tensor>,
}

impl PromptRows {
    pub(crate) fn new(lengths: &[i64], kind: Kind, device: Device) -> PromptRows {
        let batch = lengths.len() as i64;
        let length = lengths.iter().copied().max().unwrap_or(0);
        let padded = lengths.iter().any(|&own| own != length);
        let bias = padded.then(|| {
            let padding = Tensor::from_slice(lengths).neg() + length;
            let real = Tensor::arange(length, (Kind::Int64, Device::Cpu))
                .unsqueeze(0)
                .ge_tensor(&padding.unsqueeze(1));
            masked(&real, kind).to_device(device)
        });
        PromptRows { batch, length, bias }
    }

    /// Bias of each prompt's keys, `[batch, length]`.
    pub(crate) fn key_bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Bias for prompt rows among themselves, `[batch, 1, length, length]`.
    fn own_bias(&self) -> Option<Tensor> {
        let bias = self.bias.as_ref()?;
        let seen = bias.unsqueeze(1) + causal(self.length, bias.kind(), bias.device());
        // A padding row sees itself, so that its softmax is defined; nothing reads what it computes.
        let own = Tensor::eye(self.length, (Kind::Bool, bias.device())).unsqueeze(0);
        Some(seen.masked_fill(&own, 0.0).unsqueeze(1))
    }
}

/// 0 where true, -inf where false.
fn masked(allowed: &Tensor, kind: Kind) -> Tensor {
    let zeros = Tensor::zeros(allowed.size(), (kind, allowed.device()));
    zeros.masked_fill(&allowed.logical_not(), f64::NEG_INFINITY)
}

/// `[length, length]`: a row sees itself and what is before it.
fn causal(length: i64, kind: Kind, device: Device) -> Tensor {
    masked(&Tensor::ones([length, length], (Kind::Bool, device)).tril(0), kind)
}

/// Keys or values of each key head, repeated for its query heads.
fn repeat_heads(x: &Tensor, sizes: HeadSizes) -> Tensor {
    let repeat = sizes.repeat();
    if repeat == 1 {
        return x.shallow_clone();
    }
    let [batch, keys, rows, width] = dims(x);
    x.unsqueeze(2).expand([batch, keys, repeat, rows, width], false).reshape([
        batch,
        keys * repeat,
        rows,
        width,
    ])
}

fn dims(x: &Tensor) -> [i64; 4] {
    let (a, b, c, d) = x.size4().expect("a tensor of four dimensions");
    [a, b, c, d]
}

/// Queries, keys and values of a batch, `[batch, heads, length, head width]` each.
fn batched(heads: &Heads, sizes: HeadSizes, from: i64, batch: i64, length: i64) -> [Tensor; 3] {
    let rows = |x: &Tensor, first: i64, count: i64| {
        x.narrow(0, from, batch * length)
            .unflatten(0, [batch, length])
            .narrow(2, first, count)
            .transpose(1, 2)
    };
    [
        rows(&heads.queries_keys, 0, sizes.queries),
        rows(&heads.queries_keys, sizes.queries, sizes.keys),
        rows(&heads.values, 0, sizes.keys),
    ]
}

/// Attends and lays the result out as rows again, `[batch × length, query heads × head width]`.
fn attend(query: &Tensor, key: &Tensor, value: &Tensor, bias: Option<&Tensor>, is_causal: bool) -> Tensor {
    let [batch, heads, length, width] = dims(query);
    let attended = Tensor::scaled_dot_product_attention(query, key, value, bias, 0.0, is_causal, None, false);
    attended.transpose(1, 2).reshape([batch * length, heads * width])
}

/// Prompts alone: every row sees what is before it in its own prompt. Hands each layer's keys and values on.
pub(crate) struct PromptAttention<'a> {
    rows: &'a PromptRows,
    bias: Option<Tensor>,
    sizes: HeadSizes,
    /// Takes `[batch, key heads, length, head width]` of keys and of values.
    keep: Box<dyn FnMut(Tensor, Tensor) + 'a>,
}

impl<'a> PromptAttention<'a> {
    pub(crate) fn new(rows: &'a PromptRows, sizes: HeadSizes, keep: impl FnMut(Tensor, Tensor) + 'a) -> Self {
        PromptAttention { rows, bias: rows.own_bias(), sizes, keep: Box::new(keep) }
    }
}

impl Attention for PromptAttention<'_> {
    fn attend(&mut self, _layer: usize, heads: &Heads) -> Tensor {
        let [query, key, value] = batched(heads, self.sizes, 0, self.rows.batch, self.rows.length);
        let (keys, values) = (repeat_heads(&key, self.sizes), repeat_heads(&value, self.sizes));
        let attended = attend(&query, &keys, &values, self.bias.as_ref(), self.bias.is_none());
        (self.keep)(key, value);
        attended
    }
}

/// Prompts, each followed by `group` completions of it. A completion's row sees its prompt and what is before it in its
/// own completion. The rows are those of the prompts, then those of the completions: a prompt is computed once for its
/// whole group, forward and backward.
pub(crate) struct GroupAttention<'a> {
    prompts: &'a PromptRows,
    prompt_bias: Option<Tensor>,
    /// `[batch × group or 1, 1, completion, prompt + completion]`
    completion_bias: Tensor,
    group: i64,
    /// Rows per completion, padding (on the right) included.
    completion: i64,
    sizes: HeadSizes,
}

impl<'a> GroupAttention<'a> {
    pub(crate) fn new(
        prompts: &'a PromptRows,
        group: i64,
        completion: i64,
        sizes: HeadSizes,
        kind: Kind,
        device: Device,
    ) -> Self {
        let own = causal(completion, kind, device);
        let completion_bias = match prompts.key_bias() {
            None => {
                let prompt = Tensor::zeros([completion, prompts.length], (kind, device));
                Tensor::cat(&[prompt, own], 1).view([1, 1, completion, prompts.length + completion])
            }
            Some(bias) => {
                let batch = prompts.batch;
                let prompt = bias.view([batch, 1, 1, -1]).expand([batch, group, completion, -1], false);
                let own = own.view([1, 1, completion, -1]).expand([batch, group, completion, -1], false);
                Tensor::cat(&[prompt, own], 3).view([batch * group, 1, completion, -1])
            }
        };
        GroupAttention { prompts, prompt_bias: prompts.own_bias(), completion_bias, group, completion, sizes }
    }

    /// A prompt's keys (or values) before those of each of its completions.
    fn behind_prompt(&self, prompt: &Tensor, completion: &Tensor) -> Tensor {
        let [batch, keys, length, width] = dims(prompt);
        let (group, own) = (self.group, self.completion);
        let prompt = prompt.unsqueeze(1).expand([batch, group, keys, length, width], false);
        let completion = completion.unflatten(0, [batch, group]);
        let both = Tensor::cat(&[prompt, completion], 3).view([batch * group, keys, length + own, width]);
        repeat_heads(&both, self.sizes)
    }
}

impl Attention for GroupAttention<'_> {
    fn attend(&mut self, _layer: usize, heads: &Heads) -> Tensor {
        let PromptRows { batch, length, .. } = *self.prompts;
        let [query, key, value] = batched(heads, self.sizes, 0, batch, length);
        let (keys, values) = (repeat_heads(&key, self.sizes), repeat_heads(&value, self.sizes));
        let bias = self.prompt_bias.as_ref();
        let of_prompts = attend(&query, &keys, &values, bias, bias.is_none());

        let rows = batch * self.group;
        let [own_query, own_key, own_value] =
            batched(heads, self.sizes, batch * length, rows, self.completion);
        let of_completions = attend(
            &own_query,
            &self.behind_prompt(&key, &own_key),
            &self.behind_prompt(&value, &own_value),
            Some(&self.completion_bias),
            false,
        );
        Tensor::cat(&[of_prompts, of_completions], 0)
    }
}
