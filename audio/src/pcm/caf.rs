//! Apple's Core Audio Format: big-endian chunks with lengths of 64 bits, `desc` first.
//!
//! PCM, G.711 and IMA ADPCM are read here, other codecs by symphonia.

use super::super::decoder::Decoder;
use super::super::error::Problem;
use super::super::input::Input;
use super::super::kind::Kind;
use super::super::packets::Packets;
use super::adpcm::{Adpcm, AdpcmLayout, Variant};
use super::chunks::Fields;
use super::{Coding, Pcm, PcmLayout, SampleFormat, Stated, check_header};

/// Bytes of the header of the file, and of a chunk.
const FILE_HEADER: u64 = 8;
const CHUNK_HEADER: u64 = 12;

/// Most chunks that are looked at.
const MAX_CHUNKS: usize = 10_000;

/// What the `desc` chunk says.
struct Description {
    rate: u32,
    codec: [u8; 4],
    flags: u32,
    /// Bytes of a packet of all channels; of linear PCM, of a frame.
    packet_bytes: u32,
    channels: usize,
    bits: usize,
}

pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let description = Description::read(&input)?;
    match &description.codec {
        b"lpcm" | b"ulaw" | b"alaw" | b"ima4" => {
            check_header(description.channels, description.rate)?;
            let (offset, stated) = find_data(&input)?;
            description.decoder(input, offset, stated)
        }
        _ => Ok(Box::new(Packets::open(Kind::Caf, input)?)),
    }
}

impl Description {
    fn read(input: &Input) -> Result<Self, Problem> {
        let chunk = Fields::read(input, FILE_HEADER, CHUNK_HEADER as usize + 32, true)?;
        let Some((b"desc", _)) = chunk.bytes.split_first_chunk().filter(|_| chunk.bytes.len() == 44) else {
            return Err(Problem::corrupt("its desc chunk is missing"));
        };
        // The conversion saturates.
        let rate = f64::from_bits(chunk.u64(12)).round() as u32;
        let codec = [chunk.bytes[20], chunk.bytes[21], chunk.bytes[22], chunk.bytes[23]];
        Ok(Self {
            rate,
            codec,
            flags: chunk.u32(24),
            packet_bytes: chunk.u32(28),
            channels: chunk.u32(36) as usize,
            bits: chunk.u32(40) as usize,
        })
    }

    fn decoder(&self, input: Input, offset: u64, stated: Stated) -> Result<Box<dyn Decoder>, Problem> {
        let (container, channels, rate, warnings) = ("CAF", self.channels, self.rate, Vec::new());
        if self.codec == *b"ima4" {
            let (variant, block_bytes) = (Variant::ImaQuickTime, 34 * channels);
            let layout =
                AdpcmLayout { container, offset, stated, variant, block_bytes, channels, rate, warnings };
            return Ok(Box::new(Adpcm::open(input, layout)?));
        }
        let format = self.format()?;
        let bits = 8 * format.bytes;
        let valid_bits = if (1..bits).contains(&self.bits) { self.bits } else { bits } as u32;
        let layout = PcmLayout { container, offset, stated, format, valid_bits, channels, rate, warnings };
        Ok(Box::new(Pcm::open(input, layout)?))
    }

    fn format(&self) -> Result<SampleFormat, Problem> {
        const FLOAT: u32 = 1;
        const LITTLE_ENDIAN: u32 = 2;
        let big_endian = self.flags & LITTLE_ENDIAN == 0;
        let (coding, bytes) = match &self.codec {
            b"ulaw" => (Coding::MuLaw, 1),
            b"alaw" => (Coding::ALaw, 1),
            _ => {
                let bytes = self.packet_bytes as usize / self.channels;
                let float = self.flags & FLOAT != 0;
                let possible = if float { matches!(bytes, 4 | 8) } else { (1..=8).contains(&bytes) };
                if !possible || bytes * self.channels != self.packet_bytes as usize || self.bits > 8 * bytes {
                    return Err(Problem::corrupt(format!(
                        "its header states {} bytes per frame for {} channels of {} bit",
                        self.packet_bytes, self.channels, self.bits
                    )));
                }
                (if float { Coding::Float } else { Coding::Signed }, bytes)
            }
        };
        Ok(SampleFormat { coding, bytes, big_endian })
    }
}

