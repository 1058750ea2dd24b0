//! What clips sound like, decoded as the loader decodes them.

use std::path::Path;

use audio::{AudioError, Hearing, SAMPLE_RATE, Warning};

use crate::clips::Clip;
use crate::parallel::spread;
use crate::sources::Source;

/// Below this share of full scale at its loudest, a clip has no sound: -80 dB.
pub(crate) const SILENCE: f32 = 1e-4;

/// At this share of full scale a sample is clipped. The largest sample of 16 bits is 0.99997.
const FULL_SCALE: f32 = 0.9999;

/// Fewer samples at full scale in a row are a peak. A tone at full scale has three only below 30 Hz.
const RUN: usize = 3;

/// Share of samples in such runs from which a clip counts as clipped.
const CLIPPED: f64 = 0.001;

/// Most seconds that are decoded of a clip if the model's window is not known.
const MOST_SECONDS: f64 = 300.0;

/// What a clip sounds like.
pub(crate) struct Heard {
    /// Length in seconds, if it was decoded to its end.
    pub seconds: Option<f64>,
    /// Largest absolute value of a sample; full scale is 1.
    pub peak: f32,
    /// Share of its samples that are clipped, if that is enough to count as clipped.
    pub clipped: Option<f64>,
    pub warnings: Vec<Warning>,
}

/// Decodes clips, each as far as the model hears. Only those whose headers can be read are tried.
pub(crate) fn decode(
    clips: &[&Clip],
    source: &Source,
    window_seconds: Option<f64>,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Result<Heard, AudioError>> {
    let seconds = window_seconds.unwrap_or(MOST_SECONDS).clamp(0.0, 3600.0);
    // One more than is heard, which tells a clip that ends there from a longer one.
    let most = (seconds * f64::from(SAMPLE_RATE)) as usize + 1;
    let hearing = Hearing {
        downmix: source.downmix,
        fallback: source.fallback.clone(),
        samples: Some(most),
        ..Hearing::default()
    };
    let heard = spread(clips, None, done, |clip| hear(&clip.path, &hearing, most));
    heard.into_iter().flatten().collect()
}

fn hear(path: &Path, hearing: &Hearing, most: usize) -> Result<Heard, AudioError> {
    let clip = audio::load(path, hearing)?;
    let peak = clip.samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    Ok(Heard {
        seconds: (clip.samples.len() < most).then(|| clip.samples.len() as f64 / f64::from(SAMPLE_RATE)),
        peak,
        clipped: Some(clipped_share(&clip.samples)).filter(|&share| share >= CLIPPED),
        warnings: clip.warnings,
    })
}

/// Share of samples that are at full scale, [`RUN`] or more in a row.
fn clipped_share(samples: &[f32]) -> f64 {
    let runs = samples.chunk_by(|a, b| (a.abs() >= FULL_SCALE) == (b.abs() >= FULL_SCALE));
    let clipped = runs.filter(|run| run[0].abs() >= FULL_SCALE && run.len() >= RUN);
    clipped.map(<[f32]>::len).sum::<usize>() as f64 / samples.len().max(1) as f64
}

/// The indices of `count` of `total` items, spread evenly; all if there are no more.
pub(crate) fn sample(total: usize, count: usize) -> Vec<usize> {
    let count = count.min(total);
    (0..count).map(|index| index * total / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_at_full_scale_count_in_runs_of_three_or_more() {
        assert_eq!(clipped_share(&[1.0, 1.0, 0.0, 1.0, -1.0, 1.0, 0.5, 0.5]), 3.0 / 8.0);
        assert_eq!(clipped_share(&[1.0, 0.9, 1.0, 0.9, 1.0]), 0.0);
        assert_eq!(clipped_share(&[]), 0.0);
    }

    #[test]
    fn a_loud_tone_is_not_clipped_and_one_beyond_full_scale_is() {
        let tone = |gain: f32| -> Vec<f32> {
            let wave =
                (0..16_000).map(|i| (i as f32 * 100.0 * std::f32::consts::TAU / 16_000.0).sin() * gain);
            wave.map(|sample| sample.clamp(-1.0, 32_767.0 / 32_768.0)).collect()
        };
        assert!(clipped_share(&tone(1.0)) < CLIPPED);
        // arccos(1 / 1.1) / 90° of the time: 27 %.
        assert!((clipped_share(&tone(1.1)) - 0.27).abs() < 0.02);
    }

    #[test]
    fn a_sample_is_spread_over_all() {
        assert_eq!(sample(10, 4), [0, 2, 5, 7]);
        assert_eq!(sample(3, 50), [0, 1, 2]);
        assert_eq!(sample(0, 50), [0; 0]);
    }
}
