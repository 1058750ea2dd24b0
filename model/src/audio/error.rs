//! What can be wrong with a clip or with a feature extractor's configuration.

use std::io;
use std::path::PathBuf;

/// One line each: the file, what is wrong with it, what to do.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// No file at this path.
    #[error("{}: no such audio file; correct the path or fetch the clip", path.display())]
    Missing {
        /// The clip.
        path: PathBuf,
    },
    /// The file is there but cannot be read.
    #[error("{}: cannot read the audio file ({source}); check that it is a file and its permissions", path.display())]
    Unreadable {
        /// The clip.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Zero bytes.
    #[error("{}: the audio file is empty (0 bytes); fetch it again", path.display())]
    Empty {
        /// The clip.
        path: PathBuf,
    },
    /// No known container or codec begins in these bytes.
    #[error(
        "{}: not a known audio format (WAV, FLAC, MP3, OGG Vorbis, AAC, M4A and AIFF are); \
         convert it with `ffmpeg -i IN -ar 16000 OUT.wav`",
        path.display()
    )]
    NotAudio {
        /// The clip.
        path: PathBuf,
    },
    /// A known container with something in it that cannot be decoded.
    #[error("{}: {what} is not supported; convert it with `ffmpeg -i IN -ar 16000 OUT.wav`", path.display())]
    Unsupported {
        /// The clip.
        path: PathBuf,
        /// The codec or feature.
        what: String,
    },
    /// A lossless file ends before the samples its header counts.
    #[error("{}: truncated: header promises {promised} samples, {found} found; fetch it again", path.display())]
    Truncated {
        /// The clip.
        path: PathBuf,
        /// Samples per channel according to the header.
        promised: u64,
        /// Samples per channel in the file.
        found: u64,
    },
    /// A well-formed file without a single sample.
    #[error("{}: the audio has no samples; fetch it again or drop it from the data set", path.display())]
    NoSamples {
        /// The clip.
        path: PathBuf,
    },
    /// Bytes that contradict the format they claim.
    #[error("{}: corrupt audio: {what}; fetch it again", path.display())]
    Corrupt {
        /// The clip.
        path: PathBuf,
        /// What the decoder met.
        what: String,
    },
    /// A feature extractor that cannot be built.
    #[error("{}: {what}", path.display())]
    Config {
        /// `preprocessor_config.json`, or empty for a configuration made in code.
        path: PathBuf,
        /// What is wrong and what to write instead.
        what: String,
    },
}
