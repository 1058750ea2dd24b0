//! The tensors of a decoder in the order in which a step applies them, for an engine that reads them by address
//! (`graph.rs`).

use tch::Tensor;

use super::{Decoder, Layer};
use crate::nn::Projection;

/// All tensors that a token passes through.
pub(crate) struct Weights<'a> {
    /// `[vocabulary, hidden]`.
    pub(crate) embedding: &'a Tensor,
    pub(crate) layers: Vec<LayerWeights<'a>>,
    /// `[hidden]`.
    pub(crate) norm: &'a Tensor,
    /// `weight: [vocabulary, hidden]`, which may be the embedding.
    pub(crate) head: Projection<'a>,
}

/// The tensors of one layer.
pub(crate) struct LayerWeights<'a> {
    /// `[hidden]`.
    pub(crate) attention_norm: &'a Tensor,
    pub(crate) qkv: Projection<'a>,
    /// `[head width]` each: the norms of queries and keys.
    pub(crate) query_key_norms: Option<[&'a Tensor; 2]>,
    pub(crate) out: Projection<'a>,
    /// `[hidden]`.
    pub(crate) ffn_norm: &'a Tensor,
    pub(crate) gate_up: Projection<'a>,
    pub(crate) down: Projection<'a>,
}

impl Decoder {
    /// The tensors of a step; `None` if some of them take gradients, which are then not joined (PARAM-2).
    pub(crate) fn weights(&self) -> Option<Weights<'_>> {
        Some(Weights {
            embedding: &self.embedding,
            layers: self.layers.iter().map(Layer::weights).collect::<Option<_>>()?,
            norm: &self.norm.weight,
            head: self.head.projection()?,
        })
    }
}

impl Layer {
    fn weights(&self) -> Option<LayerWeights<'_>> {
        Some(LayerWeights {
            attention_norm: &self.attention_norm.weight,
            qkv: self.qkv.projection()?,
            query_key_norms: self
                .query_key_norms
                .as_ref()
                .map(|norms| norms.each_ref().map(|norm| &norm.weight)),
            out: self.out.projection()?,
            ffn_norm: &self.ffn_norm.weight,
            gate_up: self.gate_up.projection()?,
            down: self.down.projection()?,
        })
    }
}
