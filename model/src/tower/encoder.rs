//! Whisper's encoder, which both towers use: two convolutions, then layers of attention and feed-forward. After it,
//! pairs of positions are averaged and normalised ([`finish`]).

use tch::Tensor;

use crate::config::AudioConfig;
use crate::error::ModelError;
use crate::init::Init;
use crate::nn::{Builder, JoinedLinear, LayerNorm, Linear};

/// The convolutions and the transformer layers.
pub(super) struct Encoder {
    conv1: Conv,
    conv2: Conv,
    layers: Vec<Layer>,
    heads: i64,
}

struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
}

struct Layer {
    attention_norm: LayerNorm,
    qkv: Qkv,
    out: Linear,
    ffn_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

/// The query, key and value projections of a layer. Whisper's key projection has no bias.
struct Qkv {
    query_value: JoinedLinear,
    key: Linear,
}

impl Encoder {
    /// Builds the encoder from the tensors `audio_tower.*`.
    pub(super) fn new(tower: &mut Builder<'_>, config: &AudioConfig) -> Result<Encoder, ModelError> {
        let width = config.d_model;
        let layers = (0..config.encoder_layers)
            .map(|index| Layer::new(&mut tower.sub("layers").sub(index), config))
            .collect::<Result<_, _>>()?;
        Ok(Encoder {
            conv1: Conv::new(&mut tower.sub("conv1"), config.num_mel_bins, width, 1)?,
            conv2: Conv::new(&mut tower.sub("conv2"), width, width, 2)?,
            layers,
            heads: config.encoder_attention_heads,
        })
    }

    /// Runs the two convolutions, the second of which halves the number of frames.
    ///
    /// Shapes: `mel: [clips, bins, frames]`, in the model's dtype → `[clips, positions, width]`
    pub(super) fn convolve(&self, mel: &Tensor) -> Tensor {
        self.conv2.forward(&self.conv1.forward(mel)).transpose(1, 2)
    }

    /// Runs the layers. A position attends to the positions of its own window of `window` positions.
    ///
    /// Shapes: `x: [positions, width]`, in the model's dtype → the same
    pub(super) fn run(&self, mut x: Tensor, window: i64) -> Tensor {
        for layer in &self.layers {
            x = layer.forward(&x, self.heads, window);
        }
        x
    }
}

/// Averages pairs of positions (an odd last one is dropped) and normalises them.
///
/// Shapes: `x: [positions, width]`, in the model's dtype → `[tokens, width]`
pub(super) fn finish(x: &Tensor, tokens: i64, norm: &LayerNorm) -> Tensor {
    let pooled = x.narrow(0, 0, 2 * tokens).view([tokens, 2, -1]).mean_dim(1, false, None);
    norm.forward(&pooled)
}

/// The encoding of a clip that is too short for a token.
///
/// Shapes: → `[0, width]`, in the dtype and on the device of `like`
pub(super) fn nothing(width: i64, like: &Tensor) -> Result<Tensor, ModelError> {
    Ok(Tensor::f_zeros([0, width], (like.kind(), like.device()))?)
}

impl Conv {
    fn new(builder: &mut Builder<'_>, input: i64, output: i64, stride: i64) -> Result<Conv, ModelError> {
        let weight = builder.tensor("weight", &[output, input, 3], Init::Conv)?;
        let bias = builder.tensor("bias", &[output], Init::Zeros)?;
        Ok(Conv { weight, bias, stride })
    }

    /// Shapes: `x: [clips, input, frames]`, in the model's dtype → `[clips, output, frames / stride, rounded up]`
    fn forward(&self, x: &Tensor) -> Tensor {
        x.conv1d(&self.weight, Some(&self.bias), self.stride, 1, 1, 1).gelu("none")
    }
}

impl Layer {
    fn new(builder: &mut Builder<'_>, config: &AudioConfig) -> Result<Layer, ModelError> {
        let (width, ffn) = (config.d_model, config.encoder_ffn_dim);
        Ok(Layer {
            attention_norm: LayerNorm::new(&mut builder.sub("self_attn_layer_norm"), width)?,
            qkv: Qkv {
                query_value: JoinedLinear::new(
                    &mut builder.sub("self_attn"),
                    width,
                    &[("q_proj", width), ("v_proj", width)],
                    true,
                )?,
                key: Linear::new(&mut builder.sub("self_attn.k_proj"), width, width, false)?,
            },
            out: Linear::new(&mut builder.sub("self_attn.out_proj"), width, width, true)?,
            ffn_norm: LayerNorm::new(&mut builder.sub("final_layer_norm"), width)?,
            up: Linear::new(&mut builder.sub("fc1"), width, ffn, true)?,
            down: Linear::new(&mut builder.sub("fc2"), ffn, width, true)?,
        })
    }

    /// One layer of attention within windows, and feed-forward.
    ///
    /// Shapes: `x: [positions, width]`, in the model's dtype → the same
    fn forward(&self, x: &Tensor, heads: i64, window: i64) -> Tensor {
        let normal = self.attention_norm.forward(x);
        let (query_value, key) = (self.qkv.query_value.forward(&normal), self.qkv.key.forward(&normal));
        let (rows, whole) = (x.size()[0], x.size()[0] / window);
        // All whole windows at once, then the incomplete last one.
        let parts = [(0, whole, window), (whole * window, 1, rows - whole * window)];
        let attended: Vec<Tensor> = parts
            .into_iter()
            .filter(|(_, count, length)| count * length > 0)
            .map(|(first, count, length)| {
                let part = |x: &Tensor| x.narrow(0, first, count * length).view([count, length, -1]);
                attend(&part(&query_value), &part(&key), heads)
            })
            .collect();
        let attended =
            if let [only] = &attended[..] { only.shallow_clone() } else { Tensor::cat(&attended, 0) };
        let x = self.out.forward_onto(x, &attended);
        let hidden = self.up.forward(&self.ffn_norm.forward(&x)).gelu("none");
        self.down.forward_onto(&x, &hidden)
    }
}

/// Attention of every position to all positions of its window.
///
/// Shapes: `query_value: [windows, length, 2 × width]`, `key: [windows, length, width]`, in the model's dtype →
/// `[windows × length, width]`
fn attend(query_value: &Tensor, key: &Tensor, heads: i64) -> Tensor {
    let width = key.size()[2];
    let by_head = |x: &Tensor| x.unflatten(2, [-1, width / heads]).transpose(1, 2);
    let (query_value, key) = (by_head(query_value), by_head(key));
    let attended = Tensor::scaled_dot_product_attention(
        &query_value.narrow(1, 0, heads),
        &key,
        &query_value.narrow(1, heads, heads),
        None::<&Tensor>,
        0.0,
        false,
        None,
        false,
    );
    attended.transpose(1, 2).reshape([-1, width])
}
