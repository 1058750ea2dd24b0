use std::f64::consts::TAU;

use super::*;

fn sine(hertz: f64, rate: u32, length: usize) -> Vec<f32> {
    (0..length).map(|i| (0.5 * (TAU * hertz * i as f64 / f64::from(rate)).sin()) as f32).collect()
}

/// Root mean square of the values, without 0.1 s at both ends, where the abrupt start and end of a clip ring.
fn inner_rms(values: impl ExactSizeIterator<Item = f32>) -> f64 {
    let inner = values.len() - 3200;
    (values.skip(1600).take(inner).map(|x| f64::from(x).powi(2)).sum::<f64>() / inner as f64).sqrt()
}

#[test]
fn sines_keep_their_phase_and_level() {
    for rate in [8000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 44_056, 12_345] {
        // Up to 95 % of the lower Nyquist frequency.
        let highest = f64::from(rate.min(16_000)) * 0.475;
        for hertz in [50.0, 1000.0, highest] {
            let output = resample(&sine(hertz, rate, rate as usize), rate).unwrap();
            let expected = sine(hertz, SAMPLE_RATE, 16_000);
            assert_eq!(output.len(), 16_000);
            let error = inner_rms(output.iter().zip(&expected).map(|(a, b)| a - b));
            // 90 dB below the sine's own root mean square, 0.354.
            assert!(error < 1.1e-5, "{hertz} Hz at {rate} Hz: error {error:.2e}");
        }
    }
}

#[test]
fn frequencies_above_8_khz_are_removed() {
    for (rate, hertz) in [(44_100, 8100.0), (44_100, 15_000.0), (48_000, 12_000.0), (96_000, 40_000.0)] {
        let output = resample(&sine(hertz, rate, rate as usize), rate).unwrap();
        let alias = inner_rms(output.into_iter());
        assert!(alias < 1.1e-5, "{hertz} Hz at {rate} Hz leaves {alias:.2e}");
    }
}

#[test]
fn length_is_rounded_to_the_nearest_sample() {
    for (length, rate, expected) in [
        (44_100, 44_100, 16_000),
        // 100 · 160/441 = 36.28, 103 · 160/441 = 37.37, 1 · 0.36 = 0.36, 2 · 0.36 = 0.73
        (100, 44_100, 36),
        (103, 44_100, 37),
        (1, 44_100, 0),
        (2, 44_100, 1),
        (7, 8000, 14),
        (0, 44_100, 0),
    ] {
        assert_eq!(resample(&vec![0.25; length], rate).unwrap().len(), expected, "{length} at {rate} Hz");
    }
}

#[test]
fn a_clip_at_16_khz_is_unchanged() {
    // AUDIO-1.
    let samples = vec![0.1, -2.0, f32::MIN_POSITIVE];
    assert_eq!(resample(&samples, 16_000).unwrap(), samples);
}

#[test]
fn impossible_rates_are_refused() {
    assert!(resample(&[0.0; 10], 0).is_none());
    assert!(resample(&[0.0; 10], u32::MAX).is_none());
}
