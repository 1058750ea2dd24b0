//! What can be wrong with a clip, or with a feature extractor's configuration.

use std::io;
use std::path::{Path, PathBuf};

/// Why a clip has no samples or features. The message is one line: the file, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct AudioError {
    /// Where the clip lies.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a clip.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum Problem {
    #[error("no such audio file; correct the path or fetch the clip")]
    Missing,
    #[error("no such audio file; there is `{near}` in its folder")]
    MissingNear { near: String },
    /// The archive or Parquet file that holds the clip, or the part of it, does not exist.
    #[error("{what}")]
    Absent { what: String },
    /// The archive or Parquet file that holds the clip cannot be used.
    #[error("{what}; {remedy}")]
    Archive { what: String, remedy: String },
    #[error("a {scheme} URL; fetch the clip first and write its path: nothing is fetched from the net")]
    Url { scheme: String },
    #[error("cannot read the audio file ({0}); check that it is a file and its permissions")]
    Unreadable(#[from] io::Error),
    #[error("the audio file is empty (0 bytes); fetch it again")]
    Empty,
    /// The first bytes belong to no known container or codec.
    #[error(
        "not a known audio format; docs/audio.md lists what is read; convert it with `ffmpeg -i IN -ar 16000 OUT.wav`"
    )]
    NotAudio,
    /// The bytes are something else with the name of an audio file, such as a web page.
    #[error("not audio but {what}; {remedy}")]
    SomethingElse { what: &'static str, remedy: &'static str },
    /// A known container holds a codec or feature, `what`, that cannot be decoded.
    #[error("{what} is not supported; convert it with `ffmpeg -i IN -ar 16000 OUT.wav`")]
    Unsupported { what: String },
    /// The file ends long before the number of samples per channel that its header states.
    #[error("truncated: header promises {promised} samples, {found} found; fetch it again")]
    Truncated { promised: u64, found: u64 },
    /// The file is well-formed and has no sample in it.
    #[error("the audio has no samples; fetch it again or drop it from the data set")]
    NoSamples,
    /// The window that was asked for begins after the end.
    #[error("the clip is {seconds:.3} s long; its window begins at {start:.3} s")]
    AfterEnd { start: f64, seconds: f64 },
    /// The bytes contradict their format; `what` is the decoder's own message.
    #[error("corrupt audio: {what}; fetch it again")]
    Corrupt { what: String },
}

impl Problem {
    /// The error of the clip at `path`.
    pub(crate) fn at(self, path: &Path) -> AudioError {
        AudioError { path: path.into(), problem: self }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// A short name to count it under, as in `sandbox check`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing | Self::MissingNear { .. } | Self::Absent { .. } => "missing",
            Self::Archive { .. } => "archive",
            Self::Url { .. } => "url",
            Self::Unreadable(_) => "unreadable",
            Self::Empty => "empty",
            Self::NotAudio | Self::SomethingElse { .. } => "not audio",
            Self::Unsupported { .. } => "unsupported",
            Self::Truncated { .. } => "truncated",
            Self::NoSamples => "no samples",
            Self::AfterEnd { .. } => "window after the end",
            Self::Corrupt { .. } => "corrupt",
        }
    }
}

/// A feature extractor cannot be built. `path` is its file, or `feature extractor` for a configuration made in code.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
#[expect(missing_docs, reason = "the message names the fields")]
pub struct FeatureError {
    pub path: PathBuf,
    pub problem: FeatureConfigError,
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
