use super::super::tests::{decode, kinds};
use super::*;

/// A chunk with its length, in the byte order of RIFF.
fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// A WAVEFORMAT @ 16 kHz, whose sizes agree with each other.
fn fmt(tag: u16, channels: u16, bits: u16, bytes: u16) -> Vec<u8> {
    let frame = channels * bytes;
    let mut body = Vec::new();
    body.extend([tag, channels].map(u16::to_le_bytes).concat());
    body.extend([16_000, 16_000 * u32::from(frame)].map(u32::to_le_bytes).concat());
    body.extend([frame, bits].map(u16::to_le_bytes).concat());
    body
}

/// The same as WAVEFORMATEXTENSIBLE.
fn extensible(tag: u16, channels: u16, bits: u16, valid_bits: u16) -> Vec<u8> {
    let mut body = fmt(0xfffe, channels, bits, bits.div_ceil(8));
    body.extend([22, valid_bits].map(u16::to_le_bytes).concat());
    body.extend([0; 4]);
    body.extend(u32::from(tag).to_le_bytes());
    body.extend(b"\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    body
}

fn riff(magic: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    let content = chunks.concat();
    let mut bytes = magic.to_vec();
    bytes.extend((content.len() as u32 + 4).to_le_bytes());
    bytes.extend(b"WAVE");
    bytes.extend(content);
    bytes
}

/// A file with this format and these samples.
fn wav(format: &[u8], samples: &[u8]) -> Vec<u8> {
    riff(b"RIFF", &[chunk(b"fmt ", format), chunk(b"data", samples)])
}

fn opened(bytes: &[u8]) -> Result<Box<dyn Decoder>, Problem> {
    open(Input::of_bytes(bytes))
}

/// The first channel of a file, and the kinds of its warnings.
fn heard(bytes: &[u8]) -> (Vec<f32>, Vec<&'static str>) {
    let mut decoder = opened(bytes).unwrap();
    (decode(decoder.as_mut()).swap_remove(0), kinds(decoder.as_mut()))
}

fn refused(bytes: &[u8]) -> String {
    opened(bytes).err().unwrap().to_string()
}

/// 0.5 in 16 bits.
const HALF: [u8; 2] = [0, 0x40];

#[test]
fn fmt_chunks_of_every_length_are_read() {
    for length in [16, 18, 20, 40, 100] {
        for (tag, bits, sample, value) in [(1, 16, &HALF[..], 0.5), (7, 8, &[0x80], 32_124.0 / 32_768.0)] {
            let mut format = fmt(tag, 1, bits, sample.len() as u16);
            format.resize(length, 0);
            assert_eq!(heard(&wav(&format, sample)), (vec![value], vec![]), "{tag} in {length} bytes");
        }
    }
    assert!(refused(&wav(&[1; 12], &HALF)).contains("its fmt chunk has 12 bytes"));
}

#[test]
fn extensible_formats_hold_every_codec_and_any_valid_bits() {
    assert_eq!(heard(&wav(&extensible(1, 1, 16, 12), &HALF)).0, [0.5]);
    assert_eq!(heard(&wav(&extensible(1, 1, 24, 20), &[0, 0, 0x40])).0, [0.5]);
    assert_eq!(heard(&wav(&extensible(1, 1, 32, 24), &[0, 0, 0, 0x40])).0, [0.5]);
    assert_eq!(heard(&wav(&extensible(3, 1, 32, 32), &0.3f32.to_le_bytes())).0, [0.3]);
    assert_eq!(heard(&wav(&extensible(7, 1, 8, 8), &[0x80])).0, [32_124.0 / 32_768.0]);
    assert_eq!(heard(&wav(&extensible(6, 1, 8, 0), &[0xaa])).0, [32_256.0 / 32_768.0]);
    let info = opened(&wav(&extensible(1, 1, 24, 20), &[0; 3])).unwrap().info().clone();
    assert_eq!((info.codec.as_str(), info.format, info.frames), ("PCM 20 bit", "WAV", Some(1)));
    let mut foreign = extensible(1, 1, 16, 16);
    foreign[30] = 7;
    foreign[39] = 7;
    assert!(refused(&wav(&foreign, &HALF)).contains("sub-format 01000000000007008000"));
    assert!(refused(&wav(&fmt(0xfffe, 1, 16, 2), &HALF)).contains("too short for the extensible format"));
}

#[test]
fn bits_that_do_not_fill_their_bytes_are_the_upper_ones() {
    assert_eq!(heard(&wav(&fmt(1, 1, 12, 2), &HALF)), (vec![0.5], vec![]));
    assert_eq!(heard(&wav(&fmt(1, 1, 20, 3), &[0, 0, 0x40])), (vec![0.5], vec![]));
    assert_eq!(heard(&wav(&fmt(1, 1, 20, 4), &[0, 0, 0, 0x40])), (vec![0.5], vec![]));
    // The bytes per second agree with 4 bytes per sample. As floats these were 2 and 1e-19.
    assert_eq!(heard(&wav(&fmt(1, 1, 24, 4), &[0, 0, 0, 0x40, 0, 0, 0, 0x20])), (vec![0.5, 0.25], vec![]));
}

#[test]
fn cool_edits_floats_are_told_from_integers() {
    let samples = [0.0f32, 4_194_304.0, -3.5].map(f32::to_le_bytes).concat();
    assert_eq!(heard(&wav(&fmt(1, 1, 24, 4), &samples)).0, [0.0, 0.5, -3.5 / 8_388_608.0]);
    let mut format = fmt(1, 1, 32, 4);
    format.extend([2, 0, 1, 0]);
    assert_eq!(heard(&wav(&format, &16_384f32.to_le_bytes())).0, [0.5]);
}

#[test]
fn the_bytes_per_second_decide_where_the_frame_contradicts_the_bits() {
    let mut format = fmt(1, 1, 16, 2);
    format[12] = 7;
    assert_eq!(heard(&wav(&format, &HALF)), (vec![0.5], vec!["block align"]));
    format[8] = 1;
    assert!(
        refused(&wav(&format, &HALF))
            .contains("its header states 7 bytes per frame for 1 channels of 16 bit")
    );
    assert!(refused(&wav(&fmt(1, 1, 0, 0), &HALF)).contains("0 bytes per frame"));
    assert!(refused(&wav(&fmt(1, 1, 72, 9), &HALF)).contains("9 bytes per frame"));
}

#[test]
fn chunks_stand_anywhere_but_the_data_behind_its_format() {
    let (format, data) = (chunk(b"fmt ", &fmt(1, 1, 16, 2)), chunk(b"data", &HALF));
    let list = chunk(b"LIST", b"INFO\0");
    let padded = [list.clone(), vec![0]].concat();
    for before in [vec![], vec![padded.clone()], vec![list.clone()], vec![chunk(b"JUNK", &[1; 99])]] {
        let mut chunks = before;
        chunks.extend([
            format.clone(),
            padded.clone(),
            chunk(b"fact", &[1, 0, 0, 0]),
            data.clone(),
            list.clone(),
        ]);
        assert_eq!(heard(&riff(b"RIFF", &chunks)), (vec![0.5], vec![]));
    }
    assert!(
        refused(&riff(b"RIFF", &[data.clone(), format.clone()])).contains("data chunk comes before its fmt")
    );
    assert!(refused(&riff(b"RIFF", std::slice::from_ref(&format))).contains("it ends before a data chunk"));
    assert!(refused(b"RIFF\x04\0\0\0WAVE").contains("it ends before a fmt chunk"));
    let endless = [b"LIST\xff\xff\xff\xff".to_vec(), format, data].concat();
    let problem = refused(&riff(b"RIFF", &[endless]));
    assert!(
        problem.contains("\"LIST\" chunk of 4294967295 bytes reaches beyond its end before a fmt"),
        "{problem}"
    );
}

/// A file of 16-bit stereo with `found` bytes of samples, whose header states these lengths.
fn lengths(riff_length: u32, data_length: u32, found: usize) -> Vec<u8> {
    let mut bytes = wav(&fmt(1, 2, 16, 2), &vec![1; found]);
    bytes[4..8].copy_from_slice(&riff_length.to_le_bytes());
    bytes[40..44].copy_from_slice(&data_length.to_le_bytes());
    bytes
}

#[test]
fn a_data_chunk_much_longer_than_the_file_is_truncated() {
    // A frame has 4 bytes: 10,000 and 100 frames; 0.1 s are 1600.
    assert_eq!(
        refused(&lengths(40_036, 40_000, 400)),
        "truncated: header promises 10000 samples, 100 found; fetch it again"
    );
}

#[test]
fn placeholder_lengths_mean_all_that_follows() {
    let all = [(u32::MAX, u32::MAX), (0x7fff_f024, 0x7fff_f000), (0, 0), (36, 0), (0x8000_0024, 0x8000_0000)];
    for (riff, data) in all {
        let (samples, warnings) = heard(&lengths(riff, data, 400));
        assert_eq!((samples.len(), warnings), (100, vec!["unfinished header"]), "{riff} {data}");
    }
}

#[test]
fn a_few_bytes_too_many_or_a_part_of_a_frame_are_warned_about() {
    for data in [401, 444, 398] {
        let (samples, warnings) = heard(&lengths(data + 36, data, 400));
        assert_eq!((samples.len(), warnings), (if data < 400 { 99 } else { 100 }, vec!["length"]), "{data}");
    }
    assert_eq!(heard(&lengths(436, 400, 400)).1, Vec::<&str>::new());
}

#[test]
fn samples_behind_a_data_chunk_that_is_too_short_are_warned_about() {
    let (samples, warnings) = heard(&lengths(236, 200, 400));
    assert_eq!((samples.len(), warnings), (50, vec!["length"]));
    let two = [chunk(b"fmt ", &fmt(1, 1, 16, 2)), chunk(b"data", &HALF), chunk(b"data", &HALF)];
    assert_eq!(heard(&riff(b"RIFF", &two)), (vec![0.5], vec!["length"]));
}

#[test]
fn an_empty_data_chunk_has_no_samples() {
    assert!(refused(&wav(&fmt(1, 1, 16, 2), &[])).contains("no samples"));
    let tagged = [chunk(b"fmt ", &fmt(1, 1, 16, 2)), chunk(b"data", &[]), chunk(b"LIST", b"INFO")];
    assert!(refused(&riff(b"RIFF", &tagged)).contains("no samples"));
}

#[test]
fn rf64_and_bw64_take_the_length_from_ds64() {
    for magic in [b"RF64", b"BW64"] {
        let file = |length: u64| {
            let sizes = [0u64, length, 0].map(u64::to_le_bytes).concat();
            let mut bytes = riff(
                magic,
                &[chunk(b"ds64", &sizes), wav(&fmt(1, 1, 16, 2), &HALF.repeat(3))[12..].to_vec()],
            );
            let place = bytes.len() - 10;
            bytes[place..place + 4].fill(0xff);
            bytes
        };
        assert_eq!(heard(&file(4)), (vec![0.5; 2], vec![]), "two of three samples");
        assert_eq!(heard(&file(6)), (vec![0.5; 3], vec![]));
        assert_eq!(heard(&file(u64::MAX)), (vec![0.5; 3], vec!["unfinished header"]));
        assert_eq!(heard(&file(0)), (vec![0.5; 3], vec!["unfinished header"]));
        assert!(refused(&file(1 << 61)).contains("promises 1152921504606846976 samples, 3 found"));
    }
}

#[test]
fn rifx_is_big_endian() {
    let mut bytes =
        b"RIFX\0\0\0\x28WAVEfmt \0\0\0\x10\0\x01\0\x01\0\0\x3e\x80\0\0\x7d\0\0\x02\0\x10".to_vec();
    bytes.extend(b"data\0\0\0\x04\x40\0\xc0\0");
    assert_eq!(heard(&bytes), (vec![0.5, -0.5], vec![]));
    // The sub-format as sox writes it, and as libsndfile does.
    for tag in [[0, 1, 0, 0], [0, 0, 0, 1]] {
        let mut format = b"\xff\xfe\0\x01\0\0\x3e\x80\0\0\x7d\0\0\x02\0\x10\0\x16\0\x10\0\0\0\x04".to_vec();
        format.extend(tag);
        format.extend(b"\0\0\0\x10\x80\0\0\xaa\0\x38\x9b\x71");
        let chunks = [&b"RIFX\0\0\0\0WAVEfmt \0\0\0\x28"[..], &format, b"data\0\0\0\x02\x40\0"];
        assert_eq!(heard(&chunks.concat()), (vec![0.5], vec![]));
    }
}

#[test]
fn codecs_without_a_decoder_are_named() {
    // GSM in blocks of another length than Microsoft's.
    assert!(refused(&wav(&fmt(0x31, 1, 0, 33), &[0; 65])).starts_with("GSM 6.10 in WAV is not supported"));
    assert!(refused(&wav(&fmt(0x161, 1, 0, 65), &[0; 65])).starts_with("Windows Media Audio (WMA) in WAV"));
    assert!(refused(&wav(&fmt(0x1234, 1, 0, 65), &[0; 65])).starts_with("codec 0x1234 in WAV"));
    assert!(refused(&wav(&fmt(3, 1, 16, 2), &[0; 65])).starts_with("float of 16 bit in WAV"));
}

#[test]
fn a_header_of_ten_thousand_channels_is_read_without_their_memory() {
    let decoder = opened(&wav(&fmt(1, 10_000, 16, 2), &[0; 40_000])).unwrap();
    assert_eq!((decoder.info().channels, decoder.info().frames), (10_000, Some(2)));
}

#[test]
fn mp3_of_which_much_is_missing_is_truncated() {
    let fact = chunk(b"fact", &160_000u32.to_le_bytes());
    let mut bytes = riff(b"RIFF", &[chunk(b"fmt ", &fmt(0x55, 1, 0, 1)), fact, chunk(b"data", &[0; 1000])]);
    let place = bytes.len() - 1004;
    bytes[place..place + 4].copy_from_slice(&10_000u32.to_le_bytes());
    // A tenth of the bytes are a tenth of the samples.
    assert!(refused(&bytes).contains("promises 160000 samples, 16000 found"));
}
