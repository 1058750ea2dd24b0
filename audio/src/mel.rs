//! Whisper's log-mel spectrogram, as Hugging Face's `WhisperFeatureExtractor` computes it.
//!
//! `Processor::extract` runs it on each decoded clip. The clip is padded with silence to the chunk (30 s for
//! Qwen2-Audio) and cut into centred frames of 25 ms every 10 ms. Each frame gives the energies of `n_mels` bands.
//! Their base-10 logarithm is limited to 8 below the largest value of the clip, and scaled to about -1..1.
//!
//! - `MEL-1` `frames = chunk / hop`, whatever the clip's length; `valid_frames = ceil(samples / hop)`.
//! - `MEL-2` Frames that cover only padding are not computed: they all hold the same value.
//! - `MEL-3` The largest value is taken over the padded chunk.
//!
//! The computation is in f32; filters and window are made in f64. The difference to double precision is about 1e-6,
//! except in the faintest bands of a frame, near the floor, where the rounding of its loudest band shows: up to 1e-4.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

use super::error::FeatureError;
use super::feature_config::FeatureConfig;
use super::log10::log10_in_place;
use super::mel_filters::MelFilters;

/// Frames that are processed together, so that filters and logarithms use whole vector registers.
const LANES: usize = 16;

/// Energies below this count as silence.
const ENERGY_FLOOR: f32 = 1e-10;

/// The features of one clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogMel {
    /// `[n_mels, frames]`, f32, row-major: log10 energies, floored and scaled to about -1..1.
    pub values: Vec<f32>,
    /// Mel bands of each frame.
    pub n_mels: usize,
    /// Number of frames in `values`, padding included.
    pub frames: usize,
    /// Number of frames that begin within the clip; the others are padding.
    pub valid_frames: usize,
    /// Whether the clip was longer than the chunk and lost its end.
    pub truncated: bool,
    /// The samples @ 16 kHz, mono, that the features were computed of. Kept only for a server that computes its own
    /// features; the extractor sets `None`, and a copy for another process has none.
    #[serde(skip)]
    pub samples: Option<Arc<[f32]>>,
}

impl LogMel {
    /// Whether the clip has no sound. Then all values are the same, up to rounding; a clip with any sound has a loudest
    /// band, and padding far below it.
    pub fn is_silent(&self) -> bool {
        self.values.iter().all(|value| (value - self.values[0]).abs() < 1e-3)
    }
}

/// Computes the [`LogMel`] features of clips. Clones share one FFT plan and can be used from any thread.
#[derive(Clone)]
pub struct FeatureExtractor {
    shared: Arc<Shared>,
}

struct Shared {
    config: FeatureConfig,
    filters: MelFilters,
    window: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    /// Scratch memory that no thread is using at the moment.
    idle: Mutex<Vec<Scratch>>,
}

struct Scratch {
    frame: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    fft: Vec<Complex<f32>>,
    power: Vec<[f32; LANES]>,
    mel: Vec<[f32; LANES]>,
}

impl FeatureExtractor {
    /// Opens the feature extractor of a Hugging Face model directory: `preprocessor_config.json`, or the
    /// `processor_config.json` that transformers 5 writes instead.
    ///
    /// Errors: [`FeatureError`] if the file is missing, is not JSON, or asks for other features than Whisper's.
    pub fn open(dir: &Path) -> Result<Self, FeatureError> {
        FeatureConfig::open(dir).map(Self::build)
    }

    /// An extractor of these dimensions.
    ///
    /// Errors: [`FeatureError`] if a dimension is out of range.
    pub fn new(config: FeatureConfig) -> Result<Self, FeatureError> {
        config.check().map_err(|problem| FeatureError { path: "feature extractor".into(), problem })?;
        Ok(Self::build(config))
    }

    fn build(config: FeatureConfig) -> Self {
        let n_fft = config.n_fft;
        // The periodic Hann window: the symmetric window of n + 1 points without its last point.
        let window = (0..n_fft)
            .map(|i| (0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / n_fft as f64).cos()) as f32)
            .collect();
        Self {
            shared: Arc::new(Shared {
                filters: MelFilters::new(config.n_mels, n_fft, config.sampling_rate),
                window,
                fft: RealFftPlanner::new().plan_fft_forward(n_fft),
                idle: Mutex::new(Vec::new()),
                config,
            }),
        }
    }

    /// The dimensions that this extractor was made with.
    pub fn config(&self) -> &FeatureConfig {
        &self.shared.config
    }

    /// Length of the part of a clip that has features, in seconds, rounded up to a hop.
    pub fn seconds(&self, clip: &LogMel) -> f64 {
        (clip.valid_frames * self.config().hop) as f64 / self.config().sampling_rate as f64
    }

    /// Features of a clip, padded to the chunk.
    ///
    /// Shapes: `samples`: any number @ 16 kHz, f32, mono → `values: [n_mels, chunk / hop]`, f32
    pub fn extract(&self, samples: &[f32]) -> LogMel {
        self.shared.extract(samples, true)
    }

    /// Features of a clip without the padding: the values of [`extract`](Self::extract) in the valid frames.
    ///
    /// For models that drop the padding. Qwen2.5-Omni has a chunk of 300 s, which would take 15 MB
    /// for each padded clip.
    ///
    /// Shapes: `samples`: any number @ 16 kHz, f32, mono → `values: [n_mels, valid_frames]`, f32
    pub fn extract_valid(&self, samples: &[f32]) -> LogMel {
        self.shared.extract(samples, false)
    }
}

