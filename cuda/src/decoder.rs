//! The step of a whole decoder, from the ids of the last tokens to those of the next.
//!
//! [`Decoder::new`] allocates the state of a generation and the scratch memory and records the step; weights and caches are
//! the caller's and must stay in place. A generation is: fill the caches and the [`State`], then [`Decoder::run`] once
//! (which also loads what cuBLAS loads on first use), [`Decoder::capture`], and [`Decoder::replay`] for every further token.

use crate::error::GpuError;
use crate::gpu::{Buffer, Gpu, Graph};
use crate::op::{Address, Format};
use crate::step::Step;

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
    /// Width of a head: that of the [`Gpu`]'s kernels.
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
#[derive(Debug, Clone, Default)]
pub struct Projection {
    /// `[output, input]`.
    pub weight: Address,
    /// `[output]`, or null; only for queries, keys and values.
    pub bias: Address,
    /// The adapters.
    pub adapter: Option<Adapter>,
}

/// The adapters of a [`Projection`], as the sampler's replica stores them.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, Default)]
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
#[derive(Debug, Clone, Default)]
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

/// How tokens are drawn. It lies in device memory, so a graph stays valid when it changes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Settings {
    /// Factor on the last hidden values: 1 / temperature in f32; 1 in bf16, as `Decoder::project` does it.
    pub factor: f32,
    /// Divisor of the logits: the temperature in bf16, 1 in f32.
    pub divisor: f32,
    /// 1: the most likely id is taken; 0: ids are drawn.
    pub greedy: i32,
    /// Number of tokens at which a completion ends.
    pub limit: i32,
}

/// What changes from step to step, and what a generation needs, in device memory. `rows` is `prompts · group`.
pub struct State {
    /// `[rows]`, i64: the tokens that the next step runs. The host may overwrite them between steps.
    pub ids: Buffer,
    /// `[rows]`, i32: their positions.
    pub positions: Buffer,
    /// `[rows]`, i32: own tokens that are in the cache, before the step. -1 with the position before, to draw
    /// the first token of a row from logits that something else has computed.
    pub lengths: Buffer,
    /// `[rows]`, i32: 0 for a row that goes on, 1 after an end-of-sequence id, 2 at its last token. All 1 at first.
    pub finished: Buffer,
    /// `[prompts]`, i32: the first slot of a prompt that counts.
    pub prompt_starts: Buffer,
    /// `[prompts]`, i32: the slot behind the last.
    pub prompt_ends: Buffer,
    /// `[rows]`, i32: the completion of each row. 0, 1, 2, … at first.
    pub column: Buffer,
    /// `[rows]`, i64: an id that the step takes instead of drawing one, or -1. All -1 at first; the step does not reset it.
    pub forced: Buffer,
    /// `[limit, columns]`, f32: the random numbers.
    pub uniforms: Buffer,
    /// `[limit, columns]`, i64: the tokens.
    pub drawn: Buffer,
    /// `[limit, columns]`, f32: their log-probabilities.
    pub logprobs: Buffer,
    /// `[vocabulary]`, u8: 0 for suppressed ids. All 1 at first.
    pub allowed: Buffer,
    /// `[number of end-of-sequence ids]`, i64.
    pub eos: Buffer,
    /// One [`Settings`].
    pub settings: Buffer,
    /// `[rows, vocabulary]`, elements: the logits of the last step, not yet divided by `divisor`.
    pub logits: Buffer,
}

/// A decoder's step and its state.
pub struct Decoder {
    gpu: Gpu,
    shape: Shape,
    step: Step,
    state: State,
    scratch: Vec<Buffer>,
    graph: Option<Graph>,
}

impl Decoder {
    /// Allocates the state and records the step.
    ///
    /// Errors: [`GpuError::Shape`] if the kernels can't run these sizes; a failed allocation.
    pub fn new(gpu: &Gpu, shape: Shape, weights: &Weights, eos: &[i64]) -> Result<Decoder, GpuError> {
        todo!()
    }

    /// The state, to be filled before a generation and read after it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The recorded step: for its number of launches.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// Runs the step, launch by launch, without waiting for it.
    ///
    /// # Safety
    /// The addresses of [`Weights`] are valid for their shapes until the device has finished, and nothing else writes
    /// to them meanwhile.
    pub unsafe fn run(&self) -> Result<(), GpuError> {
        todo!()
    }

    /// Captures the step as a graph. Nothing is run. Returns the number of the graph's nodes.
    ///
    /// # Safety
    /// As [`Decoder::run`], for as long as the graph is replayed.
    pub unsafe fn capture(&mut self) -> Result<usize, GpuError> {
        todo!()
    }

    /// Runs the captured step, or the step launch by launch if it has not been captured, without waiting for it.
    ///
    /// # Safety
    /// As [`Decoder::run`].
    pub unsafe fn replay(&self) -> Result<(), GpuError> {
        todo!()
    }
}
