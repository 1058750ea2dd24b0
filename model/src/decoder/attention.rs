//! Attention over whole prompts ([`PromptAttention`]), and over prompts with their completions ([`GroupAttention`]).
//!
//! Masks are built from the lengths of prompts and completions and added to the scores as a bias: 0 for a row that is
//! attended to, -inf for one that is not, in the model's dtype.

use tch::{Device, Kind, Tensor};

use super::heads::{Attention, HeadSizes, Heads, split};

/// The layout of a left-padded batch of prompts.
pub(crate) struct PromptRows {
    /// Number of prompts in the batch.
    pub(crate) batch: i64,
    /// Rows of each prompt, padding included.
    pub(crate) length: i64,
    /// `[batch, length]`: 0 for a token, -inf for padding; `None` if no prompt is padded.
    bias: Option<Tensor>,
}

impl PromptRows {
    /// The layout of prompts of these lengths in tokens.
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

    /// The bias of each prompt's keys, `[batch, length]`; `None` if no prompt is padded.
    pub(crate) fn key_bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The bias of prompt rows among themselves, `[batch, 1, length, length]`; `None` if no prompt is padded.
    fn own_bias(&self) -> Option<Tensor> {
        let bias = self.bias.as_ref()?;
        let allowed = bias.unsqueeze(1) + causal(self.length, bias.kind(), bias.device());
        // A padding row attends to itself, so that its softmax is defined. Its result is not used.
        let own = Tensor::eye(self.length, (Kind::Bool, bias.device())).unsqueeze(0);
        Some(allowed.masked_fill(&own, 0.0).unsqueeze(1))
    }
}

/// A bias of 0 where `allowed`, a bool tensor, is true, and of -inf where it is false.
fn masked(allowed: &Tensor, kind: Kind) -> Tensor {
    let zeros = Tensor::zeros(allowed.size(), (kind, allowed.device()));
    zeros.masked_fill(&allowed.logical_not(), f64::NEG_INFINITY)
}

/// The causal bias, `[length, length]`: a row attends to itself and to the rows before it.
fn causal(length: i64, kind: Kind, device: Device) -> Tensor {
    masked(&Tensor::ones([length, length], (Kind::Bool, device)).tril(0), kind)
}

/// Repeats the keys or values of each key head for its query heads.
///
/// Shapes: `x: [batch, key heads, rows, head width]` → `[batch, query heads, rows, head width]`, in the model's dtype
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

/// The queries, keys and values of a batch.
///
/// Shapes: `queries_keys: [batch × length, query heads + key heads, head width]`, `values: [batch × length, key heads,
/// head width]` → `[batch, heads, length, head width]` each
fn batched(queries_keys: &Tensor, values: &Tensor, sizes: HeadSizes, batch: i64, length: i64) -> [Tensor; 3] {
    let by_row = |x: &Tensor| x.unflatten(0, [batch, length]).transpose(1, 2);
    let [query, key] = split(&by_row(queries_keys), [sizes.queries, sizes.keys], 1);
    [query, key, by_row(values)]
}

/// Scaled dot-product attention, with the result laid out as rows again.
///
/// Shapes: `query, key, value: [batch, query heads, length, head width]`, in the model's dtype; `bias` broadcasts to
/// the scores → `[batch × length, query heads × head width]`
fn attend(query: &Tensor, key: &Tensor, value: &Tensor, bias: Option<&Tensor>, is_causal: bool) -> Tensor {
    let [batch, heads, length, width] = dims(query);
    let attended = Tensor::scaled_dot_product_attention(query, key, value, bias, 0.0, is_causal, None, false);
    attended.transpose(1, 2).reshape([batch * length, heads * width])
}

/// Attention for prompts alone: every row attends to the rows before it in its own prompt. Passes each layer's keys and
/// values to a callback.
pub(crate) struct PromptAttention<'a> {
    rows: &'a PromptRows,
    bias: Option<Tensor>,
    sizes: HeadSizes,
    /// Receives the keys and the values of each layer, `[batch, key heads, length, head width]` each.
    keep: Box<dyn FnMut(Tensor, Tensor) + 'a>,
}

impl<'a> PromptAttention<'a> {
    /// `keep` receives the keys and the values of each layer, `[batch, key heads, length, head width]` each.
    pub(crate) fn new(rows: &'a PromptRows, sizes: HeadSizes, keep: impl FnMut(Tensor, Tensor) + 'a) -> Self {
        PromptAttention { rows, bias: rows.own_bias(), sizes, keep: Box::new(keep) }
    }
}

impl Attention for PromptAttention<'_> {
    fn attend(&mut self, _layer: usize, heads: &Heads) -> Tensor {
        let [query, key, value] =
            batched(&heads.queries_keys, &heads.values, self.sizes, self.rows.batch, self.rows.length);
        let (keys, values) = (repeat_heads(&key, self.sizes), repeat_heads(&value, self.sizes));
        let attended = attend(&query, &keys, &values, self.bias.as_ref(), self.bias.is_none());
        (self.keep)(key, value);
        attended
    }
}