impl std::fmt::Debug for FeatureExtractor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FeatureExtractor").field(self.config()).finish()
    }
}

impl Shared {
    /// Computes the frames that the clip reaches, `LANES` at a time, then floors, scales and pads them.
    fn extract(&self, samples: &[f32], padded: bool) -> LogMel {
        let FeatureConfig { chunk_length_seconds, n_mels, n_fft, hop, sampling_rate } = self.config;
        let chunk = chunk_length_seconds * sampling_rate;
        let clip = &samples[..samples.len().min(chunk)];
        let chunk_frames = chunk / hop;
        let valid_frames = clip.len().div_ceil(hop).min(chunk_frames);
        // The frames whose window covers at least one sample of the clip. The mirror image at the end of the chunk adds
        // no frame: it repeats samples that the same frame covers.
        let sounding = (clip.len() + n_fft / 2).div_ceil(hop).min(chunk_frames);
        let frames = if padded { chunk_frames } else { valid_frames };

        let mut scratch = self.take_scratch();
        let mut values = vec![0.0; n_mels * frames];
        let mut loudest = if sounding < chunk_frames { ENERGY_FLOOR.log10() } else { f32::NEG_INFINITY };
        for first in (0..sounding).step_by(LANES) {
            let count = LANES.min(sounding - first);
            for lane in 0..count {
                self.power_spectrum(clip, chunk, first + lane, lane, &mut scratch);
            }
            self.filters.apply(&scratch.power, &mut scratch.mel);
            let energies = scratch.mel.as_flattened_mut();
            for energy in energies.iter_mut() {
                *energy = if *energy > ENERGY_FLOOR { *energy } else { ENERGY_FLOOR };
            }
            // Lanes beyond `count` still hold frames of an earlier block, or silence, and cannot raise the maximum.
            loudest = loudest.max(log10_in_place(energies));
            let kept = count.min(frames.saturating_sub(first));
            for (row, mel) in values.chunks_exact_mut(frames.max(1)).zip(&scratch.mel) {
                row[first..first + kept].copy_from_slice(&mel[..kept]);
            }
        }
        self.put_back(scratch);

        let floor = loudest - 8.0;
        let scale = |value: f32| ((if value > floor { value } else { floor }) + 4.0) / 4.0;
        let silence = scale(ENERGY_FLOOR.log10());
        for row in values.chunks_exact_mut(frames.max(1)) {
            let (sound, padding) = row.split_at_mut(sounding.min(frames));
            for value in sound {
                *value = scale(*value);
            }
            padding.fill(silence);
        }
        LogMel { values, n_mels, frames, valid_frames, truncated: samples.len() > chunk, samples: None }
    }

    /// Computes the power spectrum of one frame into one lane of `scratch.power`.
    ///
    /// Shapes: `clip`: samples @ 16 kHz, f32, at most `chunk` → `scratch.power[..][lane]`: `n_fft / 2
    /// + 1` squared magnitudes
    fn power_spectrum(&self, clip: &[f32], chunk: usize, frame: usize, lane: usize, scratch: &mut Scratch) {
        let half = self.config.n_fft / 2;
        let centre = frame * self.config.hop;
        if centre >= half && centre + half <= clip.len() {
            let samples = &clip[centre - half..centre + half];
            for ((x, sample), window) in scratch.frame.iter_mut().zip(samples).zip(&self.window) {
                *x = sample * window;
            }
        } else {
            for (i, (x, window)) in scratch.frame.iter_mut().zip(&self.window).enumerate() {
                // The padded chunk is mirrored at both ends, without repeating its first and last sample.
                let position = (centre + i).abs_diff(half);
                let position = if position < chunk { position } else { 2 * (chunk - 1) - position };
                *x = clip.get(position).copied().unwrap_or(0.0) * window;
            }
        }
        self.fft
            .process_with_scratch(&mut scratch.frame, &mut scratch.spectrum, &mut scratch.fft)
            .expect("the buffers were made by this plan");
        for (bin, power) in scratch.spectrum.iter().zip(&mut scratch.power) {
            power[lane] = bin.norm_sqr();
        }
    }

    fn take_scratch(&self) -> Scratch {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = idle.unwrap_or_else(|| Scratch {
            frame: self.fft.make_input_vec(),
            spectrum: self.fft.make_output_vec(),
            fft: self.fft.make_scratch_vec(),
            power: vec![[0.0; LANES]; self.config.n_fft / 2 + 1],
            mel: vec![[0.0; LANES]; self.config.n_mels],
        });
        // Frames of an earlier clip must not count towards the maximum of this one.
        scratch.power.fill([0.0; LANES]);
        scratch
    }

    fn put_back(&self, scratch: Scratch) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}

#[cfg(test)]
mod tests;
