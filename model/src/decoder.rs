//! The language model: a Llama, Qwen2 or Qwen3 decoder over a flat list of tokens.
//!
//! The decoder has no notion of a batch or a cache. It maps rows to rows, and each layer passes its queries, keys and
//! values to an [`Attention`] of the caller: `PromptAttention` to fill a cache, `GroupAttention` for log-probabilities,
//! or `KvCache` for the next token. All callers therefore run the same layers, on exactly the rows that they need.
//!
//! - `DECODER-1` RMS norms and rotary angles are computed in f32, whatever the dtype of the weights.

pub(crate) mod attention;
pub(crate) mod heads;
pub(crate) mod rope;
mod weights;

use tch::{Kind, Tensor};

use crate::config::TextConfig;
use crate::error::ModelError;
use crate::init::Init;
use crate::nn::{Builder, JoinedLinear, Linear, RmsNorm};
use heads::{Attention, HeadSizes, Heads, split};
use rope::{Angles, Rope};
pub(crate) use weights::{LayerWeights, Weights};

/// A decoder with its embedding and its output projection.
pub(crate) struct Decoder {
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    rope: Rope,
    pub(crate) sizes: HeadSizes,
}

struct Layer {
    attention_norm: RmsNorm,
    qkv: JoinedLinear,
    /// The norms of each head's queries and of its keys, in architectures that have them.
    query_key_norms: Option<[RmsNorm; 2]>,
    out: Linear,
    ffn_norm: RmsNorm,
    gate_up: JoinedLinear,
    down: Linear,
    sizes: HeadSizes,
}

impl Decoder {
    /// Builds the decoder from the tensors `model.*` and `lm_head.*`.
    pub(crate) fn new(builder: &mut Builder<'_>, config: &TextConfig) -> Result<Decoder, ModelError> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let mut model = builder.sub("model");
        let embedding = model.tensor("embed_tokens.weight", &[vocab, hidden], Init::Embedding)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::new(&mut model.sub("layers").sub(index), config))
            .collect::<Result<_, _>>()?;
        let norm = RmsNorm::new(&mut model.sub("norm"), hidden, config.rms_norm_eps)?;
        let head = match config.tie_word_embeddings {
            true => Linear::tied(&embedding),
            false => Linear::new(&mut builder.sub("lm_head"), hidden, vocab, false)?,
        };
        let options = (embedding.kind(), embedding.device());
        let rope = Rope::new(config.head_dim, config.rope_theta, config.mrope_section, options);
        Ok(Decoder { embedding, layers, norm, head, rope, sizes: HeadSizes::of(config) })
    }

    /// The dtype of weights and activations.
    fn kind(&self) -> Kind {
        self.embedding.kind()
    }

    /// The embeddings of token ids.
    ///
    /// Shapes: `ids: [rows]`, i64 → `[rows, hidden]`, in the model's dtype
    pub(crate) fn embed(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, ids, -1, false, false)
    }

    /// The rotary angles of some positions.
    ///
    /// Shapes: `positions: [rows]`, i64, or `[3, rows]` where time, height and width differ
    pub(crate) fn angles(&self, positions: &Tensor) -> Angles {
        self.rope.angles(positions)
    }

    /// Runs all layers. With `keep`, only those rows are returned, and the last layer computes only keys and values for
    /// the others. The final norm is applied by [`Decoder::project`].
    ///
    /// Shapes: `x: [rows, hidden]`, in the model's dtype; `keep: [kept]`, i64, indices of rows →
    /// `[rows or kept, hidden]`
    pub(crate) fn run(
        &self,
        mut x: Tensor,
        angles: &Angles,
        attention: &mut dyn Attention,
        keep: Option<&Tensor>,
    ) -> Tensor {
        for index in 0..self.depth() {
            x = self.layer(index, &x, angles, attention, keep);
        }
        x
    }

    /// The number of layers.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Runs one layer. The last one returns only the rows in `keep`.
    ///
    /// Shapes: As [`Decoder::run`], for one layer.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: &Tensor,
        angles: &Angles,
        attention: &mut dyn Attention,
        keep: Option<&Tensor>,
    ) -> Tensor {
        let last = index + 1 == self.depth();
        self.layers[index].forward(x, angles, index, attention, keep.filter(|_| last))
    }

    /// Whether the embedding takes gradients in this model.
    pub(crate) fn embedding_learns(&self) -> bool {
        self.embedding.requires_grad()
    }

    /// Applies the final norm and the output projection, and divides the logits by the temperature.
    ///
    /// Shapes: `x: [rows, hidden]`, in the model's dtype → `[rows, vocabulary]`, f32
    pub(crate) fn project(&self, x: &Tensor, temperature: f64) -> Tensor {
        let normal = self.norm.forward(x);
        // In f32 the temperature is applied to the hidden values, which are fewer than the logits. In 16
        // bits that would round.
        if temperature != 1.0 && self.kind() == Kind::Float {
            return self.head.forward(&(normal * (1.0 / temperature)));
        }
        let logits = self.head.forward(&normal).to_kind(Kind::Float);
        if temperature == 1.0 { logits } else { logits / temperature }
    }
}

