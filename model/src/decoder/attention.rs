//! Attention over whole prompts, and over prompts with their completions.

use tch::{Device, Kind, Tensor};

use super::{Attention, HeadSizes, Heads, split};

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
fn batched(queries_keys: &Tensor, values: &Tensor, sizes: HeadSizes, batch: i64, length: i64) -> [Tensor; 3] {
    let by_row = |x: &Tensor| x.unflatten(0, [batch, length]).transpose(1, 2);
    let [query, key] = split(&by_row(queries_keys), [sizes.queries, sizes.keys], 1);
    [query, key, by_row(values)]
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
        let [query, key, value] =
            batched(&heads.queries_keys, &heads.values, self.sizes, self.rows.batch, self.rows.length);
        let (keys, values) = (repeat_heads(&key, self.sizes), repeat_heads(&value, self.sizes));
        let attended = attend(&query, &keys, &values, self.bias.as_ref(), self.bias.is_none());
        (self.keep)(key, value);
        attended
    }
}

/// Rows of completions: which prompt each belongs to, and which completion each of its places belongs to.
pub(crate) struct CompletionRows {
    /// `[rows]`, indices of prompts.
    pub(crate) prompts: Tensor,
    /// `[rows, places]`, a number for each completion that is another within its row; any for padding.
    pub(crate) segments: Tensor,
}

/// Prompts, and rows of completions of them. A completion's token sees its prompt and what is before it in its own
/// completion. The decoder's rows are the prompts', then the completions': a prompt is computed once for its whole group,
/// forward and backward.
pub(crate) struct GroupAttention<'a> {
    prompts: &'a PromptRows,
    prompt_bias: Option<Tensor>,
    completions: &'a CompletionRows,
    /// `[rows, 1, places, prompt + places]`
    completion_bias: Tensor,
    sizes: HeadSizes,
    keep: Option<Keep<'a>>,
}

/// Takes each layer's keys and values: the prompts', `[prompts, key heads, length, head width]`, then the completions',
/// `[rows, key heads, places, head width]`.
type Keep<'a> = Box<dyn FnMut([Tensor; 2], [Tensor; 2]) + 'a>;

impl<'a> GroupAttention<'a> {
    pub(crate) fn new(
        prompts: &'a PromptRows,
        completions: &'a CompletionRows,
        sizes: HeadSizes,
        (kind, device): (Kind, Device),
    ) -> Self {
        let segments = &completions.segments;
        let [rows, places]: [i64; 2] = segments.size().try_into().expect("two dimensions");
        let same = segments.unsqueeze(1).eq_tensor(&segments.unsqueeze(2));
        let own = masked(&same.tril(0), kind);
        let prompt = match prompts.key_bias() {
            Some(bias) => bias.index_select(0, &completions.prompts),
            None => Tensor::zeros([rows, prompts.length], (kind, device)),
        };
        let prompt = prompt.unsqueeze(1).expand([rows, places, prompts.length], false);
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

    /// Hands each layer's keys and values on.
    pub(crate) fn keeping(self, keep: impl FnMut([Tensor; 2], [Tensor; 2]) + 'a) -> Self {
        GroupAttention { keep: Some(Box::new(keep)), ..self }
    }

    /// A prompt's keys (or values) before those of each of its rows of completions.
    fn behind_prompt(&self, prompt: &Tensor, completion: &Tensor) -> Tensor {
        let prompt = prompt.index_select(0, &self.completions.prompts);
        repeat_heads(&Tensor::cat(&[&prompt, completion], 2), self.sizes)
    }
}

impl Attention for GroupAttention<'_> {
    fn attend(&mut self, _layer: usize, heads: &Heads) -> Tensor {
        let PromptRows { batch, length, .. } = *self.prompts;
        let [rows, places]: [i64; 2] = self.completions.segments.size().try_into().expect("two dimensions");
        let parts = [batch * length, rows * places];
        let [queries_keys, own_queries_keys] = split(&heads.queries_keys, parts, 0);
        let [values, own_values] = split(&heads.values, parts, 0);

        let [query, key, value] = batched(&queries_keys, &values, self.sizes, batch, length);
        let (keys, values) = (repeat_heads(&key, self.sizes), repeat_heads(&value, self.sizes));
        let bias = self.prompt_bias.as_ref();
        let of_prompts = attend(&query, &keys, &values, bias, bias.is_none());

        let [own_query, own_key, own_value] =
            batched(&own_queries_keys, &own_values, self.sizes, rows, places);
        let of_completions = attend(
            &own_query,
            &self.behind_prompt(&key, &own_key),
            &self.behind_prompt(&value, &own_value),
            Some(&self.completion_bias),
            false,
        );
        if let Some(keep) = &mut self.keep {
            keep([key, value], [own_key, own_value]);
        }
        Tensor::cat(&[of_prompts, of_completions], 0)
    }
}
