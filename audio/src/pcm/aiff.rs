//! AIFF and AIFF-C, Apple's sister of WAV: big-endian, unless its compression type says otherwise.

use super::super::decoder::{Decoder, Warning};
use super::super::error::Problem;
use super::super::input::Input;
use super::adpcm::{Adpcm, AdpcmLayout, Variant};
use super::chunks::{Chunk, Chunks, Fields};
use super::riff::is_placeholder;
use super::{Coding, Pcm, PcmLayout, SampleFormat, Stated, check_header};

/// What the COMM chunk says.
struct Common {
    channels: usize,
    /// Samples per channel, or packets of them.
    frames: u32,
    bits: usize,
    /// Sampling rate in Hz.
    rate: u32,
    /// The compression type; `NONE` in AIFF.
    coding: [u8; 4],
}

pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let compressed = input.peek(8, 4)? == b"AIFC";
    let mut chunks = Chunks::new(&input, 12, true);
    let (mut common, mut sound) = (None, None);
    while let Some(chunk) = chunks.next()? {
        match &chunk.id {
            b"COMM" => common = Some(Common::parse(&input, &chunk, compressed)?),
            b"SSND" => sound = Some(chunk),
            _ => {}
        }
        // They come in any order.
        if let (Some(common), Some(sound)) = (&common, &sound) {
            return decoder(common, sound, input);
        }
    }
    let what = if common.is_some() { "SSND" } else { "COMM" };
    Err(Problem::corrupt(format!("{} before a {what} chunk", chunks.end())))
}

impl Common {
    fn parse(input: &Input, chunk: &Chunk, compressed: bool) -> Result<Self, Problem> {
        let least = if compressed { 22 } else { 18 };
        let fields = Fields::read(input, chunk.body, least, true)?;
        if (chunk.length as usize) < least || fields.bytes.len() < least {
            let length = u64::from(chunk.length).min(fields.bytes.len() as u64);
            return Err(Problem::corrupt(format!(
                "its COMM chunk has {length} bytes; {least} are the least"
            )));
        }
        let coding = fields.bytes.get(18..).and_then(|rest| rest.first_chunk()).copied();
        Ok(Self {
            channels: usize::from(fields.u16(0)),
            frames: fields.u32(2),
            bits: usize::from(fields.u16(6)),
            rate: of_extended(fields.u16(8), fields.u64(10)),
            coding: coding.unwrap_or(*b"NONE"),
        })
    }

    /// How samples are stored; `None` if they are compressed.
    fn format(&self) -> Option<SampleFormat> {
        let by_bits = self.bits.div_ceil(8);
        let (coding, bytes, big_endian) = match &self.coding {
            b"NONE" | b"none" | b"twos" => (Coding::Signed, by_bits, true),
            b"sowt" => (Coding::Signed, by_bits, false),
            b"in16" => (Coding::Signed, 2, true),
            b"in24" => (Coding::Signed, 3, true),
            b"in32" => (Coding::Signed, 4, true),
            b"42ni" | b"42n1" => (Coding::Signed, 3, false),
            b"23ni" => (Coding::Signed, 4, false),
            b"fl32" | b"FL32" => (Coding::Float, 4, true),
            b"fl64" | b"FL64" => (Coding::Float, 8, true),
            b"ulaw" | b"ULAW" => (Coding::MuLaw, 1, true),
            b"alaw" | b"ALAW" => (Coding::ALaw, 1, true),
            b"raw " if self.bits <= 8 => (Coding::Unsigned, 1, true),
            _ => return None,
        };
        Some(SampleFormat { coding, bytes, big_endian })
    }
}

fn decoder(common: &Common, sound: &Chunk, input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let (container, channels, rate) = ("AIFF", common.channels, common.rate);
    check_header(channels, rate)?;
    // The chunk begins with the place of the first sample, and the size of blocks that nobody uses.
    let skipped = Fields::read(&input, sound.body, 4, true)?.u32(0);
    let (offset, before) = (sound.body + 8 + u64::from(skipped), 8 + u64::from(skipped));
    let found = input.length().saturating_sub(offset);
    let mut warnings = Vec::new();
    let mut stated = |frame_bytes: u64| {
        let length = u64::from(sound.length);
        if length < before && found > 0 || length > found + before && is_placeholder(sound.length) {
            return Stated::Unfinished;
        }
        let (length, frames) = (length - before.min(length), u64::from(common.frames));
        // In packets of ADPCM writers count as they like.
        let by_frames = frames * frame_bytes;
        if length.abs_diff(by_frames) >= frame_bytes && length <= found && common.coding != *b"ima4" {
            let text = format!(
                "its COMM chunk states {frames} samples, its SSND chunk holds {}",
                length / frame_bytes
            );
            warnings.push(Warning::new("length", text));
        }
        Stated::Bytes(length)
    };
    if common.coding == *b"ima4" {
        let (variant, block_bytes) = (Variant::ImaQuickTime, 34 * channels);
        let stated = stated(block_bytes as u64);
        let layout =
            AdpcmLayout { container, offset, stated, variant, block_bytes, channels, rate, warnings };
        return Ok(Box::new(Adpcm::open(input, layout)?));
    }
    let Some(format) = common.format() else {
        return Err(Problem::unsupported(format!("{} in AIFF-C", codec_name(&common.coding))));
    };
    if !(1..=8).contains(&format.bytes) {
        return Err(Problem::corrupt(format!("its header states samples of {} bit", common.bits)));
    }
    let stated = stated((channels * format.bytes) as u64);
    let bits = 8 * format.bytes;
    let valid_bits = if (1..bits).contains(&common.bits) { common.bits } else { bits } as u32;
    let layout = PcmLayout { container, offset, stated, format, valid_bits, channels, rate, warnings };
    Ok(Box::new(Pcm::open(input, layout)?))
}

