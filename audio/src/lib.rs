//! From audio files to model features.
//!
//! This is the first stage of a rollout. A loader thread reads a question's clip from disk, decodes it, mixes
//! it to mono and resamples it to 16 kHz ([`load()`]), then computes Whisper's log-mel spectrogram
//! ([`FeatureExtractor`]), which the policy uploads to its device. Nothing here uses tensors, so loader
//! threads run without libtorch.
//!
//! [`listen()`] says what is heard of a file, for `sandbox listen` and the live page; [`png`] draws it.
//!
//! - `AUDIO-1` Samples are f32, mono, 16 kHz. A clip of `n` samples at another rate becomes `round(n · 16000 / rate)`
//!   samples; a clip at 16 kHz is not resampled.
//! - `AUDIO-2` Whatever bytes a file holds, the result is samples or one [`AudioError`], never a panic.
//! - `AUDIO-3` Features equal those of Hugging Face's `WhisperFeatureExtractor` within 1e-4.
//! - `AUDIO-4` Memory and time depend on the window that is heard, not on the length of the file or on what its header
//!   promises.
//!
//! ```no_run
//! use audio::{FeatureConfig, FeatureExtractor, Hearing};
//!
//! let clip = audio::load("dog.wav".as_ref(), &Hearing { start: 10.0, ..Hearing::default() })?;
//! println!("{} at {} Hz", clip.info.codec, clip.info.rate);
//! let features = FeatureExtractor::new(FeatureConfig::default()).unwrap().extract(&clip.samples);
//! # Ok::<(), audio::AudioError>(())
//! ```

/// Changes whenever what is heard of a file, or the features of it, change; so features that are kept on a disk are made again.
pub const FEATURES_VERSION: u32 = 1;

mod aac;
mod adts;
mod decoder;
mod downmix;
mod elementary;
mod error;
mod fallback;
mod feature_config;
mod flac;
mod frames;
mod input;
mod kind;
mod levels;
mod listen;
mod load;
mod log10;
mod matroska;
mod mel;
mod mel_filters;
mod mp4;
mod mp4_boxes;
mod mp4_guard;
mod mpeg;
mod names;
mod ogg;
mod opus;
mod packets;
mod padding;
mod pcm;
mod picture;
mod place;
mod resample;
mod sniff;
mod tags;
mod wav_writer;
mod wavpack;

pub use decoder::{ClipInfo, Warning};
pub use downmix::{Downmix, UnknownDownmix};
pub use error::{AudioError, FeatureConfigError, FeatureError, Problem};
pub use feature_config::FeatureConfig;
pub use input::Input;
pub use levels::Levels;
pub use listen::{Ears, Heard, HeardRecord, LONGEST_WINDOW, MOST_WINDOWS, WarningRecord, listen, samples_in};
pub use load::{Clip, Hearing, inspect, load, load_bytes, load_in_windows, open};
pub use mel::{FeatureExtractor, LogMel};
pub use picture::png;
pub use place::ParquetTable;
pub use resample::{SAMPLE_RATE, resample};
pub use wav_writer::{wav_16_bit, write_wav};
