//! The step of a whole decoder, from the ids of the last tokens to those of the next.
//!
//! [`Decoder::new`] allocates the state of a generation and the scratch memory and records the step; weights and caches are
//! the caller's and must stay in place. A generation is: fill the caches and the [`State`], then [`Decoder::run`] once
//! (which also loads what cuBLAS loads on first use), [`Decoder::capture`], and [`Decoder::replay`] for every further token.
#![expect(
    unsafe_code,
    reason = "the caller's addresses can't be checked; what they must be is said at each function"
)]

use crate::buffer::Buffer;
use crate::error::GpuError;
use crate::gpu::{Gpu, Graph};
use crate::kernels::QUERIES;
use crate::op::{Address, Attend, Embed, Format, Gemm, LoraB, Norm, Op, Rotate, Sample, Settings, SwiGlu};
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
    fn new(gpu: &Gpu, shape: &Shape, eos: &[i64]) -> Result<State, GpuError> {
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

impl Shape {
    /// Rows of the batch.
    pub fn rows(&self) -> u32 {
        self.prompts * self.group
    }

    /// Numbers of a row of queries, keys and values.
    fn qkv(&self) -> u32 {
        (self.query_heads + 2 * self.key_heads) * self.head_width
    }

    /// Blocks that share a prompt, and a row's own tokens: enough for every processor to have some, each with at least 128
    /// keys.
    fn splits(&self) -> [u32; 2] {
        let repeat = self.query_heads / self.key_heads.max(1);
        let [of_prompts, of_rows] =
            [self.prompts * (self.group * repeat).div_ceil(QUERIES), self.rows() * repeat.div_ceil(QUERIES)];
        let splits = |blocks: u32, capacity: u32| {
            (BLOCKS / (blocks * self.key_heads).max(1)).clamp(1, capacity.div_ceil(128).max(1))
        };
        [splits(of_prompts, self.prompt_capacity), splits(of_rows, self.capacity)]
    }

    /// Blocks that share a row's logits, each with at least 1024.
    fn sample_splits(&self) -> u32 {
        (BLOCKS / self.rows().max(1)).clamp(1, self.vocabulary.div_ceil(1024).clamp(1, 64))
    }
}

/// Blocks of a launch that keep a large GPU busy.
const BLOCKS: u32 = 512;

/// What lies between the kernels.
struct Scratch {
    x: Buffer,
    normal: Buffer,
    qkv: Buffer,
    inner: Buffer,
    queries: Buffer,
    attended: Buffer,
    gate_up: Buffer,
    hidden: Buffer,
    attend_parts: Buffer,
    attend_arrived: Buffer,
    sample_parts: Buffer,
    sample_arrived: Buffer,
}

impl Scratch {
    fn new(gpu: &Gpu, shape: &Shape, ranks: u32) -> Result<Scratch, GpuError> {
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

/// A decoder's step and its state.
pub struct Decoder {
    gpu: Gpu,
    shape: Shape,
    step: Step,
    state: State,
    /// Kept for the step.
    _scratch: Scratch,
    graph: Option<Graph>,
}

impl Decoder {
    /// Allocates the state and records the step.
    ///
    /// Errors: [`GpuError::Shape`] if the kernels can't run these sizes; a failed allocation.
    pub fn new(gpu: &Gpu, shape: Shape, weights: &Weights, eos: &[i64]) -> Result<Decoder, GpuError> {
        check(gpu, &shape)?;
        let adapters =
            weights.layers.iter().flat_map(Layer::projections).filter_map(|part| part.adapter.as_ref());
        let ranks = adapters.map(Adapter::width).max().unwrap_or(0);
        let (state, scratch) = (State::new(gpu, &shape, eos)?, Scratch::new(gpu, &shape, ranks)?);
        let step = Recorder { shape: &shape, state: &state, scratch: &scratch, step: Step::new() };
        let step = step.record(weights, eos.len() as u32);
        step.check(shape.format, shape.head_width)?;
        Ok(Decoder { gpu: gpu.clone(), shape, step, state, _scratch: scratch, graph: None })
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
        // SAFETY: as the caller promises; the other addresses are the decoder's own.
        unsafe { self.gpu.run(&self.step) }
    }

    /// Captures the step as a graph. Nothing is run. Returns the number of the graph's nodes.
    ///
    /// # Safety
    /// As [`Decoder::run`], for as long as the graph is replayed.
    pub unsafe fn capture(&mut self) -> Result<usize, GpuError> {
        // SAFETY: as for `run`.
        let graph = unsafe { self.gpu.capture(&self.step) }?;
        Ok(self.graph.insert(graph).nodes())
    }

    /// Runs the captured step, or the step launch by launch if it has not been captured, without waiting for it.
    ///
    /// # Safety
    /// As [`Decoder::run`].
    pub unsafe fn replay(&self) -> Result<(), GpuError> {
        match &self.graph {
            // SAFETY: as for `run`.
            Some(graph) => unsafe { graph.replay() },
            // SAFETY: as for `run`.
            None => unsafe { self.run() },
        }
    }
}

/// What no kernel checks by itself.
fn check(gpu: &Gpu, shape: &Shape) -> Result<(), GpuError> {
    let wrong = |what, found: u32, needed: String| Err(GpuError::Shape { what, found: found.into(), needed });
    if shape.head_width != gpu.head_width() {
        return wrong(
            "the width of a head",
            shape.head_width,
            format!("the kernels are for {}", gpu.head_width()),
        );
    }
    if shape.format != gpu.format() {
        let needed = format!("the kernels are for {:?}", gpu.format());
        return wrong("the size of an element in bytes", shape.format.bytes() as u32, needed);
    }
    if shape.columns < shape.rows() {
        return wrong("the number of completions", shape.columns, format!("there are {} rows", shape.rows()));
    }
    if shape.key_heads == 0 {
        return wrong("the number of key heads", 0, "it must be above 0".to_owned());
    }
    Ok(())
}

impl Layer {
    fn projections(&self) -> [&Projection; 4] {
        [&self.qkv, &self.out, &self.gate_up, &self.down]
    }
}

impl Adapter {
    /// Sum of the ranks.
    fn width(&self) -> u32 {
        self.ranks.iter().sum()
    }

    /// For the kernel that applies `B`.
    fn upper(&self, inner: Address) -> LoraB {
        let mut parts = [(0, 0); 3];
        let mut first = 0;
        for (part, &rank) in parts.iter_mut().zip(&self.ranks) {
            *part = (first, rank);
            first += rank;
        }
        LoraB { inner, b: self.b, ranks: self.width(), parts, scale: self.scale }
    }
}

/// Records a step.
struct Recorder<'a> {
    shape: &'a Shape,
    state: &'a State,
    scratch: &'a Scratch,
    step: Step,
}

impl Recorder<'_> {
    fn record(mut self, weights: &Weights, eos_count: u32) -> Step {
        let (shape, scratch) = (self.shape, self.scratch);
        let first = weights.layers.first().map_or(weights.norm, |layer| layer.attention_norm);
        self.step.push(Op::Embed(Embed {
            ids: self.state.ids.address(),
            table: weights.embedding,
            weight: first,
            x: scratch.x.address(),
            normal: scratch.normal.address(),
            vocabulary: shape.vocabulary,
            rows: shape.rows(),
            width: shape.hidden,
            eps: shape.eps,
        }));
        for (index, layer) in weights.layers.iter().enumerate() {
            // The norm behind a layer is the next one's first, or the final one.
            let next = weights.layers.get(index + 1).map(|layer| layer.attention_norm);
            self.attention(layer, weights);
            self.feed_forward(layer, next.unwrap_or(weights.norm), next.is_none());
        }
        let (normal, logits) = (scratch.normal.address(), self.state.logits.address());
        self.gemm(normal, weights.head, (logits, shape.format), [shape.hidden, shape.vocabulary], false);
        if shape.sample {
            self.sample(eos_count);
        }
        self.step
    }

    fn attention(&mut self, layer: &Layer, weights: &Weights) {
        let (shape, state, scratch) = (self.shape, self.state, self.scratch);
        let normal = scratch.normal.address();
        let qkv = (scratch.qkv.address(), Format::F32);
        self.gemm(normal, layer.qkv.weight, qkv, [shape.hidden, shape.qkv()], false);
        let lora = self.lower(&layer.qkv, normal, shape.hidden);
        self.step.push(Op::Rotate(Rotate {
            qkv: qkv.0,
            bias: layer.qkv.bias,
            lora,
            query_norm: layer.query_norm,
            key_norm: layer.key_norm,
            eps: shape.eps,
            cos: weights.cos,
            sin: weights.sin,
            positions: state.positions.address(),
            lengths: state.lengths.address(),
            finished: state.finished.address(),
            queries: scratch.queries.address(),
            keys: layer.keys,
            values: layer.values,
            query_heads: shape.query_heads,
            key_heads: shape.key_heads,
            rows: shape.rows(),
            group: shape.group,
            capacity: shape.capacity,
        }));
        self.step.push(Op::Attend(self.attend(layer)));
        let (attended, width) = (scratch.attended.address(), shape.query_heads * shape.head_width);
        self.onto(&layer.out, attended, width, layer.ffn_norm, Address::NULL);
    }

    fn attend(&self, layer: &Layer) -> Attend {
        let (shape, state, scratch) = (self.shape, self.state, self.scratch);
        let [prompt_splits, own_splits] = shape.splits();
        Attend {
            queries: scratch.queries.address(),
            prompt_keys: layer.prompt_keys,
            prompt_values: layer.prompt_values,
            prompt_starts: state.prompt_starts.address(),
            prompt_ends: state.prompt_ends.address(),
            keys: layer.keys,
            values: layer.values,
            lengths: state.lengths.address(),
            finished: state.finished.address(),
            parts: scratch.attend_parts.address(),
            arrived: scratch.attend_arrived.address(),
            out: scratch.attended.address(),
            query_heads: shape.query_heads,
            key_heads: shape.key_heads,
            rows: shape.rows(),
            group: shape.group,
            prompt_capacity: shape.prompt_capacity,
            capacity: shape.capacity,
            prompt_splits,
            own_splits,
            scale: (1.0 / f64::from(shape.head_width).sqrt()) as f32,
        }
    }

    fn feed_forward(&mut self, layer: &Layer, next: Address, last: bool) {
        let (shape, scratch) = (self.shape, self.scratch);
        let (normal, gate_up) = (scratch.normal.address(), scratch.gate_up.address());
        self.gemm(
            normal,
            layer.gate_up.weight,
            (gate_up, shape.format),
            [shape.hidden, 2 * shape.ffn],
            false,
        );
        let lora = self.lower(&layer.gate_up, normal, shape.hidden);
        let hidden = scratch.hidden.address();
        self.step.push(Op::SwiGlu(SwiGlu { gate_up, lora, hidden, rows: shape.rows(), width: shape.ffn }));
        // `factor` is the first of the settings.
        let factor = if last { self.state.settings.address() } else { Address::NULL };
        self.onto(&layer.down, hidden, shape.ffn, next, factor);
    }

    /// A projection that is added to the residual stream, and the norm behind it.
    fn onto(&mut self, projection: &Projection, from: Address, width: u32, weight: Address, factor: Address) {
        let (shape, scratch) = (self.shape, self.scratch);
        let x = scratch.x.address();
        self.gemm(from, projection.weight, (x, shape.format), [width, shape.hidden], true);
        let lora = self.lower(projection, from, width);
        let normal = scratch.normal.address();
        let (rows, width, eps) = (shape.rows(), shape.hidden, shape.eps);
        self.step.push(Op::Norm(Norm { x, lora, weight, normal, factor, rows, width, eps }));
    }

    /// The product with a projection's `A`, if it has adapters.
    fn lower(&mut self, projection: &Projection, x: Address, width: u32) -> Option<LoraB> {
        let adapter = projection.adapter.as_ref().filter(|adapter| adapter.width() > 0)?;
        let inner = self.scratch.inner.address();
        self.gemm(x, adapter.a, (inner, Format::F32), [width, adapter.width()], false);
        Some(adapter.upper(inner))
    }

    fn gemm(
        &mut self,
        x: Address,
        weight: Address,
        (y, format): (Address, Format),
        [input, output]: [u32; 2],
        accumulate: bool,
    ) {
        let rows = self.shape.rows();
        self.step.push(Op::Gemm(Gemm { x, weight, y, format, rows, input, output, accumulate }));
    }

    fn sample(&mut self, eos_count: u32) {
        let (shape, state, scratch) = (self.shape, self.state, self.scratch);
        self.step.push(Op::Sample(Sample {
            logits: state.logits.address(),
            allowed: state.allowed.address(),
            uniforms: state.uniforms.address(),
            column: state.column.address(),
            forced: state.forced.address(),
            eos: state.eos.address(),
            settings: state.settings.address(),
            ids: state.ids.address(),
            lengths: state.lengths.address(),
            positions: state.positions.address(),
            finished: state.finished.address(),
            drawn: state.drawn.address(),
            logprobs: state.logprobs.address(),
            parts: scratch.sample_parts.address(),
            arrived: scratch.sample_arrived.address(),
            rows: shape.rows(),
            vocabulary: shape.vocabulary,
            eos_count,
            columns: shape.columns,
            record: shape.limit,
            splits: shape.sample_splits(),
        }));
    }
}
