//! Compares log-mel features with those of Hugging Face's `WhisperFeatureExtractor`
//! (`tests/fixtures/mel`, transformers 5.17; `AUDIO-3`).

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::path::Path;

use audio::{FeatureConfig, FeatureExtractor, Hearing, LogMel};
use safetensors::SafeTensors;
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
const TOLERANCE: f32 = 1e-4;

fn extract(clip: &str, chunk_length_seconds: usize) -> LogMel {
    let path = Path::new(FIXTURES).join("audio").join(clip).with_extension("wav");
    let samples = audio::load(&path, &Hearing::default()).unwrap().samples;
    FeatureExtractor::new(FeatureConfig { chunk_length_seconds, ..Default::default() })
        .unwrap()
        .extract(&samples)
}

/// The golden tensors of one clip, as the bytes of a safetensors file.
struct Golden(Vec<u8>);

impl Golden {
    fn open(model: &str, clip: &str) -> Self {
        Self(fs::read(format!("{FIXTURES}/mel/{model}_{clip}.safetensors")).unwrap())
    }

    fn names(&self) -> Vec<String> {
        SafeTensors::deserialize(&self.0).unwrap().names().into_iter().map(str::to_owned).collect()
    }

    fn floats(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let view = tensors.tensor(name).unwrap();
        let values =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        (view.shape().to_vec(), values)
    }

    fn valid_frames(&self) -> usize {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        u64::from_le_bytes(tensors.tensor("n_valid_frames").unwrap().data().try_into().unwrap()) as usize
    }
}

/// Compares the frames from `first` on with a golden tensor. Returns the largest difference.
fn compare(features: &LogMel, first: usize, golden: &Golden, name: &str) -> f32 {
    let (shape, expected) = golden.floats(name);
    let mut largest = 0.0f32;
    for (mel, row) in expected.chunks_exact(shape[1]).enumerate() {
        let ours = &features.values[mel * features.frames + first..][..shape[1]];
        for (frame, (value, expected)) in ours.iter().zip(row).enumerate() {
            let difference = (value - expected).abs();
            assert!(difference < TOLERANCE, "{name}[{mel}, {frame}]: {value} is not {expected}");
            largest = largest.max(difference);
        }
    }
    largest
}

fn check(model: &str, clip: &str, chunk_length_seconds: usize) {
    let golden = Golden::open(model, clip);
    let features = extract(clip, chunk_length_seconds);
    assert_eq!(features.n_mels, 128);
    assert_eq!(features.frames, chunk_length_seconds * 100);
    assert_eq!(features.values.len(), features.n_mels * features.frames);
    assert_eq!(features.valid_frames, golden.valid_frames());

    let mut largest = 0.0f32;
    for name in golden.names() {
        let bounds = name.strip_prefix("features_").map(|range| range.split('_').next().unwrap());
        match bounds {
            Some("head") => largest = largest.max(compare(&features, 0, &golden, &name)),
            Some(first) => largest = largest.max(compare(&features, first.parse().unwrap(), &golden, &name)),
            None => {}
        }
    }
    println!("{model}/{clip}: largest difference {largest:.2e}");

    if golden.names().contains(&"tail_value".into()) {
        let (shape, _) = golden.floats("features_head");
        let tail = golden.floats("tail_value").1[0];
        for row in features.values.chunks_exact(features.frames) {
            assert!(row[shape[1]..].iter().all(|value| (value - tail).abs() < TOLERANCE));
        }
    }

    let info: Value =
        serde_json::from_str(&fs::read_to_string(format!("{FIXTURES}/mel/info.json")).unwrap()).unwrap();
    let info = &info[format!("{model}/{clip}")];
    let valid = features.values.chunks_exact(features.frames).flat_map(|row| &row[..features.valid_frames]);
    let sum: f64 = valid.map(|&value| f64::from(value)).sum();
    assert!(
        (sum - info["sum_valid"].as_f64().unwrap()).abs() < 0.5,
        "{model}/{clip}: the valid frames sum to {sum}"
    );
}

#[test]
fn qwen2_audio_features_equal_hugging_faces() {
    for clip in ["tone_0p5s", "odd_1p2345s", "chirp_3s", "mix_31s"] {
        check("qwen2_audio", clip, 30);
    }
}

#[test]
fn qwen2_5_omni_features_equal_hugging_faces() {
    for clip in ["tone_0p5s", "mix_31s"] {
        check("qwen2_5_omni", clip, 300);
    }
}

#[test]
fn only_a_clip_beyond_the_chunk_is_truncated() {
    assert!(extract("mix_31s", 30).truncated);
    assert!(!extract("mix_31s", 300).truncated);
    // Exactly 3 s in a chunk of 3 s.
    assert!(!extract("chirp_3s", 3).truncated);
}
