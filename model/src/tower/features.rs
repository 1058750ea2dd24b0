//! The input and the output of a tower: a clip's log-mel, and the features that replace its placeholders.

use tch::Tensor;

use crate::config::AudioConfig;
use crate::error::{InputError, ModelError};
use audio::LogMel;

/// The features of one clip, in the model's dtype.
pub struct ClipFeatures {
    /// `[audio tokens, tower width]`: the output of the tower's last norm.
    pub encoded: Tensor,
    /// `[audio tokens, hidden]`: the output of the projector, which replaces the embeddings of the placeholders.
    pub projected: Tensor,
}

/// The number of positions after the convolutions, and of tokens after the pooling, for a clip with
/// this many valid frames.
pub(crate) fn token_counts(valid_frames: usize) -> (i64, i64) {
    let after_conv = (valid_frames as i64 - 1).div_euclid(2) + 1;
    (after_conv, (after_conv - 2).div_euclid(2) + 1)
}

/// The clip's log-mel as a tensor. Fails if its bins are not the tower's or it has more than `most_frames`.
///
/// Shapes: → `[bins, frames]`, f32, on the CPU
pub(super) fn mel(
    clip: &LogMel,
    config: &AudioConfig,
    most_frames: Option<i64>,
) -> Result<Tensor, ModelError> {
    let (bins, frames) = (clip.n_mels as i64, clip.frames as i64);
    let consistent = clip.values.len() == clip.n_mels * clip.frames && clip.valid_frames <= clip.frames;
    if bins != config.num_mel_bins || most_frames.is_some_and(|most| frames > most) || !consistent {
        let problem = InputError::ClipFeatures {
            bins,
            frames,
            valid_frames: clip.valid_frames,
            values: clip.values.len(),
            expected_bins: config.num_mel_bins,
            expected_frames: most_frames.map_or("any".to_owned(), |most| most.to_string()),
        };
        return Err(problem.into());
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
