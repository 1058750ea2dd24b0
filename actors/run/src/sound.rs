//! How the clips of an arm are heard: the part of a row's file, its window or windows, and the features for the arm's model.

use std::sync::Arc;

use audio::{Ears, FeatureConfig, Hearing, LogMel, MOST_WINDOWS, SAMPLE_RATE, load_in_windows};
use evaluation::sound::{downmix, fill_with_noise, window_position};
use model::Processor;
use rewards::Question;
use scenarios::{ArmConfig, AudioWindow};
use workers::{AudioSource, ClipError, ClipRequest, HeardClip, Sound};

use crate::error::InputError;
use crate::feature_cache::{FeatureCache, Key, Recipe};
use crate::shared_clips::SharedClips;

/// Decodes clips as `[loader]` and `[audio]` say, and computes the features that the arm's model takes. Looks first into
/// what other arms hold in memory, then into the folder of `loader.cache_dir`.
///
/// Errors: that folder can't be used.
pub(crate) fn audio_source(
    config: &ArmConfig,
    processor: &Processor,
    shared: Arc<SharedClips>,
) -> Result<AudioSource, InputError> {
    let listener = Listener {
        processor: processor.clone(),
        config: config.clone(),
        window: processor.window_seconds().map(|seconds| seconds * SAMPLE_RATE as usize),
    };
    // The files of the cache hold features, and servers need the samples.
    let folder = config.loader.cache_dir.as_ref().filter(|_| !config.sampler.has_servers());
    let Some(folder) = folder else {
        return Ok(Arc::new(move |request: &ClipRequest| {
            shared.get(request, &listener.recipe(request), || listener.hear(request))
        }));
    };
    let most_bytes = (config.loader.cache_dir_mb as u64).saturating_mul(1_000_000);
    let cache = FeatureCache::open(folder, most_bytes)
        .map_err(|source| InputError::FeatureCache { path: folder.clone(), source })?;
    Ok(Arc::new(move |request: &ClipRequest| {
        shared.get(request, &listener.recipe(request), || listener.hear_cached(request, &cache))
    }))
}

/// Hears clips for one model.
struct Listener {
    processor: Processor,
    config: ArmConfig,
    /// Number of samples @ 16 kHz in the model's window; `None` for a text-only model.
    window: Option<usize>,
}

impl Listener {
    fn hear_cached(&self, request: &ClipRequest, cache: &FeatureCache) -> Result<HeardClip, ClipError> {
        // Controls replace what is heard, and need no decoding again but of its length.
        let key = match request.sound {
            Sound::Own => Key::of(&request.path, &self.recipe(request)),
            Sound::Silence | Sound::Noise => None,
        };
        if let Some(clip) = key.as_ref().and_then(|key| cache.get(key)) {
            return Ok(clip);
        }
        let clip = self.hear(request)?;
        if let Some(key) = key {
            cache.put(&key, &clip);
        }
        Ok(clip)
    }

    /// All that the features of a clip depend on beside its bytes.
    fn recipe(&self, request: &ClipRequest) -> Recipe {
        let numbers =
            [request.start, request.end.unwrap_or(f64::INFINITY), request.position].map(f64::to_bits);
        Recipe(format!(
            "{numbers:?} {:?} {:?} {:?} {:?} {:?} {} {}",
            downmix(&self.config),
            self.is_whole(),
            self.config.audio.fallback,
            self.processor.feature_config(),
            self.processor.pads_clips(),
            self.config.sampler.has_servers(),
            env!("CARGO_PKG_VERSION"),
        ))
    }

    fn is_whole(&self) -> bool {
        self.config.loader.window == AudioWindow::All
    }

    fn hear(&self, request: &ClipRequest) -> Result<HeardClip, ClipError> {
        match self.window.filter(|_| self.is_whole()) {
            Some(window) => self.hear_windows(request, window),
            None => self.hear_window(request),
        }
    }

