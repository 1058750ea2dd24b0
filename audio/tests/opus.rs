//! Opus in its containers: lengths to the sample, channels, and what happens to corrupt packets.

use std::fs;
use std::path::{Path, PathBuf};

use audio::{Clip, Downmix, Hearing};

const FORMATS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/audio/formats");

/// Length of a clip in samples: 0.3 s at 16 kHz.
const LENGTH: usize = 4800;

fn fixture(name: &str) -> PathBuf {
    Path::new(FORMATS).join(name)
}

fn hear(name: &str, hearing: &Hearing) -> Clip {
    audio::load(&fixture(name), hearing).unwrap_or_else(|error| panic!("{error}"))
}

fn first() -> Hearing {
    Hearing { downmix: Downmix::First, ..Hearing::default() }
}

/// Signal-to-noise ratio of `a` in dB, compared with `b`.
fn likeness(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let power = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let noise = power(&mut a.iter().zip(b).map(|(a, b)| a - b));
    10.0 * (power(&mut b.iter().copied()) / noise.max(1e-30)).log10()
}

#[test]
fn pre_skip_and_padding_are_cut_to_the_sample() {
    // The clips have 14 400 samples @ 48 kHz; their packets hold 16 or 17 of 960, or 6 of 2880.
    for name in ["opus.ogg", "opus.webm", "opus_51.opus", "opus_60ms.opus"] {
        let clip = hear(name, &first());
        assert_eq!(clip.samples.len(), LENGTH, "{name}");
        assert_eq!(clip.info.rate, 48_000);
        assert_eq!(clip.info.frames, Some(14_400), "{name}");
        assert!(clip.warnings.is_empty(), "{name}: {:?}", clip.warnings);
    }
}

#[test]
fn surround_is_in_the_order_of_wav_files() {
    // Of left, right and centre, each has half the level of the one before it; Opus has the centre second.
    let of = |downmix| hear("opus_51.opus", &Hearing { downmix, ..Hearing::default() }).samples;
    let half: Vec<f32> = of(Downmix::First).iter().map(|sample| sample * 0.5).collect();
    assert!(likeness(&of(Downmix::Right), &half) > 15.0);
    // (1 + 1/2 + 1/4 + 1/8 + 1/16 + 1/32) / 6 is the mean with the LFE channel, which has only the lowest sounds;
    // (1 + 1/2 + 1/4 + 1/16 + 1/32) / 6 = 0.3073 without it.
    let mean: Vec<f32> = of(Downmix::First).iter().map(|sample| sample * 0.3073).collect();
    assert!(likeness(&of(Downmix::Mean), &mean) > 12.0);
}

#[test]
fn chained_recordings_each_drop_their_pre_skip() {
    let clip = hear("opus_chained.opus", &first());
    assert_eq!(clip.samples.len(), 2 * LENGTH);
    assert_eq!(clip.info.frames, Some(28_800));
    let second = hear("opus_chained.opus", &Hearing { start: 0.3, ..first() });
    assert_eq!(second.samples.len(), LENGTH);
    assert!(likeness(&second.samples, &hear("opus.ogg", &first()).samples) > 40.0);
}

#[test]
fn a_window_is_the_same_part_of_the_whole() {
    for name in ["opus.ogg", "opus.webm", "opus_60ms.opus"] {
        let whole = hear(name, &first()).samples;
        let window = hear(name, &Hearing { start: 0.2, ..first() }).samples;
        // The first and last samples differ by what the resampler sees before the window.
        assert!(likeness(&window[50..], &whole[3250..]) > 40.0, "{name}");
    }
}

/// The payloads of the simple blocks of track 1 in a WebM file with short blocks.
fn packets(bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    for at in 0..bytes.len() - 8 {
        // The ID; a length of two bytes; track 1; the time; that it is a key frame.
        if bytes[at] == 0xa3 && bytes[at + 1] & 0xc0 == 0x40 && bytes[at + 3] == 0x81 && bytes[at + 6] == 0x80
        {
            found.push(at + 7);
        }
    }
    found
}

#[test]
fn a_corrupt_packet_costs_its_own_time_only() {
    let whole = hear("opus.webm", &first()).samples;
    let mut bytes = fs::read(fixture("opus.webm")).unwrap();
    let packets = packets(&bytes);
    assert!(packets.len() >= 14, "{}", packets.len());
    // Code 3 with one frame, and more padding than there is in the packet.
    let packet = packets[7];
    bytes[packet] |= 3;
    bytes[packet + 1] = 0x41;
    bytes[packet + 2..packet + 6].fill(255);
    let clip = audio::load_bytes(Path::new("clip.webm"), bytes, &first()).unwrap().samples;
    assert_eq!(clip.len(), whole.len());
    // It begins after 7 · 320 samples @ 16 kHz without 104 of pre-skip, and after what the resampler mixes.
    let differs = clip.iter().zip(&whole).position(|(a, b)| (a - b).abs() > 1e-3).unwrap();
    assert!((2080..=2186).contains(&differs), "{differs}");
    let silent = clip[2236..2356].iter().fold(0f32, |most, sample| most.max(sample.abs()));
    assert!(silent < 1e-3, "{silent}");
    assert!(likeness(&clip[3400..4700], &whole[3400..4700]) > 10.0);
}

#[test]
fn a_container_that_is_damaged_for_good_ends_there() {
    // The length must be measured. A block near the end is longer than its cluster, which symphonia reports for ever.
    let mut bytes = fs::read(fixture("opus.webm")).unwrap();
    let block = packets(&bytes).into_iter().rev().nth(1).unwrap() - 7;
    assert_eq!(bytes[block + 1], 0x40);
    bytes[block + 1] = 0x41;
    let hearing = Hearing { position: 0.5, samples: Some(1000), ..first() };
    let outcome = audio::load_bytes(Path::new("clip.webm"), bytes, &hearing);
    assert_eq!(outcome.unwrap().samples.len(), 1000);
}

#[test]
fn impossible_headers_are_refused_by_name() {
    let original = fs::read(fixture("opus.webm")).unwrap();
    let head = original.windows(8).position(|window| window == b"OpusHead").unwrap();
    for (field, value) in [(8, 99), (9, 0), (9, 3), (18, 1)] {
        let mut bytes = original.clone();
        bytes[head + field] = value;
        let error = audio::load_bytes(Path::new("clip.webm"), bytes, &first()).unwrap_err().to_string();
        assert!(error.contains("corrupt audio: ") && error.contains("opus: its header"), "{field}: {error}");
    }
}
