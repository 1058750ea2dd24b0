//! What can be wrong with a clip, or with a feature extractor's configuration.

use std::io;
use std::path::PathBuf;

/// Why a clip has no samples or features. The message is one line: the file, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`path` is the clip; each message names the other fields")]
pub enum AudioError {
    #[error("{}: no such audio file; correct the path or fetch the clip", path.display())]
    Missing { path: PathBuf },
    #[error("{}: cannot read the audio file ({source}); check that it is a file and its permissions", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: the audio file is empty (0 bytes); fetch it again", path.display())]
    Empty { path: PathBuf },
    /// The first bytes belong to no known container or codec.
    #[error(
        "{}: not a known audio format (WAV, FLAC, MP3, OGG Vorbis, AAC, M4A and AIFF are); \
         convert it with `ffmpeg -i IN -ar 16000 OUT.wav`",
        path.display()
    )]
    NotAudio { path: PathBuf },
    /// A known container holds a codec or feature, `what`, that cannot be decoded.
    #[error("{}: {what} is not supported; convert it with `ffmpeg -i IN -ar 16000 OUT.wav`", path.display())]
    Unsupported { path: PathBuf, what: String },
    /// The file ends before the number of samples per channel that its header states.
    #[error("{}: truncated: header promises {promised} samples, {found} found; fetch it again", path.display())]
    Truncated { path: PathBuf, promised: u64, found: u64 },
    /// The file is well-formed and has no sample in it.
    #[error("{}: the audio has no samples; fetch it again or drop it from the data set", path.display())]
    NoSamples { path: PathBuf },
    /// The bytes contradict their format; `what` is the decoder's own message.
    #[error("{}: corrupt audio: {what}; fetch it again", path.display())]
    Corrupt { path: PathBuf, what: String },
    /// The feature extractor cannot be built. `path` is its file, or `feature extractor` for a
    /// configuration made in code.
    #[error("{}: {problem}", path.display())]
    Config { path: PathBuf, problem: FeatureConfigError },
}

/// What is wrong in `preprocessor_config.json`, or with a `FeatureConfig`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum FeatureConfigError {
    #[error("cannot be read ({error}); copy it from the model's hub page")]
    Read { error: String },
    #[error("bad JSON: {error}; copy it from the model's hub page")]
    Json { error: String },
    #[error("`{key}` other than 0 or false is not supported; remove it")]
    Unsupported { key: &'static str },
    #[error("`sampling_rate` is {found}; clips are loaded at {expected} Hz, write that")]
    SampleRate { found: usize, expected: u32 },
    #[error("`{key}` is {found}; write {low} to {high}")]
    OutOfRange { key: &'static str, found: usize, low: usize, high: usize },
    #[error("`n_fft` is {found}; write an even number")]
    OddFft { found: usize },
}
