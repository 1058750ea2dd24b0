//! Joins sounds to a clip, and lets it sound as if heard in a room, in noise or over a telephone. Samples are f32, mono,
//! @ 16 kHz.

use std::f64::consts::TAU;

use audio::SAMPLE_RATE;

use super::rng::Rng;

const RATE: f64 = SAMPLE_RATE as f64;

/// RMS that a sound is brought to; 1 is full scale.
const LOUDNESS: f64 = 0.08;
/// Largest sample of a sound.
const PEAK: f64 = 0.8;
/// Samples below this part of the loudest one are silence, at the ends of a sound.
const SILENCE: f32 = 0.01;
/// What is kept of the silence at either end of a sound, in seconds.
const MARGIN: f64 = 0.01;
/// Range of the silence before the first sound and behind the last, in seconds.
const ENDS: (f64, f64) = (0.08, 0.16);
/// The pass band of a telephone, in Hz.
const TELEPHONE: (f64, f64) = (300.0, 3400.0);

/// A sound without the silence at its ends, at most `seconds` long, and as loud as all others.
pub(crate) fn normalized(samples: &[f32], seconds: f64) -> Vec<f32> {
    let loudest = samples.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
    let heard = |sample: &f32| sample.abs() > SILENCE * loudest;
    let (Some(first), Some(last)) = (samples.iter().position(heard), samples.iter().rposition(heard)) else {
        return Vec::new();
    };
    let margin = (MARGIN * RATE) as usize;
    let end = samples.len().min(last + 1 + margin);
    let mut sound = samples[first.saturating_sub(margin)..end].to_vec();
    let most = (seconds * RATE) as usize;
    if sound.len() > most {
        sound.truncate(most);
        let fade = most.min((0.03 * RATE) as usize);
        for (at, sample) in sound.iter_mut().rev().take(fade).enumerate() {
            *sample *= at as f32 / fade as f32;
        }
    }
    let gain = (LOUDNESS / rms(&sound)).min(PEAK / f64::from(loudest)) as f32;
    sound.iter_mut().for_each(|sample| *sample *= gain);
    sound
}

/// A clip of sounds, one behind the other, and where each is, in samples. `gaps` is the range of the silence between two
/// sounds, in seconds; with `overlap` a sound starts that part of its predecessor before the predecessor's end instead.
pub(crate) fn joined(
    sounds: &[Vec<f32>],
    gaps: [f64; 2],
    overlap: Option<f64>,
    rng: &mut Rng,
) -> (Vec<f32>, Vec<[usize; 2]>) {
    let silence = |rng: &mut Rng, low: f64, high: f64| (RATE * rng.between(low, high)) as usize;
    let mut start = silence(rng, ENDS.0, ENDS.1);
    let (mut clip, mut spans): (Vec<f32>, Vec<[usize; 2]>) = (Vec::new(), Vec::new());
    for (number, sound) in sounds.iter().enumerate() {
        if number > 0 {
            let gap = silence(rng, gaps[0], gaps[1]);
            let [begin, end] = spans[number - 1];
            start = match overlap {
                Some(part) => end - ((end - begin) as f64 * part) as usize,
                None => end + gap,
            };
        }
        let end = start + sound.len();
        if clip.len() < end {
            clip.resize(end, 0.0);
        }
        clip[start..end].iter_mut().zip(sound).for_each(|(sample, value)| *sample += value);
        spans.push([start, end]);
    }
    clip.resize(clip.len() + silence(rng, ENDS.0, ENDS.1), 0.0);
    (clip, spans)
}

/// Spans as rows have them: in seconds, rounded to milliseconds.
pub(crate) fn seconds(spans: &[[usize; 2]]) -> Vec<[f64; 2]> {
    let round = |sample: usize| (sample as f64 / RATE * 1000.0).round() / 1000.0;
    spans.iter().map(|span| span.map(round)).collect()
}

/// A clip in a small room: four combs and two all-pass filters after Schroeder, beside the direct sound.
pub(crate) fn in_room(clip: &[f32], rng: &mut Rng) -> Vec<f32> {
    let decay = rng.between(0.2, 0.6);
    let share = rng.between(0.25, 0.5) as f32;
    let mut tail = vec![0.0_f32; clip.len()];
    for delay in [0.0297, 0.0371, 0.0411, 0.0437] {
        let delay = delay * rng.between(0.8, 1.2);
        // After `decay` seconds an echo is 60 dB below its sound.
        let feedback = 10f64.powf(-3.0 * delay / decay) as f32;
        let length = (delay * RATE) as usize;
        let mut comb = vec![0.0_f32; clip.len()];
        for at in length..clip.len() {
            comb[at] = clip[at - length] + feedback * comb[at - length];
            tail[at] += comb[at] / 4.0;
        }
    }
    for delay in [0.005, 0.0017] {
        let length = (delay * RATE) as usize;
        let dry = tail.clone();
        for at in length..tail.len() {
            tail[at] = -0.7 * dry[at] + dry[at - length] + 0.7 * tail[at - length];
        }
    }
    clip.iter().zip(tail).map(|(direct, echo)| direct + share * echo).collect()
}

/// Adds white noise that is `snr` dB below the clip.
pub(crate) fn add_noise(clip: &mut [f32], snr: f64, rng: &mut Rng) {
    let deviation = rms(clip) * 10f64.powf(-snr / 20.0);
    clip.iter_mut().for_each(|sample| *sample += (deviation * rng.normal()) as f32);
}

/// A clip as a telephone lets it through: 300 to 3400 Hz, with 24 dB per octave.
pub(crate) fn by_telephone(clip: &[f32]) -> Vec<f32> {
    let mut samples = clip.to_vec();
    for _ in 0..2 {
        samples = filtered(&samples, TELEPHONE.0, true);
        samples = filtered(&samples, TELEPHONE.1, false);
    }
    samples
}

