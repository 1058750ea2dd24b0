//! The device of a model with the steps that were captured on it.

use cuda::decoder::{Adapter, Layer, Projection, Shape, Weights};
use cuda::{Address, Format, Gpu, Libraries};
use tch::{Device, Kind, Tensor};

use super::caches::Caches;
use super::captured::Captured;
use super::{Decode, Draws, Graphs, Session};
use crate::decoder;
use crate::error::GraphError;
use crate::kv_cache::KvCache;
use crate::network::Network;
use crate::nn;

/// Most captured steps that are kept, each with logits for its batch.
const KEPT: usize = 8;

/// Slots by which the capacities of caches are rounded up, so that few lengths need steps of their own.
const SLOTS: i64 = 64;

/// A device with the kernels for a model, and its captured steps.
pub(super) struct Engine {
    gpu: Gpu,
    /// `[positions, head width]` each: the rotary angles of all positions.
    angles: [Tensor; 2],
    /// The one that was used last is at the end.
    captured: Vec<Captured>,
}

impl Engine {
    pub(super) fn open(libraries: &Libraries, model: &Network) -> Result<Engine, GraphError> {
        let format = match model.kind() {
            Kind::Float => Format::F32,
            Kind::BFloat16 => Format::Bf16,
            other => return Err(GraphError::Kind(other)),
        };
        let ordinal = match model.device() {
            Device::Cuda(index) => index as u32,
            _ => 0,
        };
        let text = &model.config.text;
        let gpu = Gpu::open(libraries, ordinal, format, text.head_dim as u32)?;
        let positions = Tensor::f_arange(text.max_position_embeddings, (Kind::Int64, model.device()))?;
        let angles = model.decoder.angles(&positions).tables();
        Ok(Engine { gpu, angles, captured: Vec::new() })
    }

    /// A session for a batch, with a step of its shape that is captured, if there is none yet.
    pub(super) fn begin<'a>(
        &mut self,
        graphs: &'a Graphs,
        model: &'a Network,
        cache: &KvCache,
        decode: &Decode<'_>,
    ) -> Result<Session<'a>, GraphError> {
        let tensors = model.decoder.weights().ok_or(GraphError::Trains)?;
        if tensors.head.adapter.is_some() || tensors.head.bias.is_some() {
            return Err(GraphError::Head);
        }
        let shape = shape(model, self.gpu.format(), cache, decode);
        let caches = Caches::new(&shape, model)?;
        let weights = self.weights(&tensors, &caches);
        let eos = match decode.draws {
            Draws::OnDevice { eos, .. } => eos,
            Draws::Outside => &[],
        };
        let known = self.captured.iter().position(|known| *known.shape() == shape && known.eos == eos);
        let known = known.map(|index| self.captured.remove(index)).filter(|known| known.weights == weights);
        let captured = match known {
            Some(known) => known,
            None => Captured::new(&self.gpu, shape, weights, eos)?,
        };
        Ok(Session::new(graphs, model, self.gpu.clone(), captured, caches, decode))
    }

    /// Keeps a captured step for later.
    pub(super) fn keep(&mut self, captured: Captured) {
        self.captured.push(captured);
        if self.captured.len() > KEPT {
            self.captured.remove(0);
        }
    }

    /// The addresses of a model's tensors, and of the caches of a batch.
    fn weights(&self, tensors: &decoder::Weights<'_>, caches: &Caches) -> Weights {
        let layers = tensors.layers.iter().zip(caches.layers());
        Weights {
            embedding: address(tensors.embedding),
            layers: layers.map(|(layer, caches)| layer_of(layer, caches)).collect(),
            norm: address(tensors.norm),
            head: address(tensors.head.weight),
            cos: address(&self.angles[0]),
            sin: address(&self.angles[1]),
        }
    }
}

/// Where a tensor begins in the device's memory.
pub(super) fn address(tensor: &Tensor) -> Address {
    Address::from(tensor.data_ptr())
}

fn layer_of(
    layer: &decoder::LayerWeights<'_>,
    [prompt_keys, prompt_values, keys, values]: &[Tensor; 4],
) -> Layer {
    let norm = |index: usize| layer.query_key_norms.map_or(Address::NULL, |norms| address(norms[index]));
    Layer {
        attention_norm: address(layer.attention_norm),
        qkv: projection(&layer.qkv),
        query_norm: norm(0),
        key_norm: norm(1),
        out: projection(&layer.out),
        ffn_norm: address(layer.ffn_norm),
        gate_up: projection(&layer.gate_up),
        down: projection(&layer.down),
        prompt_keys: address(prompt_keys),
        prompt_values: address(prompt_values),
        keys: address(keys),
        values: address(values),
    }
}

fn projection(projection: &nn::Projection<'_>) -> Projection {
    let adapter = projection.adapter.as_ref().map(|adapter| Adapter {
        a: address(adapter.a),
        b: address(adapter.b),
        ranks: adapter.ranks.iter().map(|&rank| rank as u32).collect(),
        scale: adapter.scale as f32,
    });
    Projection {
        weight: address(projection.weight),
        bias: projection.bias.map_or(Address::NULL, address),
        adapter,
    }
}

/// The shape of the step for a batch. Capacities are rounded up, and so is the number of prompts that have one row each.
fn shape(model: &Network, format: Format, cache: &KvCache, decode: &Decode<'_>) -> Shape {
    let (text, [batch, group, length]) = (&model.config.text, cache.shape());
    let rounded = |tokens: i64| (tokens.max(1) as u32).next_multiple_of(SLOTS as u32);
    let prompts = if group == 1 { (batch as u32).next_power_of_two() } else { batch as u32 };
    Shape {
        format,
        hidden: text.hidden_size as u32,
        ffn: text.intermediate_size as u32,
        query_heads: text.num_attention_heads as u32,
        key_heads: text.num_key_value_heads as u32,
        head_width: text.head_dim as u32,
        vocabulary: text.vocab_size as u32,
        eps: text.rms_norm_eps as f32,
        prompts,
        group: group as u32,
        prompt_capacity: rounded(length),
        capacity: rounded(decode.limit),
        limit: rounded(decode.limit),
        columns: prompts * group as u32,
        sample: matches!(decode.draws, Draws::OnDevice { .. }),
    }
}
