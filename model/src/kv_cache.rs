//! The keys and values of all tokens so far, from which the next token is computed.
//!
//! `generate.rs` and `choose.rs` fill the cache with the prompts, then extend it by one token of every
//! row at each step.
//!
//! - `CACHE-1` The keys and values of a prompt are stored once, not once per completion. The queries of all completions
//!   of a group are multiplied with them together.
//! - `CACHE-2` The memory for completions is allocated ahead, from the first token on, and doubles when it is full. A
//!   token is written into its slot.
//! - `CACHE-3` Every prompt has the same number of rows, `group`. When completions finish, [`KvCache::keep`]
//!   gathers the unfinished ones.

use tch::{Device, Kind, Tensor};

use crate::decoder::heads::{Attention, HeadSizes, Heads};

/// Tokens of a completion for which memory is allocated at its first token.
const FIRST_CAPACITY: i64 = 64;

/// The cache of one generation, for all layers.
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    /// `[batch × key heads, 1, prompt]`: 0 for a token, -inf for padding; `None` if no prompt is padded.
    prompt_bias: Option<Tensor>,
    /// `[1, 1, 1]`, zero: the addend of `baddbmm`, which can scale a product, as `bmm` cannot.
    zero: Tensor,
    sizes: HeadSizes,
    /// Number of prompts in the cache.
    batch: i64,
    /// Rows (completions) of each prompt.
    group: i64,
    /// Tokens of each completion that are in the cache.
    length: i64,
    /// Tokens of each completion that memory is allocated for.
    capacity: i64,
    /// Most tokens of a completion.
    limit: i64,
}

struct LayerCache {
    /// `[batch × key heads, prompt, head width]`, as `prompt_values`.
    prompt_keys: Tensor,
    prompt_values: Tensor,
    /// `[batch, key heads, group, capacity, head width]`, as `values`.
    keys: Tensor,
    values: Tensor,
}

impl KvCache {
    /// An empty cache for `group` completions of each prompt, of at most `limit` tokens.
    ///
    /// Shapes: `bias: [batch, prompt]`, in the model's dtype: that of the prompts' keys
    pub(crate) fn new(
        bias: Option<&Tensor>,
        batch: i64,
        group: i64,
        limit: i64,
        sizes: HeadSizes,
        (kind, device): (Kind, Device),
    ) -> KvCache {
        let prompt_bias = bias.map(|bias| {
            let prompt = bias.size()[1];
            bias.view([batch, 1, 1, prompt])
                .expand([batch, sizes.keys, 1, prompt], false)
                .reshape([-1, 1, prompt])
        });
        KvCache {
            layers: Vec::new(),
            prompt_bias,
            zero: Tensor::zeros([1, 1, 1], (kind, device)),
            sizes,
            batch,
            group,
            length: 0,
            capacity: 0,
            limit,
        }
    }

    /// The number of prompts, the rows of each, and the length of the prompts with their padding.
    pub(crate) fn shape(&self) -> [i64; 3] {
        let length = self.layers.first().map_or(0, |layer| layer.prompt_keys.size()[1]);
        [self.batch, self.group, length]
    }

    /// The keys and the values of the prompts in each layer, `[batch × key heads, prompt, head width]` each.
    pub(crate) fn into_prompts(self) -> impl Iterator<Item = [Tensor; 2]> {
        self.layers.into_iter().map(|layer| [layer.prompt_keys, layer.prompt_values])
    }

    /// Adds the next layer, with the keys and values of the prompts.
    ///
    /// Shapes: `keys, values: [batch, key heads, prompt, head width]`, in the model's dtype
    pub(crate) fn push_layer(&mut self, keys: &Tensor, values: &Tensor) {
        let HeadSizes { keys: heads, width, .. } = self.sizes;
        let shape = [self.batch, heads, self.group, self.capacity, width];
        let flat = |x: &Tensor| x.contiguous().view([self.batch * heads, -1, width]);
        self.layers.push(LayerCache {
            prompt_keys: flat(keys),
            prompt_values: flat(values),
            keys: keys.new_empty(shape, (keys.kind(), keys.device())),
            values: keys.new_empty(shape, (keys.kind(), keys.device())),
        });
    }

    /// Makes room for one more token of every row. Must be called before each step.
    pub(crate) fn grow(&mut self) {
        self.length += 1;
        if self.length <= self.capacity {
            return;
        }
        let capacity = (2 * self.capacity).max(FIRST_CAPACITY).min(self.limit);
        let filled = self.capacity;
        let enlarge = |x: &Tensor| {
            let mut shape = x.size();
            shape[3] = capacity;
            let larger = x.new_empty(shape, (x.kind(), x.device()));
            larger.narrow(3, 0, filled).copy_(x);
            larger
        };
        for layer in &mut self.layers {
            layer.keys = enlarge(&layer.keys);
            layer.values = enlarge(&layer.values);
        }
        self.capacity = capacity;
    }