/// Limits a clip to full scale.
pub(crate) fn limited(mut clip: Vec<f32>) -> Vec<f32> {
    let loudest = clip.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
    if loudest > 0.99 {
        clip.iter_mut().for_each(|sample| *sample *= 0.99 / loudest);
    }
    clip
}

/// A second-order Butterworth filter, as the Audio EQ Cookbook has it.
fn filtered(samples: &[f32], cutoff: f64, high_pass: bool) -> Vec<f32> {
    let (sin, cos) = (TAU * cutoff / RATE).sin_cos();
    let alpha = sin / std::f64::consts::SQRT_2;
    let middle = if high_pass { -(1.0 + cos) } else { 1.0 - cos };
    let edge = if high_pass { (1.0 + cos) / 2.0 } else { (1.0 - cos) / 2.0 };
    let scale = 1.0 + alpha;
    let (a1, a2) = (-2.0 * cos / scale, (1.0 - alpha) / scale);
    let (b0, b1) = (edge / scale, middle / scale);
    let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
    let step = |&sample: &f32| {
        let new = f64::from(sample);
        let out = b0 * new + b1 * x[0] + b0 * x[1] - a1 * y[0] - a2 * y[1];
        (x, y) = ([new, x[0]], [out, y[0]]);
        out as f32
    };
    samples.iter().map(step).collect()
}

fn rms(samples: &[f32]) -> f64 {
    let sum: f64 = samples.iter().map(|&sample| f64::from(sample) * f64::from(sample)).sum();
    (sum / samples.len().max(1) as f64).sqrt().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, seconds: f64) -> Vec<f32> {
        (0..(seconds * RATE) as usize).map(|at| (TAU * hertz * at as f64 / RATE).sin() as f32).collect()
    }

    #[test]
    fn a_sound_loses_its_silence_and_gets_the_common_loudness() {
        let silence = vec![0.0; 1600];
        let sound = normalized(&[silence.clone(), tone(440.0, 0.5), silence].concat(), 9.0);
        // 8000 samples and 160 of silence at either end; a tone's first and last samples are below the threshold.
        assert!((8300..=8320).contains(&sound.len()), "{}", sound.len());
        assert!((rms(&sound) - 0.08).abs() < 1e-6);
        let cut = normalized(&tone(440.0, 2.0), 0.5);
        assert_eq!((cut.len(), cut[7999]), (8000, 0.0));
        assert!(normalized(&[0.0; 100], 1.0).is_empty());
    }

    #[test]
    fn spans_say_where_the_sounds_are() {
        let sounds = [vec![0.5; 1600], vec![-0.5; 800]];
        let (clip, spans) = joined(&sounds, [0.1, 0.1], None, &mut Rng::new(1, "clip"));
        let [[a, b], [c, d]] = spans[..] else { panic!("{spans:?}") };
        assert_eq!((b - a, c - b, d - c), (1600, 1600, 800));
        assert!(clip[a..b].iter().all(|&sample| sample == 0.5) && clip[c..d].iter().all(|&s| s == -0.5));
        assert!(clip[..a].iter().chain(&clip[b..c]).chain(&clip[d..]).all(|&sample| sample == 0.0));
        assert!((1280..=2560).contains(&a) && (1280..=2560).contains(&(clip.len() - d)));
        let (clip, spans) = joined(&sounds, [0.1, 0.1], Some(0.25), &mut Rng::new(1, "clip"));
        // A quarter of 1600 samples before the end of the first; both sound there.
        assert_eq!(spans[1][0], spans[0][1] - 400);
        assert_eq!(clip[spans[1][0] + 10], 0.0);
        assert_eq!(seconds(&[[1600, 2000]]), [[0.1, 0.125]]);
    }

    #[test]
    fn noise_is_as_far_below_the_clip_as_asked() {
        let (clean, mut noisy) = (tone(440.0, 1.0), tone(440.0, 1.0));
        add_noise(&mut noisy, 20.0, &mut Rng::new(2, "noise"));
        let noise: Vec<f32> = noisy.iter().zip(&clean).map(|(noisy, clean)| noisy - clean).collect();
        // 20 dB is a tenth.
        assert!((rms(&clean) / rms(&noise) - 10.0).abs() < 0.3, "{}", rms(&clean) / rms(&noise));
    }

    #[test]
    fn a_telephone_passes_speech_and_stops_what_is_below_and_above() {
        let gain = |hertz| rms(&by_telephone(&tone(hertz, 1.0))) / rms(&tone(hertz, 1.0));
        // Two filters of 12 dB per octave in a row: 2 · 3 dB at the edge, 48 dB two octaves below it.
        assert!((gain(1000.0) - 1.0).abs() < 0.05, "{}", gain(1000.0));
        assert!((gain(300.0) - 0.5).abs() < 0.03, "{}", gain(300.0));
        assert!(gain(75.0) < 0.01 && gain(7000.0) < 0.02, "{} {}", gain(75.0), gain(7000.0));
    }

    #[test]
    fn a_room_has_an_echo_behind_the_sound() {
        let mut click = vec![0.0_f32; 8000];
        click[100] = 1.0;
        let heard = in_room(&click, &mut Rng::new(3, "room"));
        assert_eq!(heard[..100], click[..100]);
        assert!((heard[100] - 1.0).abs() < 1e-6);
        let energy = |from: usize, to: usize| heard[from..to].iter().map(|s| s * s).sum::<f32>();
        assert!(energy(101, 4000) > 100.0 * energy(7000, 8000) && energy(4000, 6000) > 0.0);
    }
}