/// The layout of completions in rows. A row has a fixed number of slots, and several short completions can share a row.
pub(crate) struct CompletionRows {
    /// `[rows]`, i64: the index of each row's prompt.
    pub(crate) prompts: Tensor,
    /// `[rows, slots]`, i64: a number for each completion that is unique within its row; any number for padding.
    pub(crate) segments: Tensor,
}

/// Attention for prompts and their completions. A completion's token attends to its prompt and to the tokens before it
/// in its own completion. The decoder's rows are those of the prompts, then those of the completions, so that a prompt
/// is computed once for its whole group in the forward and in the backward pass.
pub(crate) struct GroupAttention<'a> {
    prompts: &'a PromptRows,
    prompt_bias: Option<Tensor>,
    completions: &'a CompletionRows,
    /// `[rows, 1, slots, prompt length + slots]`: the bias of completion rows to their prompt and to each other.
    completion_bias: Tensor,
    sizes: HeadSizes,
    keep: Option<Keep<'a>>,
}

/// Receives the keys and values of each layer: those of the prompts, `[prompts, key heads, length, head width]`, then
/// those of the completions, `[rows, key heads, slots, head width]`.
type Keep<'a> = Box<dyn FnMut([Tensor; 2], [Tensor; 2]) + 'a>;

impl<'a> GroupAttention<'a> {
    /// Builds the masks of a batch, in the dtype and on the device of the model.
    pub(crate) fn new(
        prompts: &'a PromptRows,
        completions: &'a CompletionRows,
        sizes: HeadSizes,
        (kind, device): (Kind, Device),
    ) -> Self {
        let segments = &completions.segments;
        let same = segments.unsqueeze(1).eq_tensor(&segments.unsqueeze(2));
        Self::with_own(prompts, completions, &same.tril(0), sizes, (kind, device))
    }

    /// The attention in which the slots of a row attend to each other as `allowed` says, `[rows, slots, slots]`, bool.
    pub(crate) fn with_own(
        prompts: &'a PromptRows,
        completions: &'a CompletionRows,
        allowed: &Tensor,
        sizes: HeadSizes,
        (kind, device): (Kind, Device),
    ) -> Self {
        let [rows, slots]: [i64; 2] = completions.segments.size().try_into().expect("two dimensions");
        let own = masked(allowed, kind);
        let prompt = match prompts.key_bias() {
            Some(bias) => bias.index_select(0, &completions.prompts),
            None => Tensor::zeros([rows, prompts.length], (kind, device)),
        };
        let prompt = prompt.unsqueeze(1).expand([rows, slots, prompts.length], false);
        let completion_bias = Tensor::cat(&[prompt, own], 2).unsqueeze(1);
        GroupAttention {
            prompts,
            prompt_bias: prompts.own_bias(),
            completions,
            completion_bias,
            sizes,
            keep: None,
        }
    }

    /// Passes each layer's keys and values to `keep` (see [`Keep`]).
    pub(crate) fn keeping(self, keep: impl FnMut([Tensor; 2], [Tensor; 2]) + 'a) -> Self {
        GroupAttention { keep: Some(Box::new(keep)), ..self }
    }

    /// Concatenates the keys (or values) of a prompt with those of each of its rows of completions.
    ///
    /// Shapes: `prompt: [prompts, key heads, length, head width]`, `completion: [rows, key heads, slots, head width]` →
    /// `[rows, query heads, length + slots, head width]`
    fn after_prompt(&self, prompt: &Tensor, completion: &Tensor) -> Tensor {
        let prompt = prompt.index_select(0, &self.completions.prompts);
        repeat_heads(&Tensor::cat(&[&prompt, completion], 2), self.sizes)
    }
}

impl Attention for GroupAttention<'_> {
    fn attend(&mut self, _layer: usize, heads: &Heads) -> Tensor {
        let PromptRows { batch, length, .. } = *self.prompts;
        let [rows, slots]: [i64; 2] = self.completions.segments.size().try_into().expect("two dimensions");
        let parts = [batch * length, rows * slots];
        let [queries_keys, own_queries_keys] = split(&heads.queries_keys, parts, 0);
        let [values, own_values] = split(&heads.values, parts, 0);

        let [query, key, value] = batched(&queries_keys, &values, self.sizes, batch, length);
        let (keys, values) = (repeat_heads(&key, self.sizes), repeat_heads(&value, self.sizes));
        let bias = self.prompt_bias.as_ref();
        let of_prompts = attend(&query, &keys, &values, bias, bias.is_none());

        let [own_query, own_key, own_value] =
            batched(&own_queries_keys, &own_values, self.sizes, rows, slots);
        let of_completions = attend(
            &own_query,
            &self.after_prompt(&key, &own_key),
            &self.after_prompt(&value, &own_value),
            Some(&self.completion_bias),
            false,
        );
        if let Some(keep) = &mut self.keep {
            keep([key, value], [own_key, own_value]);
        }
        Tensor::cat(&[of_prompts, of_completions], 0)
    }
}
