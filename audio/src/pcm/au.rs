//! AU, also called SND: Sun's and NeXT's. A header of six numbers, a comment, and the samples.
//!
//! Files are big-endian and begin with `.snd`, or little-endian, which is rare, and begin with `dns.`.

use super::super::decoder::{Decoder, Warning};
use super::super::error::Problem;
use super::super::input::Input;
use super::chunks::Fields;
use super::{Coding, Pcm, PcmLayout, SampleFormat, Stated};

/// Bytes of the header without its comment.
const HEADER: u32 = 24;

pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let big_endian = input.peek(0, 4)? != b"dns.";
    let fields = Fields::read(&input, 0, HEADER as usize, big_endian)?;
    let (offset, size, encoding) = (fields.u32(4), fields.u32(8), fields.u32(12));
    if fields.bytes.len() < HEADER as usize {
        return Err(Problem::corrupt("it ends in its header"));
    }
    if offset < HEADER || u64::from(offset) > input.length() {
        return Err(Problem::corrupt(format!("its header states that samples begin at byte {offset}")));
    }
    let (coding, bytes) = match encoding {
        1 => (Coding::MuLaw, 1),
        2..=5 => (Coding::Signed, encoding as usize - 1),
        6 => (Coding::Float, 4),
        7 => (Coding::Float, 8),
        27 => (Coding::ALaw, 1),
        _ => return Err(Problem::unsupported(format!("{} in AU", codec_name(encoding)))),
    };
    let channels = fields.u32(20) as usize;
    let frame_bytes = (bytes * channels) as u64;
    let found = input.length() - u64::from(offset);
    let mut warnings = Vec::new();
    let stated = match size {
        u32::MAX => Stated::ToEnd,
        0 if found > 0 => Stated::Unfinished,
        // Nothing follows the samples, so a longer file holds more of them.
        size if u64::from(size) + frame_bytes <= found => {
            let text = format!("its header states {size} bytes of samples, {found} found");
            warnings.push(Warning::new("length", text));
            Stated::ToEnd
        }
        size => Stated::Bytes(u64::from(size)),
    };
    let layout = PcmLayout {
        container: "AU",
        offset: u64::from(offset),
        stated,
        format: SampleFormat { coding, bytes, big_endian },
        valid_bits: 8 * bytes as u32,
        channels,
        rate: fields.u32(16),
        warnings,
    };
    Ok(Box::new(Pcm::open(input, layout)?))
}

fn codec_name(encoding: u32) -> String {
    let name = match encoding {
        10..=14 => "a NeXT DSP program",
        18 | 19 => "emphasised PCM",
        23 => "G.721 ADPCM",
        24 => "G.722",
        25 | 26 => "G.723 ADPCM",
        _ => return format!("encoding {encoding}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decode, kinds};
    use super::*;

    fn file(offset: u32, size: u32, encoding: u32, channels: u32, samples: &[u8]) -> Vec<u8> {
        let mut bytes = b".snd".to_vec();
        bytes.extend([offset, size, encoding, 8_000, channels].map(u32::to_be_bytes).concat());
        bytes.resize(offset.clamp(24, 99) as usize, b'c');
        bytes.extend(samples);
        bytes
    }

    fn heard(bytes: &[u8]) -> (Vec<f32>, Vec<&'static str>) {
        let mut decoder = open(Input::of_bytes(bytes)).unwrap();
        (decode(decoder.as_mut()).swap_remove(0), kinds(decoder.as_mut()))
    }

    #[test]
    fn every_encoding_that_does_not_compress_is_read() {
        let half = |encoding, sample: &[u8]| {
            assert_eq!(
                heard(&file(32, sample.len() as u32, encoding, 1, sample)),
                (vec![0.5], vec![]),
                "{encoding}"
            );
        };
        half(2, &[0x40]);
        half(3, &[0x40, 0]);
        half(4, &[0x40, 0, 0]);
        half(5, &[0x40, 0, 0, 0]);
        half(6, &0.5f32.to_be_bytes());
        half(7, &0.5f64.to_be_bytes());
        assert_eq!(heard(&file(24, 1, 1, 1, &[0x80])).0, [32_124.0 / 32_768.0]);
        assert_eq!(heard(&file(24, 1, 27, 1, &[0xaa])).0, [32_256.0 / 32_768.0]);
        let refused = open(Input::of_bytes(file(24, 1, 23, 1, &[0]))).err().unwrap().to_string();
        assert!(refused.starts_with("G.721 ADPCM in AU is not supported"));
    }

    #[test]
    fn little_endian_files_are_read() {
        let mut bytes = b"dns.".to_vec();
        bytes.extend([24, 2, 3, 8_000, 1].map(u32::to_le_bytes).concat());
        bytes.extend([0, 0x40]);
        assert_eq!(heard(&bytes), (vec![0.5], vec![]));
    }

    #[test]
    fn unknown_and_wrong_sizes_mean_all_that_follows() {
        let samples = [0x40, 0].repeat(10);
        let all = |size, warnings: &[&str]| {
            assert_eq!(heard(&file(24, size, 3, 1, &samples)), (vec![0.5; 10], warnings.to_vec()), "{size}");
        };
        all(20, &[]);
        all(u32::MAX, &[]);
        all(0, &["unfinished header"]);
        all(18, &["length"]);
        all(64, &["length"]);
        let problem = open(Input::of_bytes(file(24, 4_000, 3, 1, &samples))).err().unwrap();
        assert!(matches!(problem, Problem::Truncated { promised: 2_000, found: 10 }));
    }

    #[test]
    fn bad_headers_are_named() {
        let refused = |bytes: Vec<u8>| open(Input::of_bytes(bytes)).err().unwrap().to_string();
        assert!(refused(b".snd\0\0\0\x18".to_vec()).contains("it ends in its header"));
        assert!(refused(file(8, 2, 3, 1, &[0; 2])).contains("samples begin at byte 8"));
        assert!(refused(file(u32::MAX, 2, 3, 1, &[0; 2])).contains("samples begin at byte 4294967295"));
        assert!(refused(file(24, 2, 3, 0, &[0; 2])).contains("0 channels"));
        assert!(refused(file(24, 0, 3, 1, &[])).contains("no samples"));
        assert!(refused(file(24, u32::MAX, 7, u32::MAX, &[0; 100])).contains("no samples"));
    }
}
