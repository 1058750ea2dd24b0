//! What a step consists of: kernel launches and matrix products, with their addresses and sizes.
//!
//! All matrices are row-major without gaps unless a doc says otherwise. "Element" is a number of the model's [`Format`].

/// The type of weights, caches and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32 bits.
    F32,
    /// The upper 16 bits of an f32.
    Bf16,
}

impl Format {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::Bf16 => 2,
        }
    }

    /// Elements that a thread loads at once: 16 bytes.
    pub fn pack(self) -> u32 {
        16 / self.bytes() as u32
    }
}

/// An address in the device's memory, or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Address(pub u64);

impl Address {
    /// For what a model does not have.
    pub const NULL: Address = Address(0);

    /// Whether there is nothing.
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address this many bytes further on.
    pub fn offset(self, bytes: usize) -> Address {
        Address(self.0 + bytes as u64)
    }
}

impl<T> From<*mut T> for Address {
    /// Of a tensor's memory, from its `data_ptr`.
    fn from(pointer: *mut T) -> Address {
        Address(pointer as u64)
    }
}

/// The upper halves (`B`) of adapters, applied to `inner = x·Aᵀ` of the same rows: adds `scale · inner · Bᵀ` to a
/// projection's output, rounded as the plain path rounds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoraB {
    /// `[rows, ranks]`, f32.
    pub inner: Address,
    /// `[sum of the outputs, ranks]`, elements: the blocks of several projections on the diagonal. What is beside the blocks
    /// is not read.
    pub b: Address,
    /// Columns of `inner` and `b`: the sum of the projections' ranks.
    pub ranks: u32,
    /// First column and rank of each projection's block, at most 128; rank 0 for a projection without adapter.
    pub parts: [(u32, u32); 3],
    /// Factor on `inner`.
    pub scale: f32,
}

/// `x = table[ids]`, `normal = rms_norm(x) · weight`.
#[derive(Debug, Clone, Copy)]
pub struct Embed {
    /// `[rows]`, i64. An id outside the table is taken as 0.
    pub ids: Address,
    /// `[vocabulary, width]`.
    pub table: Address,
    /// `[width]`.
    pub weight: Address,
    /// `[rows, width]`, written.
    pub x: Address,
    /// `[rows, width]`, written.
    pub normal: Address,
    /// Rows of the table.
    pub vocabulary: u32,
    /// Rows.
    pub rows: u32,
    /// A multiple of [`Format::pack`].
    pub width: u32,
    /// Added to the mean of the squares.
    pub eps: f32,
}

/// `x += B·inner` where there is an adapter, `normal = rms_norm(x) · weight`. The residual itself is added by the matrix
/// product before ([`Gemm::accumulate`]), which rounds once.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// `[rows, width]`; written where there is an adapter.
    pub x: Address,
    /// The adapter of the projection that has been added to `x`; its first part counts.
    pub lora: Option<LoraB>,
    /// `[width]`.
    pub weight: Address,
    /// `[rows, width]`, written.
    pub normal: Address,
    /// A factor on `normal`, f32, or null: the final norm's, for a temperature that is applied to hidden values.
    pub factor: Address,
    /// Rows.
    pub rows: u32,
    /// A multiple of [`Format::pack`].
    pub width: u32,
    /// Added to the mean of the squares.
    pub eps: f32,
}

/// Bias, adapters, norms and rotation of queries and keys; writes keys and values into the cache at `lengths[row]`.
/// Finished rows are left out.
#[derive(Debug, Clone, Copy)]
pub struct Rotate {
    /// `[rows, (query heads + 2 · key heads) · head width]`, f32: queries, keys, values.
    pub qkv: Address,
    /// As a row of `qkv`, elements; or null.
    pub bias: Address,
    /// The adapters of queries, keys and values.
    pub lora: Option<LoraB>,
    /// `[head width]`, or null.
    pub query_norm: Address,
    /// `[head width]`, or null.
    pub key_norm: Address,
    /// Added to the mean of the squares.
    pub eps: f32,
    /// `[positions, head width]`, elements.
    pub cos: Address,
    /// `[positions, head width]`, elements, the first half negated.
    pub sin: Address,
    /// `[rows]`, i32.
    pub positions: Address,
    /// `[rows]`, i32: the slot of the cache that is written.
    pub lengths: Address,
    /// `[rows]`, i32: not 0 for rows that are left out.
    pub finished: Address,
    /// `[rows, query heads, head width]`, written.
    pub queries: Address,
    /// `[prompts, key heads, group, capacity, head width]`, written at one slot per row.
    pub keys: Address,
    /// As `keys`.
    pub values: Address,
    /// Query heads of a layer.
    pub query_heads: u32,
    /// Key and value heads of a layer.
    pub key_heads: u32,
    /// Rows, `group` for each prompt.
    pub rows: u32,
    /// Rows of each prompt.
    pub group: u32,
    /// Slots of a row in the cache.
    pub capacity: u32,
}

