//! The audio tower of Qwen2-Audio: Whisper's encoder with a pooling layer before the last norm, and the projector into
//! the language model's width.
//!
//! Takes a [`LogMel`] of the loader, gives the rows that stand at a prompt's `<|AUDIO|>` placeholders.
//!
//! - TOWER-1 a clip is encoded alone, so that its features do not depend, not even in the last bit, on the clips beside
//!   it, and one that was encoded before need not be encoded again.
//! - TOWER-2 only what the valid frames reach is computed. The convolutions see two mel frames beyond the valid ones
//!   (Hugging Face computes the whole window and masks the keys beyond it: the same values at the valid positions).

use tch::Tensor;

use crate::audio::LogMel;
use crate::config::{AudioConfig, ModelConfig};
use crate::error::ModelError;
use crate::nn::{Builder, JoinedLinear, LayerNorm, Linear};
use crate::params::Init;

/// Mel frames after the valid ones that take part: one for each convolution, and some to spare so that the zeros that
/// the cut brings in stay out of reach.
const MARGIN: i64 = 8;

/// Features of one clip.
pub struct ClipFeatures {
    /// After the tower's last norm, `[audio tokens, tower width]`.
    pub encoded: Tensor,
    /// After the projector, `[audio tokens, hidden]`: what stands at the placeholders.
    pub projected: Tensor,
}

/// Audio tower and projector.
pub(crate) struct AudioTower {
    conv1: Conv,
    conv2: Conv,
    positions: Tensor,
    layers: Vec<EncoderLayer>,
    norm: LayerNorm,
    projector: Linear,
    config: AudioConfig,
}

struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
}

struct EncoderLayer {
    attention_norm: LayerNorm,
    qkv: Qkv,
    out: Linear,
    ffn_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

/// Query, key and value projections; the key's has no bias.
struct Qkv {
    query_value: JoinedLinear,
    key: Linear,
}

/// Positions after the convolutions, and tokens after the pooling, of a clip with so many valid mel frames.
pub(crate) fn token_counts(valid_frames: usize) -> (i64, i64) {
    let after_conv = (valid_frames as i64 - 1).div_euclid(2) + 1;
    (after_conv, (after_conv - 2).div_euclid(2) + 1)
}

impl AudioTower {
    pub(crate) fn new(builder: &mut Builder<'_>, config: &ModelConfig) -> Result<AudioTower, ModelError> {
        let audio = &config.audio;
        let width = audio.d_model;
        let projector = Linear::new(
            &mut builder.below("multi_modal_projector.linear"),
            width,
            config.text.hidden_size,
            true,
        )?;
        let mut tower = builder.below("audio_tower");
        let layers = (0..audio.encoder_layers)
            .map(|index| EncoderLayer::new(&mut tower.below("layers").below(index), audio))
            .collect::<Result<_, _>>()?;
        Ok(AudioTower {
            conv1: Conv::new(&mut tower.below("conv1"), audio.num_mel_bins, width, 1)?,
            conv2: Conv::new(&mut tower.below("conv2"), width, width, 2)?,
            positions: tower.tensor(
                "embed_positions.weight",
                &[audio.max_source_positions, width],
                Init::Sinusoids,
            )?,
            layers,
            norm: LayerNorm::new(&mut tower.below("layer_norm"), width)?,
            projector,
            config: audio.clone(),
        })
    }

