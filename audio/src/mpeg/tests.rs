use super::*;
use crate::decoder::{Block, Fault};

/// A silent frame of MPEG-1 layer 3, mono, 48 kHz: 144 · 64000 / 48000 = 192 bytes, 1152 samples. Side information of
/// zeros says that there are no coefficients.
fn silent() -> Vec<u8> {
    frame([0xff, 0xfb, 0x54, 0xc4], 192)
}

/// The same in stereo, at 32 kHz: 144 · 64000 / 32000 = 288 bytes.
fn silent_stereo() -> Vec<u8> {
    frame([0xff, 0xfb, 0x58, 0x04], 288)
}

fn frame(header: [u8; 4], length: usize) -> Vec<u8> {
    let mut frame = vec![0; length];
    frame[..4].copy_from_slice(&header);
    frame
}

/// A frame with an Info header and LAME's delay and padding.
fn info_frame(frames: u32, bytes: u32, delay: u32, padding: u32) -> Vec<u8> {
    let mut frame = silent();
    frame[21..29].copy_from_slice(b"Info\0\0\0\x03");
    frame[29..33].copy_from_slice(&frames.to_be_bytes());
    frame[33..37].copy_from_slice(&bytes.to_be_bytes());
    frame[37..41].copy_from_slice(b"LAME");
    frame[58..61].copy_from_slice(&(delay << 12 | padding).to_be_bytes()[1..]);
    frame
}

fn opened(file: &[&[u8]]) -> Box<dyn Decoder> {
    open(Input::of_bytes(file.concat())).unwrap()
}

/// Rate, channels and samples of each block, and the kinds of warnings.
fn decoded(mut decoder: Box<dyn Decoder>) -> (Vec<(u32, usize, usize)>, Vec<&'static str>) {
    let (mut block, mut blocks) = (Block::default(), Vec::new());
    while decoder.next(&mut block).unwrap() {
        blocks.push((block.rate, block.channels.len(), block.frames()));
    }
    (blocks, decoder.warnings().iter().map(|warning| warning.kind).collect())
}

fn samples(file: &[&[u8]]) -> usize {
    decoded(opened(file)).0.iter().map(|block| block.2).sum()
}

#[test]
fn every_frame_is_heard_whatever_stands_between_them() {
    let (one, id3v1) = (silent(), [&b"TAG"[..], &[b' '; 125]].concat());
    let picture = [&b"ID3\x03\0\0\0\x10\0\0"[..], &[0xff; 1 << 18]].concat();
    let file: [&[u8]; 8] = [&picture, &picture, &one, &one, &id3v1, &picture, &one, &one];
    assert_eq!(decoded(opened(&file)), (vec![(48_000, 1, 1152); 4], vec![]));
    assert_eq!(samples(&[&one, &one, &one, &one[..191]]), 3 * 1152);
}

#[test]
fn junk_of_more_than_a_kilobyte_is_warned_about() {
    let one = silent();
    let with = |junk: usize| decoded(opened(&[&one, &one, &one, &vec![7; junk], &one, &one]));
    assert_eq!(with(1024), (vec![(48_000, 1, 1152); 5], vec![]));
    assert_eq!(with(1025), (vec![(48_000, 1, 1152); 5], vec!["junk"]));
}

#[test]
fn a_format_that_changes_is_decoded_piece_by_piece() {
    let (mono, stereo) = (silent(), silent_stereo());
    let file = [mono.repeat(3), stereo.repeat(3)].concat();
    let (blocks, warnings) = decoded(opened(&[&file]));
    assert_eq!(blocks, [vec![(48_000, 1, 1152); 3], vec![(32_000, 2, 1152); 3]].concat());
    assert_eq!(warnings, ["format changes"]);
    // 3 · 1152 + 3 · 1152 · 48000 / 32000.
    assert_eq!(opened(&[&file]).info().frames, Some(8640));
}

