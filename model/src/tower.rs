//! The audio tower: from a clip's log-mel to the rows that replace a prompt's `<|AUDIO|>` placeholders.
//!
//! `network.rs` encodes each clip of a batch of prompts with a [`Tower`]. Both towers are Whisper's encoder
//! (`encoder.rs`, <https://arxiv.org/abs/2212.04356>) with pairs of positions averaged before the last norm, and a
//! projection to the width of the language model. They differ in how many positions a position attends to.
//!
//! - `TOWER-1` A clip is encoded alone. Its features do not depend on the other clips of the batch, not even in the
//!   last bit, so that features from an earlier batch can be reused.
//! - `TOWER-2` Only positions that depend on valid frames are computed.

mod encoder;
mod features;
mod qwen2_5_omni;
mod qwen2_audio;

use crate::config::{Architecture, ModelConfig};
use crate::error::ModelError;
use crate::nn::Builder;
use audio::LogMel;
use qwen2_5_omni::Qwen25OmniTower;
use qwen2_audio::Qwen2AudioTower;
use tch::Tensor;

pub use features::ClipFeatures;
pub(crate) use features::token_counts;

/// The audio tower of an architecture, with its projection.
pub(crate) enum Tower {
    Qwen2Audio(Qwen2AudioTower),
    Qwen25Omni(Qwen25OmniTower),
}

impl Tower {
    /// The model's tower; `None` for a text-only model.
    pub(crate) fn new(builder: &mut Builder<'_>, config: &ModelConfig) -> Result<Option<Tower>, ModelError> {
        let Some(audio) = &config.audio else { return Ok(None) };
        let hidden = config.text.hidden_size;
        Ok(Some(match config.architecture {
            Architecture::Qwen25Omni => {
                Tower::Qwen25Omni(Qwen25OmniTower::new(&mut builder.sub("audio_tower"), audio, hidden)?)
            }
            _ => Tower::Qwen2Audio(Qwen2AudioTower::new(builder, audio, hidden)?),
        }))
    }

    /// Encodes one clip. Fails if its log-mel has other bins or more frames than the tower takes.
    ///
    /// Shapes: `clip`: log-mel `[bins, frames]`, f32 → `[placeholders of the clip, tower width]`, in the model's dtype
    pub(crate) fn encode(&self, clip: &LogMel) -> Result<Tensor, ModelError> {
        match self {
            Tower::Qwen2Audio(tower) => tower.encode(clip),
            Tower::Qwen25Omni(tower) => tower.encode(clip),
        }
    }

    /// Projects an encoded clip to the width of the language model.
    ///
    /// Shapes: `encoded: [rows, tower width]`, in the model's dtype → `[rows, hidden]`
    pub(crate) fn project(&self, encoded: &Tensor) -> Tensor {
        match self {
            Tower::Qwen2Audio(tower) => tower.projector.forward(encoded),
            Tower::Qwen25Omni(tower) => tower.projector.forward(encoded),
        }
    }
}