/// The value of an extended float of 80 bits as an integer of 32: a sign, 15 bits of exponent, 64 of mantissa, whose
/// highest bit is the one before the point.
fn of_extended(exponent: u16, mantissa: u64) -> u32 {
    let value = mantissa as f64 * 2f64.powi(i32::from(exponent & 0x7fff) - 16_383 - 63);
    // Negative rates become 0. The conversion saturates.
    if exponent & 0x8000 != 0 { 0 } else { value.round() as u32 }
}

fn codec_name(coding: &[u8; 4]) -> String {
    let name = match coding {
        b"MAC3" | b"MAC6" => "MACE",
        b"ACE2" | b"ACE8" => "ACE",
        b"QDMC" | b"QDM2" => "QDesign Music",
        b"Qclp" => "Qualcomm PureVoice",
        b"agsm" | b"GSM " => "GSM 6.10",
        b"G722" => "G.722",
        b"dwvw" | b"DWVW" => "DWVW",
        b"ms\0\x11" => "IMA ADPCM",
        b"ADP4" => "Intel DVI ADPCM",
        _ => return format!("codec {:?}", String::from_utf8_lossy(coding)),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decode, kinds};
    use super::*;

    fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_vec();
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    }

    /// A COMM chunk @ 16 kHz: 1.953125 · 2¹³, the exponent being biased by 16,383.
    fn comm(channels: u16, frames: u32, bits: u16, coding: &[u8]) -> Vec<u8> {
        let mut body = channels.to_be_bytes().to_vec();
        body.extend(frames.to_be_bytes());
        body.extend(bits.to_be_bytes());
        body.extend(b"\x40\x0c\xfa\0\0\0\0\0\0\0");
        body.extend(coding);
        chunk(b"COMM", &body)
    }

    fn ssnd(samples: &[u8]) -> Vec<u8> {
        chunk(b"SSND", &[&[0; 8], samples].concat())
    }

    fn file(form: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
        [b"FORM\0\0\0\0", form.as_slice(), &chunks.concat()].concat()
    }

    fn heard(bytes: &[u8]) -> (Vec<f32>, Vec<&'static str>) {
        let mut decoder = open(Input::of_bytes(bytes)).unwrap();
        assert_eq!((decoder.info().format, decoder.info().rate), ("AIFF", 16_000));
        (decode(decoder.as_mut()).swap_remove(0), kinds(decoder.as_mut()))
    }

    fn refused(bytes: &[u8]) -> String {
        open(Input::of_bytes(bytes)).err().unwrap().to_string()
    }

    #[test]
    fn aiff_is_big_endian_and_left_justified() {
        assert_eq!(
            heard(&file(b"AIFF", &[comm(1, 2, 16, b""), ssnd(&[0x40, 0, 0xc0, 0])])),
            (vec![0.5, -0.5], vec![])
        );
        assert_eq!(heard(&file(b"AIFF", &[comm(1, 1, 12, b""), ssnd(&[0x40, 0])])).0, [0.5]);
        assert_eq!(heard(&file(b"AIFF", &[comm(1, 1, 8, b""), ssnd(&[0x40, 0])])).0[0], 0.5);
        // Chunks in any order.
        assert_eq!(
            heard(&file(b"AIFF", &[ssnd(&[0x40, 0]), chunk(b"NAME", b"odd"), comm(1, 1, 16, b"")])).0,
            [0.5]
        );
    }

    #[test]
    fn compression_types_that_do_not_compress_are_read() {
        let half = |coding: &[u8; 4], bits, samples: &[u8]| {
            let heard = heard(&file(b"AIFC", &[comm(1, 1, bits, coding), ssnd(samples)]));
            assert_eq!(heard, (vec![0.5], vec![]), "{coding:?}");
        };
        half(b"NONE", 16, &[0x40, 0]);
        half(b"twos", 16, &[0x40, 0]);
        half(b"sowt", 16, &[0, 0x40]);
        half(b"in24", 24, &[0x40, 0, 0]);
        half(b"42ni", 24, &[0, 0, 0x40]);
        half(b"in32", 32, &[0x40, 0, 0, 0]);
        half(b"raw ", 8, &[192]);
        half(b"fl32", 32, &0.5f32.to_be_bytes());
        half(b"FL32", 32, &0.5f32.to_be_bytes());
        half(b"fl64", 64, &0.5f64.to_be_bytes());
        let law = |coding: &[u8; 4], sample| {
            heard(&file(b"AIFC", &[comm(1, 1, 16, coding), ssnd(&[sample])])).0[0] * 32_768.0
        };
        assert_eq!(
            (law(b"ulaw", 0x80), law(b"ULAW", 0x80), law(b"alaw", 0xaa)),
            (32_124.0, 32_124.0, 32_256.0)
        );
        assert_eq!(heard(&file(b"AIFC", &[comm(1, 1, 16, b"ima4"), ssnd(&[0; 34])])).0.len(), 64);
        assert!(
            refused(&file(b"AIFC", &[comm(1, 1, 8, b"MAC6"), ssnd(&[0; 9])])).starts_with("MACE in AIFF-C")
        );
        assert!(
            refused(&file(b"AIFC", &[comm(1, 1, 8, b"abcd"), ssnd(&[0; 9])]))
                .starts_with("codec \"abcd\" in")
        );
    }

    #[test]
    fn samples_begin_at_the_offset_of_the_chunk() {
        let body = [&[0, 0, 0, 3, 0, 0, 0, 0][..], b"xyz", &[0x40, 0]].concat();
        assert_eq!(heard(&file(b"AIFF", &[comm(1, 1, 16, b""), chunk(b"SSND", &body)])), (vec![0.5], vec![]));
    }

    #[test]
    fn lengths_of_pipes_mean_all_that_follows() {
        for (frames, length) in [(0, 0u32), (0x3f80_0000, 0x7f00_0008), (u32::MAX, u32::MAX)] {
            let mut bytes = file(b"AIFF", &[comm(1, frames, 16, b""), ssnd(&[0x40, 0, 0x40, 0])]);
            let place = bytes.len() - 16;
            bytes[place..place + 4].copy_from_slice(&length.to_be_bytes());
            assert_eq!(heard(&bytes), (vec![0.5; 2], vec!["unfinished header"]), "{length:x}");
        }
    }

    #[test]
    fn wrong_lengths_are_warned_about_or_truncated() {
        // The chunks contradict each other.
        assert_eq!(
            heard(&file(b"AIFF", &[comm(1, 9, 16, b""), ssnd(&[0x40, 0])])),
            (vec![0.5], vec!["length"])
        );
        let mut bytes = file(b"AIFF", &[comm(1, 10_000, 16, b""), ssnd(&[0; 20_000])]);
        bytes.truncate(bytes.len() - 10_000);
        assert_eq!(refused(&bytes), "truncated: header promises 10000 samples, 5000 found; fetch it again");
    }

    #[test]
    fn bad_headers_are_named() {
        assert!(refused(&file(b"AIFF", &[ssnd(&[0; 4])])).contains("it ends before a COMM chunk"));
        assert!(refused(&file(b"AIFF", &[comm(1, 1, 16, b"")])).contains("it ends before a SSND chunk"));
        assert!(refused(&file(b"AIFF", &[comm(0, 1, 16, b""), ssnd(&[0; 4])])).contains("0 channels"));
        assert!(refused(&file(b"AIFF", &[comm(1, 1, 99, b""), ssnd(&[0; 4])])).contains("samples of 99 bit"));
        assert!(
            refused(&file(b"AIFC", &[comm(1, 1, 16, b""), ssnd(&[0; 4])]))
                .contains("COMM chunk has 18 bytes")
        );
        assert!(refused(&file(b"AIFF", &[comm(1, 1, 16, b""), ssnd(&[])])).contains("no samples"));
    }

    #[test]
    fn rates_are_extended_floats() {
        // 44100 = 1.345… · 2¹⁵; 22254.5454… is rounded; the largest saturates; negative ones are none.
        assert_eq!(of_extended(0x400e, 0xac44_0000_0000_0000), 44_100);
        assert_eq!(of_extended(0x400d, 0xaddd_1745_d145_d174), 22_255);
        assert_eq!(of_extended(0x7fff, u64::MAX), u32::MAX);
        assert_eq!(of_extended(0xc00e, 0xac44_0000_0000_0000), 0);
        assert_eq!(of_extended(0, 0), 0);
    }
}
