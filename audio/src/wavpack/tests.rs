use std::path::Path;

use super::*;

/// 4800 samples of 16 bits @ 16 kHz, stereo, in blocks of 1000.
fn stereo() -> Vec<u8> {
    fixture("stereo_16k.wv")
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/audio/formats");
    std::fs::read(folder.join(name)).unwrap()
}

fn open(bytes: impl Into<std::sync::Arc<[u8]>>) -> WavPack {
    WavPack::open(Input::of_bytes(bytes)).unwrap()
}

/// All channels to the end, and the number of faults.
fn decode(decoder: &mut WavPack) -> (Vec<Vec<f32>>, usize) {
    let (mut block, mut planes, mut faults) = (Block::default(), Vec::<Vec<f32>>::new(), 0);
    loop {
        match decoder.next(&mut block) {
            Ok(true) => {
                planes.resize_with(block.channels.len(), Vec::new);
                planes.iter_mut().zip(&block.channels).for_each(|(whole, part)| whole.extend(part));
            }
            Ok(false) => return (planes, faults),
            Err(Fault::Packet(_)) => faults += 1,
            Err(Fault::End(problem)) => panic!("{problem}"),
        }
    }
}

/// Where the blocks begin.
fn blocks(bytes: &[u8]) -> Vec<usize> {
    bytes.windows(4).enumerate().filter(|(_, id)| id == b"wvpk").map(|(at, _)| at).collect()
}

#[test]
fn a_seek_goes_to_the_block_of_the_frame() {
    let whole = decode(&mut open(stereo())).0;
    assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [4800, 4800]);
    for (frame, at) in [(0, 0), (999, 0), (1000, 1000), (2500, 2000), (4799, 4000)] {
        let mut file = open(stereo());
        assert_eq!(file.seek(frame).unwrap(), at);
        let rest = decode(&mut file).0;
        assert_eq!(rest[1], whole[1][at as usize..]);
    }
}

#[test]
fn channels_of_several_blocks_belong_together() {
    let bytes = fixture("surround_8k.wv");
    let mut file = open(bytes.clone());
    assert_eq!((file.info().channels, file.info().frames, blocks(&bytes).len()), (3, Some(2400), 2));
    let (planes, faults) = decode(&mut file);
    assert_eq!(faults, 0);
    // Each has half the level of the one before it, rounded to 16 bits.
    for (louder, fainter) in [(0, 1), (1, 2)] {
        assert!(planes[louder].iter().any(|sample| sample.abs() > 0.1));
        let half = planes[louder].iter().zip(&planes[fainter]).map(|(a, b)| (a * 0.5 - b).abs());
        assert!(half.fold(0.0, f32::max) <= 1.0 / 32_768.0);
    }
    // Without the block of the third channel, the set is not complete.
    let cut = blocks(&bytes)[1];
    let refused = WavPack::open(Input::of_bytes(&bytes[..cut])).err().unwrap().to_string();
    assert!(refused.contains("a block of several channels is not complete"), "{refused}");
}

#[test]
fn a_block_with_a_wrong_checksum_is_silent_and_warned_about() {
    let whole = decode(&mut open(stereo())).0;
    let mut bytes = stereo();
    // The checksum of the second block.
    let at = blocks(&bytes)[1] + 28;
    bytes[at] ^= 1;
    let mut file = open(bytes);
    let (planes, faults) = decode(&mut file);
    assert_eq!(faults, 0);
    let expected = [&whole[0][..1000], &[0.0; 1000], &whole[0][2000..]].concat();
    assert_eq!(planes[0], expected);
    assert_eq!(file.warnings()[0].kind, "checksum");
}

#[test]
fn missing_blocks_are_silence() {
    let whole = decode(&mut open(stereo())).0;
    let bytes = stereo();
    let starts = blocks(&bytes);
    let expected = [&whole[0][..1000], &[0.0; 2000], &whole[0][3000..]].concat();
    // Two blocks are not there; or the first of them has no header any more, which is one fault.
    let (planes, faults) = decode(&mut open([&bytes[..starts[1]], &bytes[starts[3]..]].concat()));
    assert_eq!((&planes[0], faults), (&expected, 0));
    let mut bytes = [&bytes[..starts[2]], &bytes[starts[3]..]].concat();
    bytes[starts[1]] = 0;
    let (planes, faults) = decode(&mut open(bytes));
    assert_eq!((&planes[0], faults), (&expected, 1));
}

#[test]
fn tags_at_the_end_are_read_over() {
    let bytes = [stereo(), b"APETAGEX\xd0\x07".to_vec(), vec![7; 3000]].concat();
    let (planes, faults) = decode(&mut open(bytes));
    assert_eq!((planes[0].len(), faults), (4800, 0));
}

#[test]
fn an_unknown_length_is_not_promised() {
    let mut bytes = stereo();
    bytes[12..16].fill(0xff);
    let mut file = open(bytes);
    assert_eq!((file.info().frames, file.promised()), (None, None));
    assert_eq!(decode(&mut file).0[0].len(), 4800);
    assert_eq!(open(stereo()).promised(), Some(4800));
}

#[test]
fn what_is_not_decoded_is_named() {
    let refused = |at: usize, value: u8| {
        let mut bytes = stereo();
        bytes[at] = value;
        WavPack::open(Input::of_bytes(bytes)).err().unwrap().to_string()
    };
    assert!(refused(27, 0x80).contains("DSD in WavPack is not supported"));
    assert!(refused(8, 0xff).contains("WavPack of the version 0x4ff is not supported"));
    assert!(refused(0, 0).contains("its first block is corrupt"));
}