impl Layer {
    fn new(builder: &mut Builder<'_>, config: &TextConfig) -> Result<Layer, ModelError> {
        let (hidden, ffn, eps) = (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let sizes = HeadSizes::of(config);
        let (queries, keys) = (sizes.queries * sizes.width, sizes.keys * sizes.width);
        let projections = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)];
        Ok(Layer {
            attention_norm: RmsNorm::new(&mut builder.sub("input_layernorm"), hidden, eps)?,
            qkv: JoinedLinear::new(&mut builder.sub("self_attn"), hidden, &projections, config.qkv_bias)?,
            query_key_norms: match config.qk_norm {
                true => Some([
                    RmsNorm::new(&mut builder.sub("self_attn.q_norm"), sizes.width, eps)?,
                    RmsNorm::new(&mut builder.sub("self_attn.k_norm"), sizes.width, eps)?,
                ]),
                false => None,
            },
            out: Linear::new(&mut builder.sub("self_attn.o_proj"), queries, hidden, false)?,
            ffn_norm: RmsNorm::new(&mut builder.sub("post_attention_layernorm"), hidden, eps)?,
            gate_up: JoinedLinear::new(
                &mut builder.sub("mlp"),
                hidden,
                &[("gate_proj", ffn), ("up_proj", ffn)],
                false,
            )?,
            down: Linear::new(&mut builder.sub("mlp.down_proj"), ffn, hidden, false)?,
            sizes,
        })
    }

    /// The layer with index `index` on all rows, and from the attention on only on the rows in `keep`.
    ///
    /// Shapes: `x: [rows, hidden]`, in the model's dtype; `keep: [kept]`, i64 → `[rows or kept, hidden]`
    fn forward(
        &self,
        x: &Tensor,
        angles: &Angles,
        index: usize,
        attention: &mut dyn Attention,
        keep: Option<&Tensor>,
    ) -> Tensor {
        let HeadSizes { queries, keys, width } = self.sizes;
        let rows = x.size()[0];
        let qkv = self.qkv.forward(&self.attention_norm.forward(x)).view([rows, queries + 2 * keys, width]);
        // The backward pass of a split assembles one gradient; that of two `narrow`s pads two and adds them.
        let [mut queries_keys, values] = split(&qkv, [queries + keys, keys], 1);
        if let Some([of_queries, of_keys]) = &self.query_key_norms {
            let [query, key] = split(&queries_keys, [queries, keys], 1);
            queries_keys = Tensor::cat(&[of_queries.forward(&query), of_keys.forward(&key)], 1);
        }
        let heads = Heads { queries_keys: angles.rotate(&queries_keys), values };
        let attended = attention.attend(index, &heads);
        let x = match keep {
            Some(rows) => self.out.forward_onto(&x.index_select(0, rows), &attended.index_select(0, rows)),
            None => self.out.forward_onto(x, &attended),
        };
        let gate_up = self.gate_up.forward(&self.ffn_norm.forward(&x));
        let [gate, up] = split(&gate_up, [gate_up.size()[1] / 2; 2], 1);
        let hidden = gate.silu() * up;
        self.down.forward_onto(&x, &hidden)
    }
}