    /// Keeps some rows of some prompts and drops the others. `prompts` are indices of prompts. `rows` are indices of
    /// rows, the same number for each kept prompt in turn.
    pub(crate) fn keep(&mut self, prompts: &[i64], rows: &[i64]) {
        let HeadSizes { keys: heads, width, .. } = self.sizes;
        let (batch, group) = (prompts.len() as i64, (rows.len() / prompts.len()) as i64);
        let device = self.zero.device();
        let mut flat_prompts = Vec::with_capacity(prompts.len() * heads as usize);
        let mut flat_rows = Vec::with_capacity(rows.len() * heads as usize);
        for (index, &prompt) in prompts.iter().enumerate() {
            for head in 0..heads {
                flat_prompts.push(prompt * heads + head);
                for &row in &rows[index * group as usize..(index + 1) * group as usize] {
                    flat_rows.push((prompt * heads + head) * self.group + row % self.group);
                }
            }
        }
        let flat_prompts = Tensor::from_slice(&flat_prompts).to_device(device);
        let flat_rows = Tensor::from_slice(&flat_rows).to_device(device);
        let whole_prompts = batch == self.batch;
        let all = self.batch * heads * self.group;
        let gather = |x: &Tensor| {
            let kept = x.view([all, self.capacity, width]).index_select(0, &flat_rows);
            kept.view([batch, heads, group, self.capacity, width])
        };
        for layer in &mut self.layers {
            layer.keys = gather(&layer.keys);
            layer.values = gather(&layer.values);
            if !whole_prompts {
                layer.prompt_keys = layer.prompt_keys.index_select(0, &flat_prompts);
                layer.prompt_values = layer.prompt_values.index_select(0, &flat_prompts);
            }
        }
        if !whole_prompts {
            self.prompt_bias = self.prompt_bias.as_ref().map(|bias| bias.index_select(0, &flat_prompts));
        }
        (self.batch, self.group) = (batch, group);
    }
}

impl Attention for KvCache {
    /// Attention of one token of every row to its prompt and to the tokens before it. `heads` has `batch × group` rows,
    /// with the completions of a prompt next to each other.
    fn attend(&mut self, layer: usize, heads: &Heads) -> Tensor {
        let HeadSizes { queries, keys, width } = self.sizes;
        let (batch, group, repeat, length) = (self.batch, self.group, self.sizes.repeat(), self.length);
        let cache = &self.layers[layer];
        let by_prompt = |x: &Tensor| x.unflatten(0, [batch, group]).transpose(1, 2);
        let slot = |cached: &Tensor| cached.select(3, length - 1);
        slot(&cache.keys).copy_(&by_prompt(&heads.queries_keys.narrow(1, queries, keys)));
        slot(&cache.values).copy_(&by_prompt(&heads.values));

        // [batch, key heads, group, repeat, width]: the order of the scores for the prompt and for the completion.
        let query = heads
            .queries_keys
            .narrow(1, 0, queries)
            .reshape([batch, group, keys, repeat, width])
            .transpose(1, 2);
        let query = query.contiguous();
        let with_prompts = query.view([batch * keys, group * repeat, width]);
        let alone = query.view([batch * keys * group, repeat, width]);
        let own = |cached: &Tensor| cached.view([batch * keys * group, -1, width]).narrow(1, 0, length);

        let scale = self.sizes.scale();
        let (addend, weight) = match &self.prompt_bias {
            Some(bias) => (bias, 1.0),
            None => (&self.zero, 0.0),
        };
        let prompt = cache.prompt_keys.size()[1];
        let prompt_scores = addend.baddbmm(&with_prompts, &cache.prompt_keys.transpose(1, 2), weight, scale);
        let own_scores = self.zero.baddbmm(&alone, &own(&cache.keys).transpose(1, 2), 0.0, scale);
        let scores = Tensor::cat(&[prompt_scores.view([-1, repeat, prompt]), own_scores], 2);
        // The softmax sums in f32 internally, whatever the dtype.
        let weights = scores.softmax(-1, scores.kind());

        let prompt_weights = weights.narrow(2, 0, prompt).view([batch * keys, group * repeat, prompt]);
        let from_prompt = prompt_weights.bmm(&cache.prompt_values).view([-1, repeat, width]);
        let attended = from_prompt.baddbmm(&weights.narrow(2, prompt, length), &own(&cache.values), 1.0, 1.0);
        attended
            .view([batch, keys, group, repeat, width])
            .transpose(1, 2)
            .reshape([batch * group, queries * width])
    }
}
