//! The time from a file's bytes to features, stage by stage: `cargo bench -p audio`.
//!
//! One item is a second of audio, so `item/s` is a multiple of real time. The clip is 30 s of 44.1 kHz
//! stereo (pink noise, and a chirp over the whole band, neither of which compresses well), made with
//! ffmpeg, which must be installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use audio::{FeatureConfig, FeatureExtractor, Hearing, load_bytes, resample};
use divan::Bencher;
use divan::counter::ItemsCount;

const SECONDS: usize = 30;

static CLIPS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sources = [
        format!("anoisesrc=d={SECONDS}:c=pink:r=44100:a=0.3:seed=1"),
        format!("aevalsrc='0.3*sin(2*PI*(100*t+250*t*t))':d={SECONDS}:s=44100"),
    ];
    for name in [
        "clip.wav",
        "clip24.wav",
        "clip32f.wav",
        "speech.wav",
        "clip.flac",
        "clip.mp3",
        "clip.ogg",
        "clip.m4a",
    ] {
        let made = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-f", "lavfi", "-i", &sources[0], "-f", "lavfi", "-i", &sources[1]])
            .args(["-filter_complex", "amerge=inputs=2", "-c:a"])
            .arg(match name {
                "clip.wav" | "speech.wav" => "pcm_s16le",
                "clip24.wav" => "pcm_s24le",
                "clip32f.wav" => "pcm_f32le",
                "clip.flac" => "flac",
                "clip.mp3" => "libmp3lame",
                "clip.ogg" => "libvorbis",
                _ => "aac",
            })
            .args(["-b:a", "128k"])
            .args(if name == "speech.wav" { &["-ac", "1", "-ar", "16000"][..] } else { &[] })
            .arg(dir.path().join(name))
            .status();
        assert!(made.is_ok_and(|status| status.success()), "ffmpeg must be installed to make {name}");
    }
    dir
});

fn clip(name: &str) -> PathBuf {
    CLIPS.path().join(name)
}

/// White noise of the clip's length, at `rate` Hz.
fn noise(rate: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    std::iter::repeat_with(next).take(rate * SECONDS).collect()
}

fn main() {
    divan::main();
}

/// Reading a file from disk, decoding it and resampling it to 16 kHz.
///
/// `clip.wav` has 16 bits, `clip24.wav` 24, `clip32f.wav` floats; `speech.wav` has 16 bits, mono, @ 16 kHz.
#[divan::bench(args = [
    "clip.wav", "clip24.wav", "clip32f.wav", "speech.wav", "clip.flac", "clip.mp3", "clip.ogg", "clip.m4a",
])]
fn load(bencher: Bencher, name: &str) {
    let path = clip(name);
    bencher
        .counter(ItemsCount::new(SECONDS))
        .bench(|| audio::load(&path, &Hearing::default()).expect("a valid clip"));
}

#[divan::bench(args = [22_050, 44_100, 48_000])]
fn resampling(bencher: Bencher, rate: usize) {
    let samples = noise(rate);
    bencher
        .counter(ItemsCount::new(SECONDS))
        .bench(|| resample(&samples, rate as u32).expect("a supported rate"));
}

#[divan::bench(args = [30, 300])]
fn log_mel(bencher: Bencher, chunk_length_seconds: usize) {
    let samples = noise(16_000);
    let extractor = FeatureExtractor::new(FeatureConfig { chunk_length_seconds, ..Default::default() });
    let extractor = extractor.expect("a valid configuration");
    bencher.counter(ItemsCount::new(SECONDS)).bench(|| extractor.extract(&samples));
}

/// The audio work of one rollout: from the bytes of an MP3 to features.
#[divan::bench]
fn mp3_to_features(bencher: Bencher) {
    let path = clip("clip.mp3");
    let bytes = std::fs::read(&path).expect("a readable clip");
    let extractor = FeatureExtractor::new(FeatureConfig::default()).expect("the default configuration");
    bencher.counter(ItemsCount::new(SECONDS)).with_inputs(|| bytes.clone()).bench_values(|bytes| {
        let samples =
            load_bytes(Path::new("clip.mp3"), bytes, &Hearing::default()).expect("a valid clip").samples;
        extractor.extract(&samples)
    });
}