/// Attention of one token of every row over its prompt and its own tokens, this one included. Finished rows become 0.
#[derive(Debug, Clone, Copy)]
pub struct Attend {
    /// `[rows, query heads, head width]`.
    pub queries: Address,
    /// `[prompts, key heads, prompt capacity, head width]`: of a prompt, once for all its rows.
    pub prompt_keys: Address,
    /// As `prompt_keys`.
    pub prompt_values: Address,
    /// `[prompts]`, i32: the first slot that counts, above 0 for a prompt that is padded on the left.
    pub prompt_starts: Address,
    /// `[prompts]`, i32: the slot behind the last.
    pub prompt_ends: Address,
    /// `[prompts, key heads, group, capacity, head width]`.
    pub keys: Address,
    /// As `keys`.
    pub values: Address,
    /// `[rows]`, i32: own tokens before this one.
    pub lengths: Address,
    /// `[rows]`, i32.
    pub finished: Address,
    /// `[rows, query heads, prompt splits + own splits, head width + 2]`, f32, scratch.
    pub parts: Address,
    /// `[rows, query heads]`, u32: 0 before and after.
    pub arrived: Address,
    /// `[rows, query heads, head width]`, written.
    pub out: Address,
    /// Query heads of a layer.
    pub query_heads: u32,
    /// Key and value heads of a layer.
    pub key_heads: u32,
    /// Rows, `group` for each prompt.
    pub rows: u32,
    /// Rows of each prompt.
    pub group: u32,
    /// Slots of a prompt.
    pub prompt_capacity: u32,
    /// Slots of a row.
    pub capacity: u32,
    /// Blocks that share a prompt.
    pub prompt_splits: u32,
    /// Blocks that share a row's own tokens.
    pub own_splits: u32,
    /// Factor on the scores.
    pub scale: f32,
}

/// `hidden = silu(gate) · up`, each with its adapter.
#[derive(Debug, Clone, Copy)]
pub struct SwiGlu {
    /// `[rows, 2 · width]`: gate, then up.
    pub gate_up: Address,
    /// The adapters of gate and up, the first two parts.
    pub lora: Option<LoraB>,
    /// `[rows, width]`, written.
    pub hidden: Address,
    /// Rows.
    pub rows: u32,
    /// A multiple of [`Format::pack`].
    pub width: u32,
}

/// Draws the next token of every row, records it with its log-probability, and advances the row. Finished rows stay as
/// they are.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// `[rows, vocabulary]`.
    pub logits: Address,
    /// `[vocabulary]`, u8: 0 for ids that are never drawn.
    pub allowed: Address,
    /// `[record, columns]`, f32, between 0 and 1: the random number of every token of every completion.
    pub uniforms: Address,
    /// `[rows]`, i32: the column of each row in `uniforms`, `drawn` and `logprobs`.
    pub column: Address,
    /// `[rows]`, i64: an id that is taken instead of a drawn one, or -1.
    pub forced: Address,
    /// `[eos_count]`, i64.
    pub eos: Address,
    /// One [`Settings`].
    pub settings: Address,
    /// `[rows]`, i64: written, the next token to run.
    pub ids: Address,
    /// `[rows]`, i32: advanced by 1. The token that is drawn has the index `lengths + 1`.
    pub lengths: Address,
    /// `[rows]`, i32: advanced by 1.
    pub positions: Address,
    /// `[rows]`, i32: becomes 1 at an id in `eos`, 2 at the last token.
    pub finished: Address,
    /// `[record, columns]`, i64, written.
    pub drawn: Address,
    /// `[record, columns]`, f32, written.
    pub logprobs: Address,
    /// `[rows, splits, 4]`, f64, scratch.
    pub parts: Address,
    /// `[rows]`, u32: 0 before and after.
    pub arrived: Address,
    /// Rows.
    pub rows: u32,
    /// Number of ids.
    pub vocabulary: u32,
    /// Number of end-of-sequence ids.
    pub eos_count: u32,
    /// Columns of `uniforms`, `drawn` and `logprobs`.
    pub columns: u32,
    /// Their rows: a completion ends there at the latest.
    pub record: u32,
    /// Blocks that share a row.
    pub splits: u32,
}

/// `y = x · weightᵀ`, or `y += x · weightᵀ`, summed in f32 and rounded once.
#[derive(Debug, Clone, Copy)]
pub struct Gemm {
    /// `[rows, input]`, elements.
    pub x: Address,
    /// `[output, input]`, elements.
    pub weight: Address,
    /// `[rows, output]`, of `format`.
    pub y: Address,
    /// Of `y`: the model's, or f32.
    pub format: Format,
    /// Rows.
    pub rows: u32,
    /// Numbers of a row of `x`.
    pub input: u32,
    /// Numbers of a row of `y`.
    pub output: u32,
    /// Whether the product is added to `y`.
    pub accumulate: bool,
}

/// A part of a step.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// See [`Embed`].
    Embed(Embed),
    /// See [`Norm`].
    Norm(Norm),
    /// See [`Rotate`].
    Rotate(Rotate),
    /// See [`Attend`].
    Attend(Attend),
    /// See [`SwiGlu`].
    SwiGlu(SwiGlu),
    /// See [`Sample`].
    Sample(Sample),
    /// See [`Gemm`].
    Gemm(Gemm),
}

/// How tokens are drawn. It lies in device memory, so a graph stays valid when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[repr(C)]
pub struct Settings {
    /// Factor on the last hidden values: 1 / temperature in f32, 1 in bf16.
    pub factor: f32,
    /// Divisor of the logits: 1 in f32, the temperature in bf16.
    pub divisor: f32,
    /// 1: the most likely id is taken; 0: ids are drawn.
    pub greedy: i32,
    /// Number of tokens at which a completion ends.
    pub limit: i32,
}

impl Settings {
    /// Those of a temperature, of 0 or more, and a greatest number of tokens. In f32 the temperature is applied to the last
    /// hidden values, in bf16 to the logits, as the plain path does it.
    pub fn new(format: Format, temperature: f64, limit: u32) -> Settings {
        let divisor = if temperature == 0.0 { 1.0 } else { temperature };
        let (factor, divisor) = match format {
            Format::F32 => ((1.0 / divisor) as f32, 1.0),
            Format::Bf16 => (1.0, divisor as f32),
        };
        Settings { factor, divisor, greedy: (temperature == 0.0).into(), limit: limit as i32 }
    }
}
