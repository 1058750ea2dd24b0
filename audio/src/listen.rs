//! What a model hears of a file, as a person and a program want to know it: `sandbox listen` and the live page.

use std::fmt;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::decoder::{ClipInfo, Warning};
use super::downmix::Downmix;
use super::error::{AudioError, FeatureError};
use super::feature_config::FeatureConfig;
use super::levels::Levels;
use super::load::{Clip, Hearing, load};
use super::mel::{FeatureExtractor, LogMel};
use super::resample::SAMPLE_RATE;
use super::wav_writer::write_wav;

/// The longest window that is listened to, in seconds: four hours, which take 0.9 GB.
pub const LONGEST_WINDOW: usize = 4 * 3600;

/// The most windows in which a clip is heard as a whole.
pub const MOST_WINDOWS: usize = 32;

/// How a model hears files: the features it computes of them, and how several channels become one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ears {
    /// The dimensions of its features; their chunk is the part of a clip that the model hears.
    pub features: FeatureConfig,
    /// How several channels become one.
    pub downmix: Downmix,
    /// A program that decodes what this crate does not.
    pub fallback: Option<PathBuf>,
    /// Whether a clip that is longer than the chunk is heard as a whole, in up to [`MOST_WINDOWS`] windows.
    pub whole: bool,
}

impl Ears {
    /// The part of a file that the model hears if its window, or the first of its windows, begins at `start`, in seconds.
    pub fn hearing(&self, start: f64) -> Hearing {
        let windows = if self.whole { MOST_WINDOWS } else { 1 };
        Hearing {
            downmix: self.downmix,
            start,
            samples: Some(samples_in((windows * self.features.chunk_length_seconds) as f64)),
            fallback: self.fallback.clone(),
            ..Hearing::default()
        }
    }
}

/// Number of samples @ 16 kHz in a window, which is at most [`LONGEST_WINDOW`].
pub fn samples_in(seconds: f64) -> usize {
    // A conversion from float to integer keeps within the integer's range.
    (seconds.min(LONGEST_WINDOW as f64) * f64::from(SAMPLE_RATE)).round() as usize
}

/// What was heard of a file.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The file, as it was named.
    pub file: PathBuf,
    /// What the file is.
    pub info: ClipInfo,
    /// Length of the clip in the file, in seconds. `None` if the file does not say it and was not heard to its end.
    pub seconds: Option<f64>,
    /// Where the window begins, in seconds.
    pub start: f64,
    /// Where the window ends before the clip does, in seconds from the start of the file; `None` if the clip was heard to
    /// its end.
    pub cut_at: Option<f64>,
    /// The samples in the window, f32, mono, @ 16 kHz.
    pub samples: Vec<f32>,
    /// Samples in each of the windows in which they are heard one after another; `None` for one window.
    pub window: Option<usize>,
    /// How loud they are.
    pub levels: Levels,
    /// What was odd about the file.
    pub warnings: Vec<Warning>,
}

/// Hears a file as [`load()`] does, and describes what is heard. At most [`LONGEST_WINDOW`] is heard.
///
/// Errors: those of [`load()`].
pub fn listen(file: &Path, hearing: &Hearing) -> Result<Heard, AudioError> {
    let most = hearing.samples.unwrap_or(usize::MAX).min(LONGEST_WINDOW * SAMPLE_RATE as usize);
    // One more sample tells whether the clip goes on, also where the file does not state its length.
    let asked = Hearing { samples: Some(most + 1), ..hearing.clone() };
    Ok(describe(file, load(file, &asked)?, most))
}

/// Describes a clip of which `most` samples count.
fn describe(file: &Path, clip: Clip, most: usize) -> Heard {
    let Clip { mut samples, info, start, warnings } = clip;
    let goes_on = samples.len() > most;
    samples.truncate(most);
    let end = start + seconds_of(&samples);
    Heard {
        file: file.to_owned(),
        seconds: info.seconds().or((!goes_on).then_some(end)),
        start,
        cut_at: goes_on.then_some(end),
        levels: Levels::of(&samples),
        info,
        samples,
        window: None,
        warnings,
    }
}

fn seconds_of(samples: &[f32]) -> f64 {
    samples.len() as f64 / f64::from(SAMPLE_RATE)
}

impl Heard {
    /// Length of what was heard, in seconds.
    pub fn heard_seconds(&self) -> f64 {
        seconds_of(&self.samples)
    }

    /// Number of windows in which it is heard.
    pub fn windows(&self) -> usize {
        self.window.map_or(1, |window| self.samples.len().div_ceil(window.max(1)))
    }

    /// Writes the samples to a WAV file, which is replaced if it exists.
    ///
    /// Errors: those of the file.
    pub fn write_wav(&self, path: &Path) -> std::io::Result<()> {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        write_wav(&mut file, &self.samples)?;
        file.into_inner().map(drop).map_err(|error| error.into_error())
    }

