//! How the clips of an arm are heard: the part of a row's file, its window, and the features for the arm's model.

use std::sync::Arc;

use audio::{Ears, FeatureConfig, Hearing, SAMPLE_RATE};
use evaluation::sound::{downmix, fill_with_noise, window_position};
use model::Processor;
use rewards::Question;
use scenarios::ArmConfig;
use workers::{AudioSource, ClipError, ClipRequest, HeardClip, Sound};

/// Decodes clips as `[loader]` and `[audio]` say, and computes the features that the arm's model takes.
pub(crate) fn audio_source(config: &ArmConfig, processor: &Processor) -> AudioSource {
    let processor = processor.clone();
    let downmix = downmix(config);
    // One sample more than the model takes shows that the clip is longer.
    let samples = processor.window_seconds().map(|seconds| seconds * SAMPLE_RATE as usize + 1);
    let fallback = config.audio.fallback.clone();
    Arc::new(move |request: &ClipRequest| {
        let hearing = Hearing {
            downmix,
            start: request.start,
            end: request.end,
            samples,
            position: request.position,
            fallback: fallback.clone(),
        };
        let clip = audio::load(&request.path, &hearing).map_err(|error| ClipError(error.to_string()))?;
        let mut samples = clip.samples;
        replace_samples(&mut samples, request);
        let features = processor.extract(&samples).map_err(|error| ClipError(error.to_string()))?;
        Ok(HeardClip { start: clip.start, warnings: clip.warnings.into(), ..HeardClip::from(features) })
    })
}

/// Puts what a control hears in the place of the clip's samples.
fn replace_samples(samples: &mut [f32], request: &ClipRequest) {
    match request.sound {
        Sound::Own => {}
        Sound::Silence => samples.fill(0.0),
        Sound::Noise => fill_with_noise(samples, &request.path),
    }
}

/// How the model hears clips, for the live page.
pub(crate) fn ears(config: &ArmConfig, features: FeatureConfig) -> Ears {
    Ears { features, downmix: downmix(config), fallback: config.audio.fallback.clone() }
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
