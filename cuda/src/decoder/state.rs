//! The device memory of a decoder: what changes from step to step, and what lies between the kernels.

use super::shape::Shape;
use crate::buffer::Buffer;
use crate::error::GpuError;
use crate::gpu::Gpu;
use crate::op::Settings;

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

impl State {
    pub(super) fn new(gpu: &Gpu, shape: &Shape, eos: &[i64]) -> Result<State, GpuError> {
        let rows = shape.rows() as usize;
        let (record, ids) = (shape.limit as usize * shape.columns as usize, shape.vocabulary as usize);
        let state = State {
            ids: gpu.alloc(rows * 8)?,
            positions: gpu.alloc(rows * 4)?,
            lengths: gpu.alloc(rows * 4)?,
            finished: gpu.alloc(rows * 4)?,
            prompt_starts: gpu.alloc(shape.prompts as usize * 4)?,
            prompt_ends: gpu.alloc(shape.prompts as usize * 4)?,
            column: gpu.alloc(rows * 4)?,
            forced: gpu.alloc(rows * 8)?,
            uniforms: gpu.alloc(record * 4)?,
            drawn: gpu.alloc(record * 8)?,
            logprobs: gpu.alloc(record * 4)?,
            allowed: gpu.alloc(ids)?,
            eos: gpu.alloc(eos.len() * 8)?,
            settings: gpu.alloc(size_of::<Settings>())?,
            logits: gpu.alloc(rows * ids * shape.format.bytes())?,
        };
        state.finished.upload(&vec![1i32; rows])?;
        state.column.upload(&(0..rows as i32).collect::<Vec<_>>())?;
        state.forced.upload(&vec![-1i64; rows])?;
        state.allowed.upload(&vec![1u8; ids])?;
        state.eos.upload(eos)?;
        state.settings.upload(&[Settings::new(shape.format, 1.0, shape.limit)])?;
        Ok(state)
    }
}

/// What lies between the kernels.
pub(super) struct Scratch {
    pub(super) x: Buffer,
    pub(super) normal: Buffer,
    pub(super) qkv: Buffer,
    pub(super) inner: Buffer,
    pub(super) queries: Buffer,
    pub(super) attended: Buffer,
    pub(super) gate_up: Buffer,
    pub(super) hidden: Buffer,
    pub(super) attend_parts: Buffer,
    pub(super) attend_arrived: Buffer,
    pub(super) sample_parts: Buffer,
    pub(super) sample_arrived: Buffer,
}

impl Scratch {
    pub(super) fn new(gpu: &Gpu, shape: &Shape, ranks: u32) -> Result<Scratch, GpuError> {
        let rows = shape.rows() as usize;
        let element = shape.format.bytes();
        let heads = rows * shape.query_heads as usize;
        let elements = |width: u32| gpu.alloc(rows * width as usize * element);
        let numbers = |width: u32| gpu.alloc(rows * width as usize * 4);
        let splits: u32 = shape.splits().iter().sum();
        Ok(Scratch {
            x: elements(shape.hidden)?,
            normal: elements(shape.hidden)?,
            qkv: numbers(shape.qkv())?,
            inner: numbers(ranks)?,
            queries: elements(shape.query_heads * shape.head_width)?,
            attended: elements(shape.query_heads * shape.head_width)?,
            gate_up: elements(2 * shape.ffn)?,
            hidden: elements(shape.ffn)?,
            attend_parts: gpu.alloc(heads * splits as usize * (shape.head_width as usize + 2) * 4)?,
            attend_arrived: gpu.alloc(heads * 4)?,
            sample_parts: gpu.alloc(rows * shape.sample_splits() as usize * 4 * 8)?,
            sample_arrived: gpu.alloc(rows * 4)?,
        })
    }
}
