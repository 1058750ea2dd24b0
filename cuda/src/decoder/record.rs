//! The recording of a decoder's step.

use super::shape::{Layer, Projection, Shape, Weights};
use super::state::{Scratch, State};
use crate::op::{Address, Attend, Embed, Format, Gemm, LoraB, Norm, Op, Rotate, Sample, SwiGlu};
use crate::step::Step;

/// The step of a decoder, from the ids of the last tokens to the logits or the ids of the next.
pub(super) fn record(
    shape: &Shape,
    state: &State,
    scratch: &Scratch,
    weights: &Weights,
    eos_count: u32,
) -> Step {
    Recorder { shape, state, scratch, step: Step::new() }.record(weights, eos_count)
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
