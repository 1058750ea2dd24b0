//! The sizes of a decoder, and where its weights and caches are.

use crate::kernels::QUERIES;
use crate::op::{Address, Format, LoraB};

/// The sizes of a decoder, and of the batch that its step is recorded for.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Type of weights, caches and activations.
    pub format: Format,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Width of the feed-forward layers.
    pub ffn: u32,
    /// Query heads of a layer.
    pub query_heads: u32,
    /// Key and value heads of a layer, a divisor of `query_heads`.
    pub key_heads: u32,
    /// Width of a head: that of the [`crate::Gpu`]'s kernels.
    pub head_width: u32,
    /// Number of ids.
    pub vocabulary: u32,
    /// Of all norms.
    pub eps: f32,
    /// Prompts.
    pub prompts: u32,
    /// Rows (completions) of each prompt. Rows that are not used are marked as finished.
    pub group: u32,
    /// Slots of a prompt in the cache.
    pub prompt_capacity: u32,
    /// Slots of a row in the cache: at least the greatest number of tokens less one.
    pub capacity: u32,
    /// Greatest number of tokens of a completion that `uniforms`, `drawn` and `logprobs` have room for.
    pub limit: u32,
    /// Completions that these have room for: at least the number of rows.
    pub columns: u32,
    /// Whether the step draws tokens. If not, it ends with the logits, and the caller advances the state.
    pub sample: bool,
}

/// A projection, or several of the same input whose outputs are concatenated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Projection {
    /// `[output, input]`.
    pub weight: Address,
    /// `[output]`, or null; only for queries, keys and values.
    pub bias: Address,
    /// The adapters.
    pub adapter: Option<Adapter>,
}

/// The adapters of a [`Projection`], as the sampler's replica stores them.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// `[sum of the ranks, input]`.
    pub a: Address,
    /// `[output, sum of the ranks]`: blocks on the diagonal; what is beside them is not read.
    pub b: Address,
    /// The rank of each projection, at most 128; 0 for one without adapter.
    pub ranks: Vec<u32>,
    /// Factor on `A·x`.
    pub scale: f32,
}

/// A layer's weights and caches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// `[hidden]`.
    pub attention_norm: Address,
    /// Queries, keys and values.
    pub qkv: Projection,
    /// `[head width]`, or null.
    pub query_norm: Address,
    /// `[head width]`, or null.
    pub key_norm: Address,
    /// From the heads to the residual stream.
    pub out: Projection,
    /// `[hidden]`.
    pub ffn_norm: Address,
    /// Gate and up.
    pub gate_up: Projection,
    /// Back to the residual stream.
    pub down: Projection,
    /// `[prompts, key heads, prompt capacity, head width]`.
    pub prompt_keys: Address,
    /// As `prompt_keys`.
    pub prompt_values: Address,
    /// `[prompts, key heads, group, capacity, head width]`.
    pub keys: Address,
    /// As `keys`.
    pub values: Address,
}

/// A decoder's weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    /// `[vocabulary, hidden]`.
    pub embedding: Address,
    /// All layers.
    pub layers: Vec<Layer>,
    /// `[hidden]`: the final norm.
    pub norm: Address,
    /// `[vocabulary, hidden]`.
    pub head: Address,
    /// `[positions, head width]`: the cosines of all positions that can occur, twice.
    pub cos: Address,
    /// As `cos`: the sines, the first half negated.
    pub sin: Address,
}

impl Shape {
    /// Rows of the batch.
    pub fn rows(&self) -> u32 {
        self.prompts * self.group
    }

    /// Numbers of a row of queries, keys and values.
    pub(super) fn qkv(&self) -> u32 {
        (self.query_heads + 2 * self.key_heads) * self.head_width
    }

    /// Blocks that share a prompt, and a row's own tokens: enough for every processor to have some, each with at least 128
    /// keys.
    pub(super) fn splits(&self) -> [u32; 2] {
        let repeat = self.query_heads / self.key_heads.max(1);
        let [of_prompts, of_rows] =
            [self.prompts * (self.group * repeat).div_ceil(QUERIES), self.rows() * repeat.div_ceil(QUERIES)];
        let splits = |blocks: u32, capacity: u32| {
            (BLOCKS / (blocks * self.key_heads).max(1)).clamp(1, capacity.div_ceil(128).max(1))
        };
        [splits(of_prompts, self.prompt_capacity), splits(of_rows, self.capacity)]
    }

    /// Blocks that share a row's logits, each with at least 1024.
    pub(super) fn sample_splits(&self) -> u32 {
        (BLOCKS / self.rows().max(1)).clamp(1, self.vocabulary.div_ceil(1024).clamp(1, 64))
    }
}

/// Blocks of a launch that keep a large GPU busy.
const BLOCKS: u32 = 512;

impl Layer {
    pub(super) fn projections(&self) -> [&Projection; 4] {
        [&self.qkv, &self.out, &self.gate_up, &self.down]
    }
}

impl Adapter {
    /// Sum of the ranks.
    pub(super) fn width(&self) -> u32 {
        self.ranks.iter().sum()
    }

    /// For the kernel that applies `B`.
    pub(super) fn upper(&self, inner: Address) -> LoraB {
        let mut parts = [(0, 0); 3];
        let mut first = 0;
        for (part, &rank) in parts.iter_mut().zip(&self.ranks) {
            *part = (first, rank);
            first += rank;
        }
        LoraB { inner, b: self.b, ranks: self.width(), parts, scale: self.scale }
    }
}