    /// Hears one window of a clip.
    fn hear_window(&self, request: &ClipRequest) -> Result<HeardClip, ClipError> {
        // One sample more than the model takes shows that the clip is longer.
        let hearing = self.hearing(request, self.window.map(|window| window + 1));
        let clip = audio::load(&request.path, &hearing).map_err(|error| ClipError(error.to_string()))?;
        let mut samples = clip.samples;
        replace_samples(&mut samples, request, 0);
        let features = self.features(&samples)?;
        Ok(HeardClip { start: clip.start, warnings: clip.warnings.into(), ..HeardClip::from(features) })
    }

    /// Hears a clip in windows, one after another.
    fn hear_windows(&self, request: &ClipRequest, window: usize) -> Result<HeardClip, ClipError> {
        let hearing = self.hearing(request, Some(MOST_WINDOWS * window + 1));
        let mut number = 0;
        let mut features = |samples: &[f32]| {
            let mut samples = samples.to_vec();
            replace_samples(&mut samples, request, number);
            number += 1;
            self.features(&samples).map(Arc::new)
        };
        let (windows, clip) = load_in_windows(&request.path, &hearing, window, &mut features)
            .map_err(|error| ClipError(error.to_string()))?;
        let mut windows = windows.into_iter().collect::<Result<Vec<_>, ClipError>>()?;
        let rest = clip.samples;
        let goes_on = windows.len() == MOST_WINDOWS && !rest.is_empty();
        // A rest of a few samples has no token of its own.
        let is_heard = self.processor.clip_tokens(rest.len() as f64 / f64::from(SAMPLE_RATE)) > 0;
        if windows.is_empty() || is_heard && !goes_on {
            windows.push(features(&rest)?);
        }
        Ok(HeardClip { windows, goes_on, start: clip.start, warnings: clip.warnings.into() })
    }

    /// The features of the samples of a window, with the samples where a server needs them.
    fn features(&self, samples: &[f32]) -> Result<LogMel, ClipError> {
        let mut features = self.processor.extract(samples).map_err(|error| ClipError(error.to_string()))?;
        if self.config.sampler.has_servers() {
            let heard = self.window.map_or(samples.len(), |window| samples.len().min(window));
            features.samples = Some(samples[..heard].into());
        }
        Ok(features)
    }

    fn hearing(&self, request: &ClipRequest, samples: Option<usize>) -> Hearing {
        Hearing {
            downmix: downmix(&self.config),
            start: request.start,
            end: request.end,
            samples,
            position: request.position,
            fallback: self.config.audio.fallback.clone(),
        }
    }
}

/// Puts what a control hears in the place of the samples of a window.
fn replace_samples(samples: &mut [f32], request: &ClipRequest, window: usize) {
    match request.sound {
        Sound::Own => {}
        Sound::Silence => samples.fill(0.0),
        Sound::Noise => fill_with_noise(samples, &request.path, window),
    }
}

/// How the model hears clips, for the live page.
pub(crate) fn ears(config: &ArmConfig, features: FeatureConfig) -> Ears {
    Ears {
        features,
        downmix: downmix(config),
        fallback: config.audio.fallback.clone(),
        whole: config.loader.window == AudioWindow::All,
    }
}

/// Most windows of a clip that are in a prompt.
pub(crate) fn most_windows(config: &ArmConfig) -> usize {
    if config.loader.window == AudioWindow::All { MOST_WINDOWS } else { 1 }
}

/// The clip of a row. `place` is what a random window is drawn for: the step and the row.
pub(crate) fn clip_of(config: &ArmConfig, question: &Question, seed: u64, place: &[u64]) -> ClipRequest {
    let position = window_position(config, seed, place);
    ClipRequest { position, ..first_window(question) }
}

/// The clip of a row as it is heard to find out whether the row can be used: its first window.
pub(crate) fn first_window(question: &Question) -> ClipRequest {
    ClipRequest {
        path: question.audio_path.clone(),
        start: question.start.unwrap_or(0.0),
        end: question.end,
        position: 0.0,
        sound: Sound::Own,
    }
}

#[cfg(test)]
mod tests;