/// Where the samples begin, and how long they are.
fn find_data(input: &Input) -> Result<(u64, Stated), Problem> {
    let mut position = FILE_HEADER;
    for _ in 0..MAX_CHUNKS {
        let header = Fields::read(input, position, CHUNK_HEADER as usize, true)?;
        if header.bytes.len() < CHUNK_HEADER as usize {
            break;
        }
        let (body, length) = (position + CHUNK_HEADER, header.u64(4));
        if header.bytes.starts_with(b"data") {
            // The samples are preceded by a count of edits.
            let found = input.length().saturating_sub(body + 4);
            let stated = match length {
                u64::MAX => Stated::ToEnd,
                0 if found > 0 => Stated::Unfinished,
                length => Stated::Bytes(length.saturating_sub(4)),
            };
            return Ok((body + 4, stated));
        }
        match body.checked_add(length) {
            Some(end) if end < input.length() => position = end,
            _ => break,
        }
    }
    Err(Problem::corrupt("it ends before a data chunk"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decode, kinds};
    use super::*;

    fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [id, (body.len() as u64).to_be_bytes().as_slice(), body].concat()
    }

    fn desc(codec: &[u8; 4], numbers: [u32; 5]) -> Vec<u8> {
        let rate = 8_000f64.to_be_bytes();
        chunk(b"desc", &[&rate, codec.as_slice(), &numbers.map(u32::to_be_bytes).concat()].concat())
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        [b"caff\0\x01\0\0".as_slice(), &chunks.concat()].concat()
    }

    fn data(samples: &[u8]) -> Vec<u8> {
        chunk(b"data", &[&[0; 4], samples].concat())
    }

    fn heard(bytes: &[u8]) -> (Vec<f32>, Vec<&'static str>) {
        let mut decoder = open(Input::of_bytes(bytes)).unwrap();
        assert_eq!((decoder.info().format, decoder.info().rate), ("CAF", 8_000));
        (decode(decoder.as_mut()).swap_remove(0), kinds(decoder.as_mut()))
    }

    fn refused(bytes: &[u8]) -> String {
        open(Input::of_bytes(bytes)).err().unwrap().to_string()
    }

    #[test]
    fn linear_pcm_has_a_byte_order_and_a_kind_in_its_flags() {
        let half = |flags, sample: &[u8]| {
            let bytes = sample.len() as u32;
            let desc = desc(b"lpcm", [flags, bytes, 1, 1, 8 * bytes]);
            let file = file(&[desc, chunk(b"free", &[0; 9]), data(sample)]);
            assert_eq!(heard(&file), (vec![0.5], vec![]), "{flags} {bytes}");
        };
        half(0, &[0x40]);
        half(0, &[0x40, 0]);
        half(2, &[0, 0x40]);
        half(0, &[0x40, 0, 0]);
        half(2, &[0, 0, 0, 0x40]);
        half(1, &0.5f32.to_be_bytes());
        half(3, &0.5f32.to_le_bytes());
        half(3, &0.5f64.to_le_bytes());
    }

    #[test]
    fn g711_and_ima_are_read() {
        let law =
            |codec, sample| heard(&file(&[desc(codec, [0, 1, 1, 1, 8]), data(&[sample])])).0[0] * 32_768.0;
        assert_eq!((law(b"ulaw", 0x80), law(b"alaw", 0xaa)), (32_124.0, 32_256.0));
        assert_eq!(heard(&file(&[desc(b"ima4", [0, 34, 64, 1, 0]), data(&[0; 68])])).0.len(), 128);
    }

    #[test]
    fn data_of_unknown_length_goes_on_to_the_end() {
        let with_length = |length: u64| {
            let mut bytes = file(&[desc(b"lpcm", [0, 2, 1, 1, 16]), data(&[0x40, 0, 0x40, 0])]);
            let place = bytes.len() - 16;
            bytes[place..place + 8].copy_from_slice(&length.to_be_bytes());
            bytes
        };
        assert_eq!(heard(&with_length(u64::MAX)), (vec![0.5; 2], vec![]));
        assert_eq!(heard(&with_length(0)), (vec![0.5; 2], vec!["unfinished header"]));
        assert_eq!(heard(&with_length(10)), (vec![0.5; 2], vec!["length"]));
        assert!(refused(&with_length(1 << 61)).contains("promises 1152921504606846974 samples, 2 found"));
    }

    #[test]
    fn bad_headers_are_named() {
        assert!(refused(&file(&[data(&[0; 2])])).contains("its desc chunk is missing"));
        assert!(refused(&file(&[desc(b"lpcm", [0, 2, 1, 1, 16])])).contains("it ends before a data chunk"));
        assert!(
            refused(&file(&[desc(b"lpcm", [0, 3, 1, 2, 16]), data(&[0; 6])]))
                .contains("3 bytes per frame for 2")
        );
        assert!(
            refused(&file(&[desc(b"lpcm", [1, 2, 1, 1, 16]), data(&[0; 6])]))
                .contains("2 bytes per frame for 1")
        );
        assert!(refused(&file(&[desc(b"lpcm", [0, 2, 1, 0, 16]), data(&[0; 6])])).contains("0 channels"));
        let endless = chunk(b"free", &[]);
        let endless = [&endless[..4], &[0x7f; 8]].concat();
        assert!(
            refused(&file(&[desc(b"ulaw", [0, 1, 1, 1, 8]), endless]))
                .contains("it ends before a data chunk")
        );
    }
}
