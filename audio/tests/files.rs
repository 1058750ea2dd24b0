//! Compares clips in every format, made by ffmpeg (`tests/fixtures/audio/make.sh`), with the formula that they were made
//! from. Broken files of every kind must give one clear line of error each (`AUDIO-2`).

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::f64::consts::PI;
use std::fs;
use std::path::{Path, PathBuf};

use audio::{AudioError, Downmix, Hearing, Problem};

const FORMATS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/audio/formats");

/// Length of the clips in samples: 0.3 s at 16 kHz.
const LENGTH: usize = 4800;

fn format(name: &str) -> PathBuf {
    Path::new(FORMATS).join(name)
}

fn load_audio(path: &Path, downmix: Downmix) -> Result<Vec<f32>, AudioError> {
    audio::load(path, &Hearing { downmix, ..Hearing::default() }).map(|clip| clip.samples)
}

fn decode_bytes(path: &Path, bytes: Vec<u8>, downmix: Downmix) -> Result<Vec<f32>, AudioError> {
    audio::load_bytes(path, bytes, &Hearing { downmix, ..Hearing::default() }).map(|clip| clip.samples)
}

/// The chirp of `make.sh`, sampled at 16 kHz.
fn chirp() -> Vec<f32> {
    (0..LENGTH)
        .map(|i| i as f64 / 16_000.0)
        .map(|t| (0.5 * (PI * t / 0.3).sin() * (2.0 * PI * (200.0 * t + 2800.0 * t * t / 0.6)).sin()) as f32)
        .collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The signal-to-noise ratio of a clip in dB, where `clip[i + lag]` corresponds to sample `i` of the chirp.
fn signal_to_noise(clip: &[f32], lag: usize) -> f64 {
    let chirp = chirp();
    let power = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let noise = power(&mut chirp.iter().enumerate().map(|(i, x)| clip.get(i + lag).unwrap_or(&0.0) - x));
    10.0 * (power(&mut chirp.iter().copied()) / noise).log10()
}

#[test]
fn lossless_files_give_the_samples_within_their_resolution() {
    // Rounding to b bits has an error of at most 2^-b at full scale (±1). Resampled clips ring a little at both ends,
    // where the chirp has a kink: 2^-12.
    for (name, resolution) in [
        ("pcm_s16.wav", 15),
        ("pcm_u8.wav", 7),
        ("piped.wav", 15),
        ("pcm_s16.aiff", 15),
        ("alac.m4a", 15),
        ("stereo_16k.wv", 15),
        ("surround_8k.wv", 12),
        ("f32_8k.wv", 12),
        ("pcm_s24_8k.wav", 12),
        ("pcm_s32_8k.wav", 12),
        ("pcm_f32_8k.wav", 12),
        ("s24_8k.flac", 12),
        ("stereo_11k.wav", 12),
        ("stereo_22k.flac", 12),
    ] {
        let clip = load_audio(&format(name), Downmix::First).unwrap();
        // 0.3 s at 11025 Hz is not a whole number of samples.
        assert!(clip.len().abs_diff(LENGTH) <= 1, "{name}: {}", clip.len());
        let difference = largest_difference(&clip, &chirp());
        assert!(difference < 0.5f32.powi(resolution), "{name} differs by {difference}");
    }
}

#[test]
fn sixteen_bit_samples_are_divided_by_32768_exactly() {
    let path = format("pcm_s16.wav");
    let bytes = fs::read(&path).unwrap();
    let data = bytes.windows(4).position(|window| window == b"data").unwrap() + 8;
    let expected: Vec<f32> = bytes[data..]
        .chunks_exact(2)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
        .collect();
    assert_eq!(load_audio(&path, Downmix::Mean).unwrap(), expected);
}

#[test]
fn lossy_files_keep_their_length_and_have_no_delay() {
    // A delay of one sample alone would reduce the ratio to 2.4 dB at 3 kHz, and to 14 dB on average.
    for (name, decibels) in [
        ("adpcm_ima.wav", 20.0),
        ("adpcm_ms.wav", 20.0),
        ("alaw.wav", 30.0),
        ("mulaw.wav", 30.0),
        ("stereo_44k.mp3", 20.0),
        ("mono_22k.mp3", 20.0),
        ("tagged_vbr_48k.mp3", 20.0),
        ("stereo_44k.ogg", 15.0),
        ("mono_16k.ogg", 15.0),
        ("stereo_44k.m4a", 15.0),
        ("video_44k.mp4", 15.0),
        ("opus.ogg", 5.0),
        ("opus.webm", 20.0),
        ("opus_51.opus", 20.0),
        ("opus_60ms.opus", 20.0),
        ("gsm_8k.wav", 3.0),
    ] {
        let clip = load_audio(&format(name), Downmix::First).unwrap();
        let quality = signal_to_noise(&clip, 0);
        assert!(quality > decibels, "{name}: {quality:.1} dB");
        // ADPCM consists of whole blocks. The others state their length to the sample, MP4 to the millisecond.
        assert!(
            clip.len().abs_diff(LENGTH) <= if name.starts_with("adpcm") { 2048 } else { 16 },
            "{name}: {}",
            clip.len()
        );
    }
}

#[test]
fn files_that_do_not_state_their_delay_keep_it() {
    // The encoder of AAC puts 1024 samples before the sound: 1024 · 160/441 = 371.5. LAME has a delay of 576 samples
    // and every decoder one of 529: 1105 · 160/441 = 400.9.
    for (name, delay) in [("stereo_44k.aac", 372), ("untagged_44k.mp3", 401)] {
        let clip = load_audio(&format(name), Downmix::First).unwrap();
        let best = (0..800).max_by(|&a, &b| signal_to_noise(&clip, a).total_cmp(&signal_to_noise(&clip, b)));
        assert_eq!(best, Some(delay), "{name}");
        assert!(clip.len() > LENGTH + delay, "{name}: {}", clip.len());
    }
}

#[test]
fn downmix_takes_the_mean_or_the_first_channel() {
    // The right channel is half of the left: their mean is three quarters.
    for name in ["stereo_22k.flac", "stereo_11k.wav", "stereo_44k.mp3"] {
        let first = load_audio(&format(name), Downmix::First).unwrap();
        let mean = load_audio(&format(name), Downmix::Mean).unwrap();
        let expected: Vec<f32> = first.iter().map(|x| 0.75 * x).collect();
        let difference = largest_difference(&mean, &expected);
        assert!(
            difference < if name.contains("44k") { 0.02 } else { 1e-4 },
            "{name} differs by {difference}"
        );
    }
}

#[test]
fn chained_ogg_recordings_are_concatenated() {
    let clip = load_audio(&format("chained_44k.ogg"), Downmix::First).unwrap();
    assert_eq!(clip.len(), 2 * LENGTH);
    assert!(signal_to_noise(&clip, 0) > 15.0);
    assert!(signal_to_noise(&clip, LENGTH) > 15.0);
}

/// The error message for a file of these bytes, which must be a single line.
fn complaint(bytes: &[u8]) -> String {
    let error = decode_bytes(Path::new("clip.x"), bytes.to_vec(), Downmix::Mean).unwrap_err();
    let line = error.to_string();
    assert!(line.starts_with("clip.x: ") && !line.contains('\n'), "{line}");
    line
}

#[test]
fn broken_files_get_one_clear_line() {
    let wav = fs::read(format("pcm_s16.wav")).unwrap();
    let flac = fs::read(format("stereo_22k.flac")).unwrap();
    let aiff = fs::read(format("pcm_s16.aiff")).unwrap();
    let mp3 = fs::read(format("stereo_44k.mp3")).unwrap();
    let m4a = fs::read(format("stereo_44k.m4a")).unwrap();
    let wavpack = fs::read(format("stereo_16k.wv")).unwrap();
    let mut none = wav[..wav.len() - 9600].to_vec();
    let end = none.len();
    none[end - 4..].fill(0);

    for (bytes, expected) in [
        (&b""[..], "the audio file is empty (0 bytes)"),
        (&wavpack[..wavpack.len() / 2], "truncated: header promises 4800 samples, 2000 found"),
        (b"a text", "not audio but text; fetch the clip again"),
        (b"\xc3(\0\x01\x02 neither", "not a known audio format"),
        (&[0; 5000], "not audio but a file of zero bytes only; fetch the clip again"),
        (&wav[..wav.len() - 4800], "truncated: header promises 4800 samples, 2400 found"),
        (&flac[..flac.len() / 2], "truncated: header promises 6615 samples, "),
        (&aiff[..aiff.len() / 2], "truncated: header promises 4800 samples, 2386 found"),
        (&mp3[..300], "not a known audio format"),
        (&wav[..20], "corrupt audio: its fmt chunk has 0 bytes; 16 are the least"),
        (&m4a[..m4a.len() / 2], "corrupt audio: it is truncated: its mdat box promises "),
        (&none, "the audio has no samples"),
    ] {
        let line = complaint(bytes);
        assert!(line.contains(expected), "{line:?} does not contain {expected:?}");
    }
}

#[test]
fn missing_files_and_directories_are_named() {
    let missing = load_audio(&format("no.wav"), Downmix::Mean).unwrap_err();
    assert!(matches!(missing.problem, Problem::Missing));
    assert!(missing.to_string().ends_with("no.wav: no such audio file; correct the path or fetch the clip"));
    let directory = load_audio(Path::new(FORMATS), Downmix::Mean).unwrap_err();
    assert!(matches!(directory.problem, Problem::Unreadable(_)), "{directory}");
}

#[test]
fn a_few_corrupt_packets_are_skipped() {
    let clean = load_audio(&format("stereo_44k.mp3"), Downmix::First).unwrap();
    let mut bytes = fs::read(format("stereo_44k.mp3")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0x55);
    let clip = decode_bytes(Path::new("clip.mp3"), bytes, Downmix::First).unwrap();
    // Four packets of 1152 samples are lost: the corrupt one, and those that share its bits or precede the next header.
    assert!(clip.len() * 2 > clean.len(), "{} of {} samples left", clip.len(), clean.len());
}

/// A xorshift generator, so that the mutations are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn mutated_bytes_never_panic() {
    let mut random = Random(0x5eed);
    let mut refused = 0;
    let mut total = 0;
    let mut names: Vec<PathBuf> = fs::read_dir(FORMATS).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let original = fs::read(&path).unwrap();
        for round in 0..60 {
            let mut bytes = original.clone();
            // Half of the mutations change only the header, where the lengths and rates are.
            for _ in 0..=random.below(8) {
                let reach = if round % 2 == 0 { bytes.len() } else { bytes.len().min(200) };
                let position = random.below(reach);
                bytes[position] = [0, 0xff, 0x7f, random.below(256) as u8][random.below(4)];
            }
            match random.below(6) {
                0 => bytes.truncate(random.below(original.len())),
                1 => drop(bytes.drain(..random.below(original.len()))),
                _ => {}
            }
            total += 1;
            match decode_bytes(&path, bytes, Downmix::Mean) {
                Ok(samples) => assert!(!samples.is_empty() && samples.iter().all(|x| x.is_finite())),
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
    assert!(refused > total / 10 && refused < total);
}

/// A RIFF file of these chunks.
fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"WAVE".to_vec();
    for (name, content) in chunks {
        body.extend(*name);
        body.extend((content.len() as u32).to_le_bytes());
        body.extend(content);
    }
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// One block of Microsoft ADPCM whose step size grows threefold with every sample.
fn growing_step() -> Vec<u8> {
    let block = [&[0, 0xff, 0x7f, 0, 0, 0, 0][..], &[0x88; 57]].concat();
    let format = [
        2, 1, 16_000, 0, 16_000, 0, 64, 4, 32, 116, 7, 256, 0, 512, 65_280, 0, 0, 192, 64, 240, 0, 460,
        65_328,
    ];
    let format = [words(&format), words(&[392, 65_304])].concat();
    riff(&[(b"fmt ", format), (b"fact", words(&[116, 0])), (b"data", block)])
}

/// 18 channels whose mask has one bit, the highest.
fn channel_beyond_the_mask() -> Vec<u8> {
    let format = [0xfffe, 18, 8000, 0, 26_144, 4, 36, 16, 22, 16, 0, 0x8000, 1, 0, 0, 0x10];
    let format = [words(&format), vec![0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]].concat();
    riff(&[(b"fmt ", format), (b"data", vec![0; 360])])
}

#[test]
fn files_that_overflow_inside_symphonia_are_heard() {
    // AUDIO-2; docs/upstream/symphonia-overflows.md. WAV files are decoded without symphonia.
    let decode = |file| decode_bytes(Path::new("clip.wav"), file, Downmix::First).unwrap();
    // 116 samples, of which the step soon exceeds full scale.
    assert!(decode(growing_step()).iter().all(|sample| sample.abs() <= 1.0));
    // 10 silent frames of 36 bytes at 8 kHz.
    assert_eq!(decode(channel_beyond_the_mask()), [0.0; 20]);
}
