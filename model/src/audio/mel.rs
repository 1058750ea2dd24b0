//! Whisper's log-mel spectrogram, as Hugging Face's `WhisperFeatureExtractor` computes it.
//!
//! The clip is padded with silence to the chunk (30 s for Qwen2-Audio), cut into centred frames of 25 ms every 10 ms,
//! each of which gives the energies of `n_mels` bands; their logarithm is floored 8 decades below the clip's loudest
//! value and scaled to about -1..1.
//!
//! 1. `MEL-1` `frames = chunk / hop`, whatever the clip's length; `valid_frames = ceil(samples / hop)`.
//! 2. `MEL-2` Frames that see only padding are not computed: they all hold the same value.
//! 3. `MEL-3` The loudest value is taken over the padded chunk.
//!
//! Everything is f32; filters and window are made in f64. The error against double precision is about 1e-6, but in a
//! frame's faintest bands, near the floor, the rounding of its loudest shows: up to 1e-4.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::Deserialize;

use super::log10::log10_in_place;
use super::mel_filters::MelFilters;
use super::{AudioError, SAMPLE_RATE};

/// Frames worked on together, so that filters and logarithms run over whole vector registers.
const LANES: usize = 16;

/// Energies below this are silence.
const ENERGY_FLOOR: f32 = 1e-10;

/// The dimensions of a spectrogram. The default is that of Whisper large-v3 and Qwen2-Audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureConfig {
    /// What every clip is padded or cut to, in seconds.
    pub chunk_length_seconds: usize,
    /// Bands per frame.
    pub n_mels: usize,
    /// Samples per frame; even.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// Samples per second; 16 kHz.
    pub sampling_rate: usize,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self { chunk_length_seconds: 30, n_mels: 128, n_fft: 400, hop: 160, sampling_rate: 16_000 }
    }
}

/// The features of one clip.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMel {
    /// `[n_mels, frames]`, row-major.
    pub values: Vec<f32>,
    /// Bands per frame.
    pub n_mels: usize,
    /// Frames in `values`, padding included.
    pub frames: usize,
    /// Frames that begin within the clip; the rest is padding.
    pub valid_frames: usize,
    /// Whether the clip was longer than the chunk and lost its end.
    pub truncated: bool,
}

/// Turns samples into [`LogMel`] features. Clones share one plan; use it from any thread.
#[derive(Clone)]
pub struct FeatureExtractor {
    shared: Arc<Shared>,
}

struct Shared {
    config: FeatureConfig,
    filters: MelFilters,
    window: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    /// Work space of the threads not extracting now.
    idle: Mutex<Vec<Scratch>>,
}

struct Scratch {
    frame: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    fft: Vec<Complex<f32>>,
    power: Vec<[f32; LANES]>,
    mel: Vec<[f32; LANES]>,
}

/// The keys of `preprocessor_config.json` that matter here, with Hugging Face's defaults.
#[derive(Deserialize)]
#[serde(default)]
struct PreprocessorConfig {
    chunk_length: usize,
    feature_size: usize,
    n_fft: usize,
    hop_length: usize,
    sampling_rate: usize,
    padding_value: f64,
    dither: f64,
    do_normalize: bool,
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            chunk_length: 30,
            feature_size: 80,
            n_fft: 400,
            hop_length: 160,
            sampling_rate: 16_000,
            padding_value: 0.0,
            dither: 0.0,
            do_normalize: false,
        }
    }
}

/// What a directory says of its feature extractor, and the file it is in.
fn preprocessor_config(dir: &Path) -> Result<(PathBuf, serde_json::Value), AudioError> {
    let read = |path: &Path| -> Result<serde_json::Value, AudioError> {
        let error = |what: String| AudioError::Config { path: path.into(), what };
        let text = fs::read_to_string(path)
            .map_err(|e| error(format!("cannot be read ({e}); copy it from the model's hub page")))?;
        serde_json::from_str(&text).map_err(|e| error(format!("bad JSON: {e}")))
    };
    let (old, new) = (dir.join("preprocessor_config.json"), dir.join("processor_config.json"));
    if !old.exists() && new.exists() {
        let mut json = read(&new)?;
        if let Some(extractor) = json.get_mut("feature_extractor") {
            return Ok((new, extractor.take()));
        }
    }
    Ok((old.clone(), read(&old)?))
}

