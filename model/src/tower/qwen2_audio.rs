//! The audio tower of Qwen2-Audio (<https://arxiv.org/abs/2407.10759>), in which every position attends to the whole
//! clip, within a window of 30 s.

use tch::Tensor;

use super::encoder::{Encoder, finish, nothing};
use super::features::{mel, token_counts};
use crate::config::AudioConfig;
use crate::error::ModelError;
use crate::init::Init;
use crate::nn::{Builder, LayerNorm, Linear};
use audio::LogMel;

/// Mel frames after the valid ones that are convolved too (TOWER-2). Each convolution needs one; the others keep the
/// zeros at the cut away from the valid positions. Hugging Face computes the whole window and masks the keys beyond the
/// clip, which gives the same values at the valid positions.
const MARGIN: i64 = 8;

/// The tower of Qwen2-Audio, with its projection to the language model.
pub(crate) struct Qwen2AudioTower {
    encoder: Encoder,
    /// `[max_source_positions, width]`, in the model's dtype: the position embeddings.
    positions: Tensor,
    norm: LayerNorm,
    pub(super) projector: Linear,
    config: AudioConfig,
}

impl Qwen2AudioTower {
    /// Builds the tower from the tensors `audio_tower.*` and `multi_modal_projector.*`.
    pub(super) fn new(
        builder: &mut Builder<'_>,
        config: &AudioConfig,
        hidden: i64,
    ) -> Result<Qwen2AudioTower, ModelError> {
        let width = config.d_model;
        let projector = Linear::new(&mut builder.sub("multi_modal_projector.linear"), width, hidden, true)?;
        let mut tower = builder.sub("audio_tower");
        let shape = [config.max_source_positions, width];
        Ok(Qwen2AudioTower {
            encoder: Encoder::new(&mut tower, config)?,
            positions: tower.tensor("embed_positions.weight", &shape, Init::Sinusoids)?,
            norm: LayerNorm::new(&mut tower.sub("layer_norm"), width)?,
            projector,
            config: config.clone(),
        })
    }

    /// Shapes: Those of `Tower::encode`, with at most `2 × max_source_positions` frames.
    pub(super) fn encode(&self, clip: &LogMel) -> Result<Tensor, ModelError> {
        let mel = mel(clip, &self.config, Some(2 * self.config.max_source_positions))?;
        let (after_conv, tokens) = token_counts(clip.valid_frames);
        if tokens == 0 {
            return nothing(self.config.d_model, &self.positions);
        }
        let (kind, device) = (self.positions.kind(), self.positions.device());
        let taken = (clip.frames as i64).min(clip.valid_frames as i64 + MARGIN);
        let mel = mel.f_narrow(1, 0, taken)?.f_unsqueeze(0)?.f_to_device(device)?.f_to_kind(kind)?;
        let x = self.encoder.convolve(&mel).squeeze_dim(0).narrow(0, 0, after_conv);
        let x = (x + self.positions.narrow(0, 0, after_conv)).contiguous();
        Ok(finish(&self.encoder.run(x, after_conv), tokens, &self.norm))
    }
}
