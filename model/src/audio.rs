//! Audio files to model features.
//!
//! The first stage of a rollout: a question's clip is read from disk on a loader thread, decoded, mixed to mono and
//! resampled to 16 kHz ([`load_audio`]), then turned into Whisper's log-mel spectrogram ([`FeatureExtractor`]), which
//! the policy uploads. Nothing in here touches a tensor, so loader threads run without libtorch.
//!
//! 1. `AUDIO-1` Samples are f32, mono, 16 kHz, and as many as `round(n · 16000 / rate)`; a clip at 16 kHz is not
//!    resampled at all.
//! 2. `AUDIO-2` Whatever a file's bytes, the outcome is samples or one [`AudioError`], never a panic.
//! 3. `AUDIO-3` Features equal those of Hugging Face's `WhisperFeatureExtractor` within 1e-4.

mod decode;
mod error;
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

pub use error::AudioError;
pub use mel::{FeatureConfig, FeatureExtractor, LogMel};
pub use resample::resample;

/// The rate every clip is brought to, in Hz: the only one Whisper-style encoders are trained on.
pub const SAMPLE_RATE: u32 = 16_000;

/// How a clip of several channels becomes mono.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Downmix {
    /// The first (left) channel alone, as R1-AQA's loader takes it.
    First,
    /// The mean of all channels, as librosa takes it.
    #[default]
    Mean,
}

/// Decodes a file to samples @ 16 kHz, f32, mono.
///
/// WAV (PCM, float, ADPCM, A-law, µ-law), FLAC, MP3, OGG Vorbis, AAC (ADTS or MP4/M4A), ALAC and AIFF are told apart
/// by their content, not their name. A few corrupt packets of a lossy stream are skipped; encoder delay and padding
/// are cut where the file states them.
///
/// # Errors
/// [`AudioError`] when the file is missing, unreadable, empty, not audio, without samples, cut short of what its
/// header promises, or corrupt throughout.
pub fn load_audio(path: &Path, downmix: Downmix) -> Result<Vec<f32>, AudioError> {
    let bytes = fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AudioError::Missing { path: path.into() },
        _ => AudioError::Unreadable { path: path.into(), source },
    })?;
    decode_bytes(path, bytes, downmix)
}

/// [`load_audio`] for a file's content already in memory; `path` only names it in errors.
///
/// # Errors
/// As [`load_audio`], but for those of opening the file.
pub fn decode_bytes(path: &Path, bytes: Vec<u8>, downmix: Downmix) -> Result<Vec<f32>, AudioError> {
    // The decoders read bytes from anywhere; a bug in one of them must cost this clip, not the loader thread.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let clip = decode::decode(path, bytes, downmix)?;
        let unusual =
            || AudioError::Unsupported { path: path.into(), what: format!("a rate of {} Hz", clip.rate) };
        let samples = resample(clip.samples, clip.rate).ok_or_else(unusual)?;
        // A handful at a high rate can round to none.
        if samples.is_empty() { Err(AudioError::NoSamples { path: path.into() }) } else { Ok(samples) }
    }));
    outcome.unwrap_or_else(|_| {
        Err(AudioError::Corrupt { path: path.into(), what: "its bytes make the decoder fail".into() })
    })
}