#[test]
fn delay_and_padding_of_the_first_info_header_are_cut() {
    let sound = silent().repeat(5);
    // 5 · 1152 - (576 + 529) - (1000 - 529) = 4184.
    let whole = info_frame(5, 6 * 192, 576, 1000);
    assert_eq!(samples(&[&whole, &sound]), 4184);
    assert_eq!(opened(&[&whole, &sound]).info().frames, Some(4184));
    // Two such files joined: the header of the second is a silent frame, and nothing is known of the end of the sound.
    let joined: [&[u8]; 4] = [&whole, &sound, &whole, &sound];
    assert_eq!(samples(&joined), 11 * 1152 - 1105);
    assert_eq!(opened(&joined).info().frames, Some(11 * 1152 - 1105));
}

#[test]
fn a_header_that_promises_much_more_is_reported_at_the_end() {
    let sound = silent().repeat(6);
    let promised = |frames: u32| {
        let mut decoder = opened(&[&info_frame(frames, 0, 0, 529), &sound]);
        assert_eq!(decoder.promised(), None);
        let mut block = Block::default();
        while decoder.next(&mut block).unwrap() {}
        decoder.promised()
    };
    // 6 · 1152 - 529 = 6383 are there; 4/3 of them are 8510. 7 frames promise 7535, and 8 frames 8687.
    assert_eq!(promised(7), None);
    assert_eq!(promised(8), Some(8687));
}

#[test]
fn info_names_layer_rate_and_channels() {
    let mp2 = frame([0xff, 0xfd, 0xa4, 0x00], 576).repeat(3);
    let info = opened(&[&mp2]).info().clone();
    assert_eq!(
        (info.format, info.codec.as_str(), info.rate, info.channels),
        ("MPEG audio", "MP2", 48_000, 2)
    );
    assert_eq!(info.frames, Some(3 * 1152));
    let error = open(Input::of_bytes(*b"ID3\x03\0\0\0\0\0\0")).err().unwrap();
    assert!(error.to_string().contains("no frames follow"), "{error}");
}

#[test]
fn seeking_goes_to_the_very_sample_or_to_the_end() {
    let file = [silent().repeat(100), silent_stereo().repeat(100)].concat();
    let mut decoder = opened(&[&file]);
    let mut left = |frame: u64| {
        assert_eq!(decoder.seek(frame).unwrap(), frame.min(288_000));
        let (mut block, mut samples) = (Block::default(), [0, 0]);
        while decoder.next(&mut block).unwrap() {
            samples[block.channels.len() - 1] += block.frames();
        }
        samples
    };
    // 115,200 samples in mono, and 115,200 of 32 kHz in stereo that count as 172,800.
    assert_eq!(left(0), [115_200, 115_200]);
    assert_eq!(left(100_000), [15_200, 115_200]);
    assert_eq!(left(115_200 + 150), [0, 115_100]);
    assert_eq!(left(288_000), [0, 0]);
    assert_eq!(left(1 << 60), [0, 0]);
}

#[test]
fn the_start_is_found_after_junk_and_tags_only() {
    let one = silent();
    let start = |bytes: Vec<u8>| find_start(&Input::of_bytes(bytes), 0).unwrap();
    assert_eq!(start([vec![0; 65_000], one.repeat(3)].concat()), Some(65_000));
    assert_eq!(start([vec![0; 66_000], one.repeat(3)].concat()), None);
    assert_eq!(start(one.clone()), Some(0));
    assert_eq!(start([vec![1], one.clone()].concat()), None);
    assert_eq!(start([vec![1], one.repeat(2)].concat()), Some(1));
    assert_eq!(start([one.repeat(2), vec![1; 300]].concat()), None);
    let second = Input::of_bytes([b"0123456789".to_vec(), one.repeat(3)].concat());
    assert_eq!(find_start(&second, 10).unwrap(), Some(10));
}

