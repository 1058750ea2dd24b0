//! The audio tower: from a clip's log-mel to the rows that stand at a prompt's `<|AUDIO|>` placeholders.
//!
//! Takes a [`LogMel`] of the loader. Both towers are Whisper's encoder ([`encoder`]) with pairs of positions averaged before
//! the last norm, and a projection to the language model's width; they differ in how far a position sees.
//!
//! - TOWER-1 a clip is encoded alone, so that its features do not depend, not even in the last bit, on the clips beside
//!   it, and one that was encoded before need not be encoded again.
//! - TOWER-2 only what the valid frames reach is computed.

mod encoder;
mod qwen2_5_omni;
mod qwen2_audio;

use tch::Tensor;

use crate::audio::LogMel;
use crate::config::{Architecture, AudioConfig, ModelConfig};
use crate::error::ModelError;
use crate::nn::Builder;
use qwen2_5_omni::Qwen25OmniTower;
use qwen2_audio::Qwen2AudioTower;

/// Features of one clip.
pub struct ClipFeatures {
    /// After the tower's last norm, `[audio tokens, tower width]`.
    pub encoded: Tensor,
    /// After the projector, `[audio tokens, hidden]`: what stands at the placeholders.
    pub projected: Tensor,
}

/// The tower of one of the architectures, with its projection.
pub(crate) enum Tower {
    Qwen2Audio(Qwen2AudioTower),
    Qwen25Omni(Qwen25OmniTower),
}

/// Positions after the convolutions, and tokens after the pooling, of a clip with so many valid mel frames.
pub(crate) fn token_counts(valid_frames: usize) -> (i64, i64) {
    let after_conv = (valid_frames as i64 - 1).div_euclid(2) + 1;
    (after_conv, (after_conv - 2).div_euclid(2) + 1)
}

impl Tower {
    /// The model's tower, if it has one.
    pub(crate) fn new(builder: &mut Builder<'_>, config: &ModelConfig) -> Result<Option<Tower>, ModelError> {
        let Some(audio) = &config.audio else { return Ok(None) };
        let hidden = config.text.hidden_size;
        Ok(Some(match config.architecture {
            Architecture::Qwen25Omni => {
                Tower::Qwen25Omni(Qwen25OmniTower::new(&mut builder.below("audio_tower"), audio, hidden)?)
            }
            _ => Tower::Qwen2Audio(Qwen2AudioTower::new(builder, audio, hidden)?),
        }))
    }

    /// Encodes one clip.
    ///
    /// # Errors
    /// The mel has other bins or more frames than the tower takes.
    pub(crate) fn forward(&self, clip: &LogMel) -> Result<ClipFeatures, ModelError> {
        match self {
            Tower::Qwen2Audio(tower) => tower.forward(clip),
            Tower::Qwen25Omni(tower) => tower.forward(clip),
        }
    }
}

/// The clip as `[bins, frames]` on the CPU, if it has these bins and at most so many frames.
fn mel(clip: &LogMel, config: &AudioConfig, most_frames: Option<i64>) -> Result<Tensor, ModelError> {
    let (bins, frames) = (clip.n_mels as i64, clip.frames as i64);
    let sound = clip.values.len() == clip.n_mels * clip.frames && clip.valid_frames <= clip.frames;
    if bins != config.num_mel_bins || most_frames.is_some_and(|most| frames > most) || !sound {
        let most = most_frames.map_or("any".to_owned(), |most| most.to_string());
        return Err(ModelError::input(format!(
            "a clip's features are [{bins}, {frames}] with {} valid frames and {} values; this model takes \
             [{}, {most}] (see preprocessor_config.json: chunk_length, feature_size)",
            clip.valid_frames,
            clip.values.len(),
            config.num_mel_bins
        )));
    }
    Ok(Tensor::f_from_slice(&clip.values)?.f_reshape([bins, frames])?)
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
