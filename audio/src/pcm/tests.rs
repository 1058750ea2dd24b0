use std::path::Path;

use super::super::kind::Kind;
use super::super::packets::Packets;
use super::*;

/// What is heard of a file, whole: the planes of its channels.
pub(super) fn decode(decoder: &mut dyn Decoder) -> Vec<Vec<f32>> {
    let (mut block, mut planes) = (Block::default(), Vec::new());
    while decoder.next(&mut block).unwrap() {
        planes.resize_with(block.channels.len(), Vec::new);
        for (whole, part) in planes.iter_mut().zip(&block.channels) {
            whole.extend_from_slice(part);
        }
    }
    planes
}

/// The kinds of a decoder's warnings.
pub(super) fn kinds(decoder: &mut dyn Decoder) -> Vec<&'static str> {
    decoder.warnings().iter().map(|warning| warning.kind).collect()
}

fn fixture(name: &str) -> Input {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/audio/formats");
    Input::open(&folder.join(name)).unwrap()
}

fn layout(channels: usize, stated: Stated) -> PcmLayout {
    PcmLayout {
        container: "WAV",
        offset: 4,
        stated,
        format: SampleFormat { coding: Coding::Signed, bytes: 2, big_endian: false },
        valid_bits: 16,
        channels,
        rate: 1_000,
        warnings: Vec::new(),
    }
}

/// 4 bytes of a header, and samples of 16 bits that count from 0.
fn counting(samples: u16) -> Input {
    let mut bytes = vec![0; 4];
    bytes.extend((0..samples).flat_map(u16::to_le_bytes));
    Input::of_bytes(bytes)
}

#[test]
fn samples_equal_those_of_symphonia_bit_for_bit() {
    let names =
        ["pcm_u8", "pcm_s16", "pcm_s24_8k", "pcm_s32_8k", "pcm_f32_8k", "stereo_11k", "alaw", "mulaw"];
    for name in names.iter().chain(&["adpcm_ima", "adpcm_ms"]) {
        let input = fixture(&format!("{name}.wav"));
        let mut ours = riff::open(input.clone()).unwrap();
        let mut theirs = Packets::open(Kind::Wave, input).unwrap();
        let (ours, theirs) = (decode(ours.as_mut()), decode(&mut theirs));
        assert!(!theirs[0].is_empty() && ours == theirs, "{name}");
    }
    let mut ours = aiff::open(fixture("pcm_s16.aiff")).unwrap();
    let mut theirs = Packets::open(Kind::Aiff, fixture("pcm_s16.aiff")).unwrap();
    assert_eq!(decode(ours.as_mut()), decode(&mut theirs));
}

#[test]
fn blocks_join_without_gaps_and_a_seek_goes_to_the_frame() {
    let mut pcm = Pcm::open(counting(60_000), layout(2, Stated::ToEnd)).unwrap();
    assert_eq!(pcm.info().frames, Some(30_000));
    let planes = decode(&mut pcm);
    let right = (0..30_000).map(|frame| f32::from((2 * frame + 1) as u16 as i16) / 32_768.0);
    assert!(planes[1].iter().copied().eq(right));
    assert_eq!(pcm.seek(29_999).unwrap(), 29_999);
    assert_eq!(decode(&mut pcm)[0], [f32::from(59_998u16 as i16) / 32_768.0]);
    assert_eq!(pcm.seek(u64::MAX).unwrap(), 30_000);
    assert!(!pcm.next(&mut Block::default()).unwrap());
}

#[test]
fn a_promise_of_a_little_more_is_a_warning_and_of_much_more_an_error() {
    // At 1 kHz 0.1 s are 100 frames; 1 % of 20,000 are 200.
    let open = |promised: u64| Pcm::open(counting(20_000), layout(1, Stated::Bytes(2 * promised)));
    let mut exact = open(20_000).unwrap();
    assert!(kinds(&mut exact).is_empty());
    for promised in [20_001, 20_100, 20_200] {
        let mut pcm = open(promised).unwrap();
        assert_eq!((kinds(&mut pcm), pcm.info().frames), (vec!["length"], Some(20_000)), "{promised}");
    }
    for promised in [20_300, 1 << 60] {
        let problem = open(promised).err().unwrap();
        assert!(
            matches!(problem, Problem::Truncated { promised: p, found: 20_000 } if p == promised),
            "{problem}"
        );
    }
    // 60 frames of a short clip are 40 % and less than 0.1 s.
    let mut short = Pcm::open(counting(90), layout(1, Stated::Bytes(300))).unwrap();
    assert_eq!(kinds(&mut short), ["length"]);
}

#[test]
fn a_part_of_a_frame_is_dropped_with_one_warning() {
    for stated in [Stated::ToEnd, Stated::Bytes(6), Stated::Bytes(7)] {
        let mut pcm = Pcm::open(counting(3), layout(2, stated)).unwrap();
        assert_eq!((kinds(&mut pcm), pcm.info().frames), (vec!["length"], Some(1)), "{stated:?}");
    }
}

#[test]
fn headers_without_channels_rate_or_samples_are_refused() {
    let refused = |layout: PcmLayout| Pcm::open(counting(10), layout).err().unwrap().to_string();
    assert!(refused(layout(0, Stated::ToEnd)).contains("0 channels"));
    assert!(refused(PcmLayout { rate: 0, ..layout(1, Stated::ToEnd) }).contains("a rate of 0 Hz"));
    assert!(refused(PcmLayout { rate: u32::MAX, ..layout(1, Stated::ToEnd) }).contains("4294967295 Hz"));
    assert!(refused(layout(1, Stated::Bytes(0))).contains("no samples"));
    assert!(refused(PcmLayout { offset: 1 << 40, ..layout(1, Stated::ToEnd) }).contains("no samples"));
    // One frame of 2³² channels is more than there is.
    assert!(refused(layout(u32::MAX as usize, Stated::ToEnd)).contains("no samples"));
}
