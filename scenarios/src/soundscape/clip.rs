//! The five sounds, and the rendering of a sequence of them as a clip.

use std::f64::consts::TAU;

use audio::SAMPLE_RATE;

use crate::world::rng::Rng;

/// Length of every clip, in seconds.
pub const CLIP_SECONDS: u32 = 3;

/// Largest number of events in a clip.
pub(super) const MOST_EVENTS: usize = 7;
/// Smallest number of events in a clip.
pub(super) const FEWEST_EVENTS: usize = 2;

const RATE: f64 = SAMPLE_RATE as f64;
/// Longest time before the first event, in seconds.
const LEAD: f64 = 0.05;
/// Ranges of the lengths of events and of the gaps between them, in seconds. All of it takes at most 0.05 + 7·0.24 +
/// 6·0.12 = 2.45 s.
const EVENT: (f64, f64) = (0.16, 0.24);
const GAP: (f64, f64) = (0.06, 0.12);
/// Length of an event's fade-in and fade-out, in seconds.
const FADE: f64 = 0.01;
/// Range of the amplitudes of events; 1 is full scale.
const LOUDNESS: (f64, f64) = (0.3, 0.8);
/// Largest relative deviation of an event's pitch.
const DETUNE: f64 = 0.03;
/// Standard deviation of the background noise; 1 is full scale.
const NOISE_FLOOR: f64 = 0.01;

/// A kind of sound event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sound {
    /// A steady 880 Hz tone.
    Beep,
    /// A 150 Hz square wave.
    Buzz,
    /// A tone that rises from 400 to 1600 Hz.
    Chirp,
    /// A tone that falls from 1600 to 400 Hz.
    Drop,
    /// White noise, which has no pitch.
    Hiss,
}

impl Sound {
    /// All sounds, in the order of their names.
    pub const ALL: [Sound; 5] = [Sound::Beep, Sound::Buzz, Sound::Chirp, Sound::Drop, Sound::Hiss];

    /// Name of the sound in questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Sound::Beep => "beep",
            Sound::Buzz => "buzz",
            Sound::Chirp => "chirp",
            Sound::Drop => "drop",
            Sound::Hiss => "hiss",
        }
    }
}

/// Renders a clip with these events in this order: f32, mono, at [`SAMPLE_RATE`], within [-1, 1].
pub(super) fn render(events: &[Sound], rng: &mut Rng) -> Vec<f32> {
    let mut clip: Vec<f64> = (0..SAMPLE_RATE * CLIP_SECONDS).map(|_| NOISE_FLOOR * rng.normal()).collect();
    let mut start = (RATE * rng.between(0.0, LEAD)) as usize;
    for &sound in events {
        let event = render_event(sound, rng);
        for (sample, value) in clip[start..].iter_mut().zip(&event) {
            *sample += value;
        }
        start += event.len() + (RATE * rng.between(GAP.0, GAP.1)) as usize;
    }
    clip.into_iter().map(|sample| sample.clamp(-1.0, 1.0) as f32).collect()
}

/// Renders an event with a random length, pitch and loudness.
fn render_event(sound: Sound, rng: &mut Rng) -> Vec<f64> {
    let length = (RATE * rng.between(EVENT.0, EVENT.1)) as usize;
    let detune = rng.between(1.0 - DETUNE, 1.0 + DETUNE);
    let loudness = rng.between(LOUDNESS.0, LOUDNESS.1);
    let sweep = |from: f64, to: f64, at: usize| {
        // The phase of a linear sweep is the integral of its frequency.
        let (seconds, whole) = (at as f64 / RATE, length as f64 / RATE);
        (TAU * detune * (from * seconds + (to - from) * seconds * seconds / (2.0 * whole))).sin()
    };
    let fade = (RATE * FADE) as usize;
    (0..length)
        .map(|at| {
            let value = match sound {
                Sound::Beep => sweep(880.0, 880.0, at),
                Sound::Buzz => 0.6 * sweep(150.0, 150.0, at).signum(),
                Sound::Chirp => sweep(400.0, 1600.0, at),
                Sound::Drop => sweep(1600.0, 400.0, at),
                Sound::Hiss => 0.4 * rng.normal(),
            };
            let edge = at.min(length - 1 - at) as f64 / fade as f64;
            value * loudness * edge.min(1.0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_events_always_fit() {
        let longest = LEAD + MOST_EVENTS as f64 * EVENT.1 + (MOST_EVENTS - 1) as f64 * GAP.1;
        assert!(longest < f64::from(CLIP_SECONDS), "{longest}");
    }

    #[test]
    fn a_clip_has_its_events_in_order_with_silence_between() {
        let clip = render(&[Sound::Beep, Sound::Hiss, Sound::Drop], &mut Rng::new(1, "clip"));
        assert_eq!(clip.len(), 48_000);
        // The events are the stretches of 10 ms windows with an RMS above 0.05, five times that of the noise floor.
        let loud: Vec<bool> = clip.chunks(160).map(|window| rms(window) > 0.05).collect();
        let starts = 1 + loud.windows(2).filter(|pair| !pair[0] && pair[1]).count() - usize::from(!loud[0]);
        assert_eq!(starts, 3);
        assert!(rms(&clip[44_000..]) < 0.012, "the end is silent");
    }

    #[test]
    fn sweeps_end_at_their_other_pitch() {
        // Zero crossings per second are twice the frequency; of the first and the last 30 ms.
        let pitch = |samples: &[f64]| {
            let crossings = samples.windows(2).filter(|pair| (pair[0] < 0.0) != (pair[1] < 0.0)).count();
            crossings as f64 / 2.0 / 0.03
        };
        let ends = |sound| {
            let event = render_event(sound, &mut Rng::new(5, "pitch"));
            (pitch(&event[..480]), pitch(&event[event.len() - 480..]))
        };
        let near = |value: f64, wanted: f64| (value - wanted).abs() < 0.15 * wanted;
        // In 30 ms of about 200 a sweep covers 15 % of its 1200 Hz: 490 and 1510 Hz on average.
        let (low, high) = ends(Sound::Chirp);
        assert!(near(low, 490.0) && near(high, 1510.0), "{low} {high}");
        let (high, low) = ends(Sound::Drop);
        assert!(near(low, 490.0) && near(high, 1510.0), "{low} {high}");
        let (from, to) = ends(Sound::Beep);
        assert!(near(from, 880.0) && near(to, 880.0), "{from} {to}");
    }

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }
}