    /// Encodes one clip.
    ///
    /// # Errors
    /// The mel has other bins or more frames than the tower takes.
    pub(crate) fn forward(&self, clip: &LogMel) -> Result<ClipFeatures, ModelError> {
        let (bins, frames) = (self.config.num_mel_bins, 2 * self.config.max_source_positions);
        let found = (clip.n_mels as i64, clip.frames as i64);
        let sound = clip.values.len() == clip.n_mels * clip.frames && clip.valid_frames <= clip.frames;
        if found.0 != bins || found.1 > frames || !sound {
            return Err(ModelError::input(format!(
                "a clip's features are [{}, {}] with {} valid frames and {} values; this model takes [{bins}, {frames}] \
                 (see preprocessor_config.json: chunk_length, feature_size)",
                found.0,
                found.1,
                clip.valid_frames,
                clip.values.len()
            )));
        }
        let (after_conv, tokens) = token_counts(clip.valid_frames);
        let (kind, device) = (self.positions.kind(), self.positions.device());
        if tokens == 0 {
            let empty = Tensor::f_zeros([0, self.config.d_model], (kind, device))?;
            return Ok(ClipFeatures { projected: self.projector.forward(&empty), encoded: empty });
        }
        let taken = found.1.min(clip.valid_frames as i64 + MARGIN);
        let mel = Tensor::f_from_slice(&clip.values)?.f_reshape([1, bins, found.1])?.f_narrow(2, 0, taken)?;
        let mel = mel.f_to_device(device)?.f_to_kind(kind)?;
        let x = self.conv2.forward(&self.conv1.forward(&mel)).squeeze_dim(0).tr().narrow(0, 0, after_conv);
        let mut x = (x + self.positions.narrow(0, 0, after_conv)).contiguous();
        for layer in &self.layers {
            x = layer.forward(&x, self.config.encoder_attention_heads);
        }
        // Average pooling over pairs; an odd last position is dropped.
        let pooled =
            x.narrow(0, 0, 2 * tokens).view([tokens, 2, self.config.d_model]).mean_dim(1, false, None);
        let encoded = self.norm.forward(&pooled);
        Ok(ClipFeatures { projected: self.projector.forward(&encoded), encoded })
    }
}

impl Conv {
    fn new(builder: &mut Builder<'_>, input: i64, output: i64, stride: i64) -> Result<Conv, ModelError> {
        let weight = builder.tensor("weight", &[output, input, 3], Init::Conv)?;
        let bias = builder.tensor("bias", &[output], Init::Zeros)?;
        Ok(Conv { weight, bias, stride })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.conv1d(&self.weight, Some(&self.bias), self.stride, 1, 1, 1).gelu("none")
    }
}

impl EncoderLayer {
    fn new(builder: &mut Builder<'_>, config: &AudioConfig) -> Result<EncoderLayer, ModelError> {
        let (width, ffn) = (config.d_model, config.encoder_ffn_dim);
        Ok(EncoderLayer {
            attention_norm: LayerNorm::new(&mut builder.below("self_attn_layer_norm"), width)?,
            qkv: Qkv {
                query_value: JoinedLinear::new(
                    &mut builder.below("self_attn"),
                    width,
                    &[("q_proj", width), ("v_proj", width)],
                    true,
                )?,
                key: Linear::new(&mut builder.below("self_attn.k_proj"), width, width, false)?,
            },
            out: Linear::new(&mut builder.below("self_attn.out_proj"), width, width, true)?,
            ffn_norm: LayerNorm::new(&mut builder.below("final_layer_norm"), width)?,
            up: Linear::new(&mut builder.below("fc1"), width, ffn, true)?,
            down: Linear::new(&mut builder.below("fc2"), ffn, width, true)?,
        })
    }

    /// # Shapes
    /// `x: [positions, width]`
    fn forward(&self, x: &Tensor, heads: i64) -> Tensor {
        let (rows, width) = (x.size()[0], x.size()[1]);
        let split = |x: &Tensor| x.view([1, rows, heads, width / heads]).transpose(1, 2);
        let normal = self.attention_norm.forward(x);
        let query_value =
            self.qkv.query_value.forward(&normal).view([1, rows, 2 * heads, width / heads]).transpose(1, 2);
        let attended = Tensor::scaled_dot_product_attention(
            &query_value.narrow(1, 0, heads),
            &split(&self.qkv.key.forward(&normal)),
            &query_value.narrow(1, heads, heads),
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        );
        let attended = attended.transpose(1, 2).reshape([rows, width]);
        let x = self.out.forward_onto(x, &attended);
        let hidden = self.up.forward(&self.ffn_norm.forward(&x)).gelu("none");
        self.down.forward_onto(&x, &hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_counts_round_down_and_short_clips_have_none() {
        // frames -> (F-1)//2+1 positions -> (P-2)//2+1 tokens
        let expected =
            [(0, 0, 0), (1, 1, 0), (2, 1, 0), (3, 2, 1), (50, 25, 12), (124, 62, 31), (3000, 1500, 750)];
        for (frames, positions, tokens) in expected {
            assert_eq!(token_counts(frames), (positions, tokens), "{frames} frames");
        }
    }
}
