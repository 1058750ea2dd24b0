use super::*;

fn extractor(chunk_length_seconds: usize) -> FeatureExtractor {
    FeatureExtractor::new(FeatureConfig { chunk_length_seconds, ..Default::default() }).unwrap()
}

fn noise(length: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..length).map(|_| next()).collect()
}

/// The spectrogram by its definition: frame by frame in f64, with a plain Fourier sum.
fn by_definition(samples: &[f32], chunk: usize) -> Vec<f64> {
    use std::f64::consts::TAU;
    let filters = MelFilters::new(128, 400, 16_000);
    let frames = chunk / 160;
    let mut log = vec![0.0f64; 128 * frames];
    for frame in 0..frames {
        let windowed: Vec<f64> = (0..400)
            .map(|i| {
                let position = (frame * 160 + i) as isize - 200;
                let mirrored = position.unsigned_abs();
                let mirrored = if mirrored < chunk { mirrored } else { 2 * chunk - 2 - mirrored };
                let sample = samples.get(mirrored).map_or(0.0, |&x| f64::from(x));
                sample * (0.5 - 0.5 * (TAU * i as f64 / 400.0).cos())
            })
            .collect();
        let power: Vec<[f32; 1]> = (0..201)
            .map(|bin| {
                let (mut re, mut im) = (0.0, 0.0);
                for (i, x) in windowed.iter().enumerate() {
                    let angle = TAU * ((bin * i) % 400) as f64 / 400.0;
                    re += x * angle.cos();
                    im -= x * angle.sin();
                }
                [(re * re + im * im) as f32]
            })
            .collect();
        let mut mel = vec![[0.0f32]; 128];
        filters.apply(&power, &mut mel);
        for (band, [energy]) in mel.into_iter().enumerate() {
            log[band * frames + frame] = f64::from(energy).max(1e-10).log10();
        }
    }
    let floor = log.iter().copied().fold(f64::NEG_INFINITY, f64::max) - 8.0;
    log.into_iter().map(|value| (value.max(floor) + 4.0) / 4.0).collect()
}

#[test]
fn equals_the_definition_at_both_ends_of_the_chunk() {
    // MEL-2 and MEL-3. Lengths: none, one sample, the edge of a frame, one short of the chunk, the chunk, and more.
    for length in [0, 1, 200, 361, 8000, 15_800, 15_999, 16_000, 16_100] {
        let samples = noise(length);
        let features = extractor(1).extract(&samples);
        let expected = by_definition(&samples[..length.min(16_000)], 16_000);
        assert_eq!(features.values.len(), expected.len());
        for (i, (value, expected)) in features.values.iter().zip(&expected).enumerate() {
            let place = (i / 100, i % 100);
            assert!(
                (f64::from(*value) - expected).abs() < 2e-5,
                "{length}: {place:?} {value} is not {expected}"
            );
        }
    }
}

#[test]
fn silence_is_one_value_everywhere() {
    // MEL-1: 5000 / 160 = 31.25. log10(1e-10) = -10 is also the largest value; (-10 + 4) / 4 = -1.5.
    let features = extractor(3).extract(&[0.0; 5000]);
    assert_eq!((features.frames, features.valid_frames), (300, 32));
    assert!(features.values.iter().all(|&value| (value + 1.5).abs() < 1e-6));
}

#[test]
fn without_padding_the_valid_frames_are_the_same() {
    let samples = noise(12_345);
    let padded = extractor(3).extract(&samples);
    let valid = extractor(3).extract_valid(&samples);
    // 12345 / 160 = 77.2
    assert_eq!((valid.frames, valid.valid_frames, padded.valid_frames), (78, 78, 78));
    for (padded, valid) in padded.values.chunks_exact(300).zip(valid.values.chunks_exact(78)) {
        assert_eq!(&padded[..78], valid);
    }
}

#[test]
fn an_earlier_louder_clip_leaves_no_trace() {
    let quiet: Vec<f32> = noise(3000).iter().map(|x| x * 1e-3).collect();
    let extractor = extractor(1);
    let before = extractor.extract(&quiet);
    extractor.extract(&noise(16_000));
    assert_eq!(extractor.extract(&quiet), before);
}

#[test]
fn threads_share_an_extractor() {
    let extractor = extractor(1);
    let expected = extractor.extract(&noise(9000));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(extractor.extract(&noise(9000)), expected));
        }
    });
}

#[test]
fn a_clip_of_zeros_is_silent_and_one_with_any_sound_is_not() {
    let extractor = extractor(2);
    for length in [400, 16_000, 32_000] {
        assert!(extractor.extract(&vec![0.0; length]).is_silent());
        assert!(extractor.extract_valid(&vec![0.0; length]).is_silent());
        let mut click = vec![0.0; length];
        click[length / 2] = 0.01;
        assert!(!extractor.extract(&click).is_silent());
        assert!(!extractor.extract_valid(&noise(length)).is_silent());
    }
}