impl FeatureExtractor {
    /// Reads `preprocessor_config.json` of a Hugging Face model directory, or where there is none what transformers 5 puts
    /// into `processor_config.json`.
    ///
    /// # Errors
    /// [`AudioError::Config`] when the file is missing, not JSON, or asks for something else than Whisper's features.
    pub fn open(dir: &Path) -> Result<Self, AudioError> {
        let (path, json) = preprocessor_config(dir)?;
        let error = |what: String| AudioError::Config { path: path.clone(), what };
        // A file that serves images too speaks of their normalisation.
        let of_images = json.get("image_processor_type").is_some();
        let json: PreprocessorConfig =
            serde_json::from_value(json).map_err(|e| error(format!("bad JSON: {e}")))?;
        for (key, unsupported) in [
            ("padding_value", json.padding_value != 0.0),
            ("dither", json.dither != 0.0),
            ("do_normalize", json.do_normalize && !of_images),
        ] {
            if unsupported {
                return Err(error(format!("`{key}` other than 0 or false is not supported; remove it")));
            }
        }
        let config = FeatureConfig {
            chunk_length_seconds: json.chunk_length,
            n_mels: json.feature_size,
            n_fft: json.n_fft,
            hop: json.hop_length,
            sampling_rate: json.sampling_rate,
        };
        check(&config).map_err(error)?;
        Ok(Self::build(config))
    }

    /// An extractor of these dimensions.
    ///
    /// # Errors
    /// [`AudioError::Config`] for dimensions that make no spectrogram.
    pub fn new(config: FeatureConfig) -> Result<Self, AudioError> {
        check(&config).map_err(|what| AudioError::Config { path: "feature extractor".into(), what })?;
        Ok(Self::build(config))
    }

    fn build(config: FeatureConfig) -> Self {
        let n_fft = config.n_fft;
        // Periodic Hann: the window of n + 1 points without its last.
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

    /// The dimensions this extractor was made with.
    pub fn config(&self) -> &FeatureConfig {
        &self.shared.config
    }

    /// Features of a clip, padded to the chunk.
    ///
    /// # Shapes
    /// Length of a clip as it is heard, in seconds, up to one hop.
    pub fn seconds(&self, clip: &LogMel) -> f64 {
        (clip.valid_frames * self.config().hop) as f64 / self.config().sampling_rate as f64
    }

    /// `samples`: @ 16 kHz, f32, mono, any number. Values: `[n_mels, chunk / hop]`.
    pub fn extract(&self, samples: &[f32]) -> LogMel {
        self.shared.extract(samples, true)
    }

    /// Features of a clip without the frames of padding: the same values, `frames == valid_frames`.
    ///
    /// For models that drop the padding (Qwen2.5-Omni, whose chunk is 300 s: 15 MB per clip when padded).
    pub fn extract_valid(&self, samples: &[f32]) -> LogMel {
        self.shared.extract(samples, false)
    }
}

impl std::fmt::Debug for FeatureExtractor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FeatureExtractor").field(self.config()).finish()
    }
}

fn check(config: &FeatureConfig) -> Result<(), String> {
    let FeatureConfig { chunk_length_seconds: chunk, n_mels, n_fft, hop, sampling_rate } = *config;
    if sampling_rate != SAMPLE_RATE as usize {
        return Err(format!(
            "`sampling_rate` is {sampling_rate}; clips are loaded at {SAMPLE_RATE} Hz, write that"
        ));
    }
    for (key, value, range) in [
        ("chunk_length", chunk, 1..=3600),
        ("feature_size", n_mels, 1..=1024),
        ("n_fft", n_fft, 16..=16_000),
        ("hop_length", hop, 1..=16_000),
    ] {
        if !range.contains(&value) {
            return Err(format!("`{key}` is {value}; write {} to {}", range.start(), range.end()));
        }
    }
    if n_fft % 2 != 0 {
        return Err(format!("`n_fft` is {n_fft}; write an even number"));
    }
    Ok(())
}

impl Shared {
    fn extract(&self, samples: &[f32], padded: bool) -> LogMel {
        let FeatureConfig { chunk_length_seconds, n_mels, n_fft, hop, sampling_rate } = self.config;
        let chunk = chunk_length_seconds * sampling_rate;
        let clip = &samples[..samples.len().min(chunk)];
        let chunk_frames = chunk / hop;
        let valid_frames = clip.len().div_ceil(hop).min(chunk_frames);
        // The frames with at least one of the clip's samples under their window. The mirror image at the chunk's end
        // adds none: it repeats samples that the same frame covers.
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
            // Lanes beyond `count` still hold an earlier block's frames (or silence): they cannot raise the maximum.
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
        LogMel { values, n_mels, frames, valid_frames, truncated: samples.len() > chunk }
    }

    /// The power spectrum of one frame, into one lane of `scratch.power`.
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
                // The padded chunk is mirrored at both ends, its first and last sample not repeated.
                let position = (centre + i).abs_diff(half);
                let position = if position < chunk { position } else { 2 * (chunk - 1) - position };
                *x = clip.get(position).copied().unwrap_or(0.0) * window;
            }
        }
        self.fft
            .process_with_scratch(&mut scratch.frame, &mut scratch.spectrum, &mut scratch.fft)
            .expect("buffers made by this very plan fit it");
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
        // Another clip's frames must not count towards this clip's maximum.
        scratch.power.fill([0.0; LANES]);
        scratch
    }

    fn put_back(&self, scratch: Scratch) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}

#[cfg(test)]
mod tests;
