//! The audio tower of Qwen2-Audio: every position of a window of 30 s sees all the clip.

use tch::Tensor;

use super::encoder::{Encoder, finish, nothing};
use super::{ClipFeatures, mel, token_counts};
use crate::audio::LogMel;
use crate::config::AudioConfig;
use crate::error::ModelError;
use crate::nn::{Builder, LayerNorm, Linear};
use crate::params::Init;

/// Mel frames after the valid ones that take part (TOWER-2; Hugging Face computes the whole window and masks the keys
/// beyond them: the same values at the valid positions). One for each convolution, and some to spare so that the zeros
/// that the cut brings in stay out of reach.
const MARGIN: i64 = 8;

/// Audio tower and projector.
pub(crate) struct Qwen2AudioTower {
    encoder: Encoder,
    positions: Tensor,
    norm: LayerNorm,
    projector: Linear,
    config: AudioConfig,
}

impl Qwen2AudioTower {
    /// From tensors below `audio_tower.` and `multi_modal_projector.`.
    pub(super) fn new(
        builder: &mut Builder<'_>,
        config: &AudioConfig,
        hidden: i64,
    ) -> Result<Qwen2AudioTower, ModelError> {
        let width = config.d_model;
        let projector = Linear::new(&mut builder.below("multi_modal_projector.linear"), width, hidden, true)?;
        let mut tower = builder.below("audio_tower");
        let shape = [config.max_source_positions, width];
        Ok(Qwen2AudioTower {
            encoder: Encoder::new(&mut tower, config)?,
            positions: tower.tensor("embed_positions.weight", &shape, Init::Sinusoids)?,
            norm: LayerNorm::new(&mut tower.below("layer_norm"), width)?,
            projector,
            config: config.clone(),
        })
    }

    pub(super) fn forward(&self, clip: &LogMel) -> Result<ClipFeatures, ModelError> {
        let mel = mel(clip, &self.config, Some(2 * self.config.max_source_positions))?;
        let (after_conv, tokens) = token_counts(clip.valid_frames);
        if tokens == 0 {
            return nothing(self.config.d_model, &self.projector, &self.positions);
        }
        let (kind, device) = (self.positions.kind(), self.positions.device());
        let taken = (clip.frames as i64).min(clip.valid_frames as i64 + MARGIN);
        let mel = mel.f_narrow(1, 0, taken)?.f_unsqueeze(0)?.f_to_device(device)?.f_to_kind(kind)?;
        let x = self.encoder.convolve(&mel).squeeze_dim(0).narrow(0, 0, after_conv);
        let x = (x + self.positions.narrow(0, 0, after_conv)).contiguous();
        Ok(finish(&self.encoder.run(x, after_conv), tokens, &self.norm, &self.projector))
    }
}
