//! The audio tower of Qwen2.5-Omni (<https://arxiv.org/abs/2503.20215>), which encodes chunks of 2 s independently.
//!
//! A chunk of `2 × n_window` mel frames is convolved with zeros at its edges, gets positions from 0, and attends only
//! to itself. The chunks of a clip are then concatenated, and pairs of positions are averaged over the whole clip.

use tch::Tensor;

use super::encoder::{Encoder, finish, nothing};
use super::features::{mel, token_counts};
use crate::config::AudioConfig;
use crate::error::ModelError;
use crate::init::sinusoids;
use crate::nn::{Builder, LayerNorm, Linear};
use audio::LogMel;

/// The tower of Qwen2.5-Omni, with its projection to the language model.
pub(crate) struct Qwen25OmniTower {
    encoder: Encoder,
    /// `[n_window, width]`, in the model's dtype: the position embeddings of a chunk. They are computed,
    /// not stored in checkpoints.
    positions: Tensor,
    norm: LayerNorm,
    pub(super) projector: Linear,
    config: AudioConfig,
}

impl Qwen25OmniTower {
    /// Builds the tower from the tensors `audio_tower.*`.
    pub(super) fn new(
        tower: &mut Builder<'_>,
        config: &AudioConfig,
        hidden: i64,
    ) -> Result<Qwen25OmniTower, ModelError> {
        let width = config.d_model;
        let positions = Tensor::f_from_slice(&sinusoids(config.n_window, width))?
            .f_reshape([config.n_window, width])?
            .f_to_device(tower.params.device)?
            .f_to_kind(tower.params.kind)?;
        Ok(Qwen25OmniTower {
            encoder: Encoder::new(tower, config)?,
            positions,
            norm: LayerNorm::new(&mut tower.sub("ln_post"), width)?,
            projector: Linear::new(&mut tower.sub("proj"), width, hidden, true)?,
            config: config.clone(),
        })
    }

    /// Shapes: Those of `Tower::encode`, with any number of frames.
    pub(super) fn encode(&self, clip: &LogMel) -> Result<Tensor, ModelError> {
        let mel = mel(clip, &self.config, None)?;
        let (_, tokens) = token_counts(clip.valid_frames);
        if tokens == 0 {
            return nothing(self.config.d_model, &self.positions);
        }
        let (kind, device) = (self.positions.kind(), self.positions.device());
        let (bins, width) = (self.config.num_mel_bins, self.config.d_model);
        let (frames, chunk) = (clip.valid_frames as i64, 2 * self.config.n_window);
        let mel = mel.f_narrow(1, 0, frames)?.f_to_device(device)?.f_to_kind(kind)?;
        // All whole chunks at once, then the incomplete last one.
        let whole = frames / chunk;
        let parts = [(0, whole, chunk), (whole * chunk, 1, frames - whole * chunk)];
        let embedded: Vec<Tensor> = parts
            .into_iter()
            .filter(|(_, count, length)| count * length > 0)
            .map(|(first, count, length)| {
                let part = mel.narrow(1, first, count * length).reshape([bins, count, length]);
                let x = self.encoder.convolve(&part.transpose(0, 1));
                let positions = self.positions.narrow(0, 0, x.size()[1]);
                (x + positions).reshape([-1, width])
            })
            .collect();
        let x = self.encoder.run(Tensor::cat(&embedded, 0), self.config.n_window);
        Ok(finish(&x, tokens, &self.norm))
    }
}