    /// The features of what was heard, without padding, in a chunk long enough for all of it.
    ///
    /// Errors: [`FeatureError`]: more was heard than a chunk can hold, one hour, or `config` is not usable.
    pub fn features(&self, config: &FeatureConfig) -> Result<LogMel, FeatureError> {
        let needed = self.samples.len().div_ceil(SAMPLE_RATE as usize);
        let chunk_length_seconds = config.chunk_length_seconds.max(needed);
        let extractor = FeatureExtractor::new(FeatureConfig { chunk_length_seconds, ..config.clone() })?;
        Ok(extractor.extract_valid(&self.samples))
    }
}

/// A few aligned lines for a person.
impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { info, levels, .. } = self;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, text: &str| write!(f, "\n  {name:<9}{text}");
        let plural = if info.channels == 1 { "" } else { "s" };
        write!(f, "{}", self.file.display())?;
        line(f, "format", &format!("{}, {}", info.format, info.codec))?;
        line(f, "rate", &format!("{} Hz, {} channel{plural}", info.rate, info.channels))?;
        line(
            f,
            "length",
            &self.seconds.map_or("not stated".to_owned(), |seconds| format!("{seconds:.3} s")),
        )?;
        let end = self.start + self.heard_seconds();
        let cut = if self.cut_at.is_some() { ", then it is cut" } else { "" };
        line(f, "heard", &format!("{:.3} s to {end:.3} s{cut}", self.start))?;
        if let (Some(window), windows @ 2..) = (self.window, self.windows()) {
            let last = &self.samples[(windows - 1) * window..];
            let each = window as f64 / f64::from(SAMPLE_RATE);
            line(f, "windows", &format!("{windows} of {each} s, the last of {:.3} s", seconds_of(last)))?;
        }
        line(f, "peak", &decibels(levels.peak_dbfs))?;
        line(f, "rms", &decibels(levels.rms_dbfs))?;
        line(f, "silence", &format!("{:.1} %", 100.0 * levels.silence))?;
        self.warnings.iter().try_for_each(|warning| line(f, "warning", &warning.text))
    }
}

fn decibels(level: f64) -> String {
    if level.is_finite() { format!("{level:.1} dBFS") } else { "no sound".to_owned() }
}

/// The line of JSON about one file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the fields of `Heard`")]
pub enum HeardRecord {
    /// It was heard.
    Heard {
        file: String,
        format: &'static str,
        codec: String,
        rate: u32,
        channels: usize,
        seconds: Option<f64>,
        heard_seconds: f64,
        windows: usize,
        cut_at: Option<f64>,
        /// `None` without sound.
        peak_dbfs: Option<f64>,
        /// `None` without sound.
        rms_dbfs: Option<f64>,
        silence: f64,
        warnings: Vec<WarningRecord>,
        /// Where the samples were written.
        wav: Option<String>,
    },
    /// It could not be heard.
    Failed {
        file: String,
        /// What is wrong and what to do, for a person.
        error: String,
        /// The kind of [`Problem`](crate::Problem).
        problem: &'static str,
    },
}

/// A [`Warning`] in a [`HeardRecord`].
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of `Warning`")]
pub struct WarningRecord {
    pub kind: &'static str,
    pub text: String,
}

impl HeardRecord {
    /// The record of a file, and of where its samples were written.
    pub fn of(outcome: &Result<Heard, AudioError>, wav: Option<&Path>) -> Self {
        let name = |path: &Path| path.display().to_string();
        let heard = match outcome {
            Ok(heard) => heard,
            Err(AudioError { path, problem }) => {
                return Self::Failed {
                    file: name(path),
                    error: problem.to_string(),
                    problem: problem.kind(),
                };
            }
        };
        let level = |level: f64| level.is_finite().then(|| rounded(level));
        let warning = |warning: &Warning| WarningRecord { kind: warning.kind, text: warning.text.clone() };
        Self::Heard {
            file: name(&heard.file),
            format: heard.info.format,
            codec: heard.info.codec.clone(),
            rate: heard.info.rate,
            channels: heard.info.channels,
            seconds: heard.seconds,
            heard_seconds: heard.heard_seconds(),
            windows: heard.windows(),
            cut_at: heard.cut_at,
            peak_dbfs: level(heard.levels.peak_dbfs),
            rms_dbfs: level(heard.levels.rms_dbfs),
            silence: rounded(heard.levels.silence),
            warnings: heard.warnings.iter().map(warning).collect(),
            wav: wav.map(name),
        }
    }
}

/// Rounded to a thousandth.
fn rounded(value: f64) -> f64 {
    (1000.0 * value).round() / 1000.0
}

#[cfg(test)]
mod tests;