#[test]
fn bytes_of_other_things_hold_no_mpeg_audio() {
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..1000 {
        let bytes: Vec<u8> = (0..random() % 4000).flat_map(|_| random().to_le_bytes()).collect();
        assert_eq!(find_start(&Input::of_bytes(bytes), 0).unwrap(), None);
    }
    // Text of two bytes a character, and the coefficients of a JPEG, in which `00` or a marker follows `ff`.
    let text = format!("\u{feff}{}", "Hello, ÿþ world. ".repeat(999));
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let picture: Vec<u8> =
        (0..99_999u32).flat_map(|i| [0xff, [0, 0xd0, 0xd7][i as usize % 3], random() as u8]).collect();
    for bytes in [utf16, picture, vec![0xff; 99_999], vec![0; 99_999], b"plain text ".repeat(9999)] {
        assert_eq!(find_start(&Input::of_bytes(bytes), 0).unwrap(), None);
    }
}

#[test]
fn the_free_format_is_named() {
    // Frames of 200 bytes, the second with one byte of padding.
    let (one, padded) = (frame([0xff, 0xfb, 0x04, 0xc4], 200), frame([0xff, 0xfb, 0x06, 0xc4], 201));
    let error = find_start(&Input::of_bytes([one.clone(), padded, one].concat()), 0).unwrap_err();
    assert!(error.to_string().contains("free format"), "{error}");
}

/// Layer 3 with a varying bitrate, made with `lame -V 5 --resample 16`: 3 s of a sweep and noise.
fn sweep() -> Input {
    Input::of_bytes(*include_bytes!("../../testdata/sweep_vbr.mp3"))
}

fn heard(decoder: &mut dyn Decoder, most: usize) -> Vec<f32> {
    let (mut block, mut samples) = (Block::default(), Vec::new());
    while samples.len() < most && decoder.next(&mut block).unwrap() {
        samples.extend(&block.channels[0]);
    }
    samples.truncate(most);
    samples
}

#[test]
fn what_is_heard_after_a_seek_is_what_decoding_from_the_start_gives() {
    let whole = heard(open(sweep()).unwrap().as_mut(), usize::MAX);
    assert_eq!(whole.len(), 48_000);
    let mut decoder = open(sweep()).unwrap();
    for frame in [0, 1, 575, 576, 5000, 17_777, 30_000, 47_999] {
        assert_eq!(decoder.seek(frame as u64).unwrap(), frame as u64);
        let window = heard(decoder.as_mut(), 4000);
        assert_eq!(window.len(), 4000.min(48_000 - frame));
        let loudest = window.iter().fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
        assert!(frame > 47_000 || loudest > 0.05, "{frame}: {loudest}");
        for (sample, expected) in window.iter().zip(&whole[frame..]) {
            assert!((sample - expected).abs() < 1e-6, "{frame}");
        }
    }
}

#[test]
fn a_damaged_frame_costs_itself_and_its_neighbours() {
    let bytes = sweep().peek(0, 1 << 20).unwrap();
    let mut damaged = bytes.clone();
    // The header of a frame in the middle.
    let mut frames = Frames::<Header>::new(sweep()).unwrap();
    let middle = (0..40).filter_map(|_| frames.next().unwrap()).last().unwrap().position as usize;
    damaged[middle..middle + 2].copy_from_slice(&[0, 0]);
    let mut decoder = open(Input::of_bytes(damaged)).unwrap();
    let (mut block, mut samples, mut faults) = (Block::default(), 0, 0);
    loop {
        match decoder.next(&mut block) {
            Ok(true) => samples += block.frames(),
            Ok(false) => break,
            Err(Fault::Packet(_)) => faults += 1,
            Err(Fault::End(problem)) => panic!("{problem}"),
        }
    }
    assert!(faults <= 2 && samples >= 48_000 - (1 + faults) * 576, "{faults} {samples}");
}
