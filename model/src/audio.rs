//! From audio files to model features.
//!
//! This is the first stage of a rollout. A loader thread reads a question's clip from disk, decodes it, mixes
//! it to mono and resamples it to 16 kHz ([`load_audio`]), then computes Whisper's log-mel spectrogram
//! ([`FeatureExtractor`]), which the policy uploads to its device. Nothing here uses tensors, so loader
//! threads run without libtorch.
//!
//! - `AUDIO-1` Samples are f32, mono, 16 kHz. A clip of `n` samples at another rate becomes `round(n · 16000 / rate)`
//!   samples; a clip at 16 kHz is not resampled.
//! - `AUDIO-2` Whatever bytes a file holds, the result is samples or one [`AudioError`], never a panic.
//! - `AUDIO-3` Features equal those of Hugging Face's `WhisperFeatureExtractor` within 1e-4.

mod decode;
mod downmix;
mod error;
mod feature_config;
mod log10;
mod mel;
mod mel_filters;
mod mp4;
mod resample;
mod riff;

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use downmix::Downmix;
pub use error::{AudioError, FeatureConfigError};
pub use feature_config::FeatureConfig;
pub use mel::{FeatureExtractor, LogMel};
pub use resample::{SAMPLE_RATE, resample};

/// Decodes a file to samples @ 16 kHz, f32, mono.
///
/// WAV (PCM, float, ADPCM, A-law, µ-law), FLAC, MP3, OGG Vorbis, AAC (ADTS or MP4/M4A), ALAC and AIFF are recognised by
/// their content, not by their name. A few corrupt packets of a lossy stream are skipped. Encoder delay and padding are
/// cut where the file states them.
///
/// Errors: [`AudioError`] if the file is missing, unreadable, empty, not audio, without samples, shorter than its
/// header states, or corrupt throughout.
pub fn load_audio(path: &Path, downmix: Downmix) -> Result<Vec<f32>, AudioError> {
    let bytes = fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AudioError::Missing { path: path.into() },
        _ => AudioError::Unreadable { path: path.into(), source },
    })?;
    decode_bytes(path, bytes, downmix)
}

/// Decodes a file whose content is already in memory, as [`load_audio`] does; errors name it as `path`.
///
/// Errors: Those of [`load_audio`], except for a file that is missing or unreadable.
pub fn decode_bytes(path: &Path, bytes: Vec<u8>, downmix: Downmix) -> Result<Vec<f32>, AudioError> {
    // The decoders parse untrusted bytes. If one of them panics, only this clip fails, not
    // the loader thread (AUDIO-2).
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let clip = decode::decode(path, bytes, downmix)?;
        let unusual =
            || AudioError::Unsupported { path: path.into(), what: format!("a rate of {} Hz", clip.rate) };
        let samples = resample(clip.samples, clip.rate).ok_or_else(unusual)?;
        // A few samples at a high rate can round to none.
        if samples.is_empty() { Err(AudioError::NoSamples { path: path.into() }) } else { Ok(samples) }
    }));
    outcome.unwrap_or_else(|_| {
        Err(AudioError::Corrupt { path: path.into(), what: "its bytes make the decoder fail".into() })
    })
}
