//! The language model: a Qwen2 or Qwen3 decoder over a flat list of tokens.
//!
//! The decoder itself knows no batch and no cache. It maps rows to rows, and each layer hands its queries, keys and
//! values to an attention it is given: [`attention::PromptAttention`] to fill a cache, [`attention::GroupAttention`] for
//! log-probabilities, [`crate::kv_cache::KvCache`] for the next token. So every caller runs the same layers, on exactly
//! the rows it needs.
//!
//! - DECODER-1 RMS norms and rotary angles are computed in f32 whatever the weights' format.

pub(crate) mod attention;
pub(crate) mod rope;

use tch::{Kind, Tensor};

use crate::config::TextConfig;
use crate::error::ModelError;
use crate::nn::{Builder, JoinedLinear, Linear, RmsNorm};
use crate::params::Init;
use rope::{Angles, Rope};

/// How many heads of what width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadSizes {
    pub(crate) queries: i64,
    pub(crate) keys: i64,
    pub(crate) width: i64,
}

/// One layer's rotated queries and keys, and its values.
pub(crate) struct Heads {
    /// `[rows, query heads + key heads, head width]`: queries first.
    pub(crate) queries_keys: Tensor,
    /// `[rows, key heads, head width]`
    pub(crate) values: Tensor,
}

/// What a layer does with its heads: returns `[rows, query heads × head width]`.
pub(crate) trait Attention {
    fn attend(&mut self, layer: usize, heads: &Heads) -> Tensor;
}

/// Two parts of a tensor along one dimension.
fn split(x: &Tensor, sizes: [i64; 2], dim: i64) -> [Tensor; 2] {
    let parts: Result<[Tensor; 2], _> = x.split_with_sizes(sizes, dim).try_into();
    parts.expect("as many parts as sizes")
}

/// The decoder.
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
    /// Of each head's queries and keys, where the architecture has them.
    query_key_norms: Option<[RmsNorm; 2]>,
    out: Linear,
    ffn_norm: RmsNorm,
    gate_up: JoinedLinear,
    down: Linear,
    sizes: HeadSizes,
}

impl Decoder {
    /// Builds the decoder from tensors below `model.` and `lm_head.`.
    pub(crate) fn new(builder: &mut Builder<'_>, config: &TextConfig) -> Result<Decoder, ModelError> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let mut model = builder.below("model");
        let embedding = model.tensor("embed_tokens.weight", &[vocab, hidden], Init::Embedding)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::new(&mut model.below("layers").below(index), config))
            .collect::<Result<_, _>>()?;
        let norm = RmsNorm::new(&mut model.below("norm"), hidden, config.rms_norm_eps)?;
        let head = match config.tie_word_embeddings {
            true => Linear::tied(&embedding),
            false => Linear::new(&mut builder.below("lm_head"), hidden, vocab, false)?,
        };
        let options = (embedding.kind(), embedding.device());
        let rope = Rope::new(config.head_dim, config.rope_theta, config.mrope_section, options);
        Ok(Decoder { embedding, layers, norm, head, rope, sizes: HeadSizes::of(config) })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.embedding.kind()
    }

    /// # Shapes
    /// `ids: [rows]` → `[rows, hidden]`
    pub(crate) fn embed(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, ids, -1, false, false)
    }

    /// # Shapes
    /// `positions: [rows]`, or `[3, rows]` where time, height and width differ
    pub(crate) fn angles(&self, positions: &Tensor) -> Angles {
        self.rope.angles(positions)
    }

    /// Runs the layers. With `keep`, only those rows come out: the last layer computes nothing for the others but what
    /// is attended to. The last norm is left to [`Decoder::project`].
    ///
    /// # Shapes
    /// `x: [rows, hidden]`, `keep: [kept]` → `[rows or kept, hidden]`
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

    /// How many layers there are.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Runs one layer; of the last, only the rows `keep` come out.
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

    /// Whether the embedding takes gradients.
    pub(crate) fn embedding_learns(&self) -> bool {
        self.embedding.requires_grad()
    }

    /// Logits in f32, divided by the temperature.
    ///
    /// # Shapes
    /// `x: [rows, hidden]` → `[rows, vocabulary]`
    pub(crate) fn project(&self, x: &Tensor, temperature: f64) -> Tensor {
        let normal = self.norm.forward(x);
        // The temperature divides the few hidden values, not the many logits; in 16 bits that would round.
        if temperature != 1.0 && self.kind() == Kind::Float {
            return self.head.forward(&(normal * (1.0 / temperature)));
        }
        let logits = self.head.forward(&normal).to_kind(Kind::Float);
        if temperature == 1.0 { logits } else { logits / temperature }
    }
}

impl HeadSizes {
    fn of(config: &TextConfig) -> HeadSizes {
        HeadSizes {
            queries: config.num_attention_heads,
            keys: config.num_key_value_heads,
            width: config.head_dim,
        }
    }

    /// Query heads per key head.
    pub(crate) fn repeat(&self) -> i64 {
        self.queries / self.keys
    }

    pub(crate) fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }
}

impl Layer {
    fn new(builder: &mut Builder<'_>, config: &TextConfig) -> Result<Layer, ModelError> {
        let (hidden, ffn, eps) = (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let sizes = HeadSizes::of(config);
        let (queries, keys) = (sizes.queries * sizes.width, sizes.keys * sizes.width);
        let projections = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)];
        Ok(Layer {
            attention_norm: RmsNorm::new(&mut builder.below("input_layernorm"), hidden, eps)?,
            qkv: JoinedLinear::new(&mut builder.below("self_attn"), hidden, &projections, config.qkv_bias)?,
            query_key_norms: match config.qk_norm {
                true => Some([
                    RmsNorm::new(&mut builder.below("self_attn.q_norm"), sizes.width, eps)?,
                    RmsNorm::new(&mut builder.below("self_attn.k_norm"), sizes.width, eps)?,
                ]),
                false => None,
            },
            out: Linear::new(&mut builder.below("self_attn.o_proj"), queries, hidden, false)?,
            ffn_norm: RmsNorm::new(&mut builder.below("post_attention_layernorm"), hidden, eps)?,
            gate_up: JoinedLinear::new(
                &mut builder.below("mlp"),
                hidden,
                &[("gate_proj", ffn), ("up_proj", ffn)],
                false,
            )?,
            down: Linear::new(&mut builder.below("mlp.down_proj"), ffn, hidden, false)?,
            sizes,
        })
    }

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
        // Splitting, unlike narrowing twice, has one gradient to assemble instead of two to pad and add.
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
