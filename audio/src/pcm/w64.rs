//! Sony Wave64: WAV with lengths of 64 bits, and GUIDs for ids.

use super::super::decoder::Decoder;
use super::super::error::Problem;
use super::super::input::Input;
use super::Stated;
use super::chunks::Fields;
use super::place::Place;
use super::wave_format::{FORMAT_BYTES, WaveFormat};

/// What the ids of all chunks but the first end with, after the four characters of RIFF.
const GUID_END: &[u8] = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";

/// Bytes of the id and the length of a chunk, which the length includes.
const HEADER: u64 = 24;

/// Most chunks that are looked at.
const MAX_CHUNKS: usize = 10_000;

pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let (mut format, mut fact) = (None, None);
    // After the id and the length of the file, and the id `wave`.
    let mut position = HEADER + 16;
    for _ in 0..MAX_CHUNKS {
        let header = Fields::read(&input, position, HEADER as usize, false)?;
        if header.bytes.len() < HEADER as usize {
            break;
        }
        let (body, length) = (position + HEADER, header.u64(16));
        let known = header.bytes[4..16] == *GUID_END;
        match &header.bytes[..4] {
            b"fmt " if known => {
                let length = length.saturating_sub(HEADER);
                let fields = Fields::read(&input, body, length.min(FORMAT_BYTES as u64) as usize, false)?;
                format = Some(WaveFormat::parse(&fields, length)?);
            }
            b"fact" if known => fact = Some(Fields::read(&input, body, 8, false)?.u64(0)),
            b"data" if known => {
                let Some(format) = format else {
                    return Err(Problem::corrupt("its data chunk comes before its fmt chunk"));
                };
                let rest = input.length() - body;
                let stated = match length {
                    0 | HEADER if rest > 0 => Stated::Unfinished,
                    length if length > i64::MAX as u64 / 2 => Stated::Unfinished,
                    length if length < HEADER => {
                        return Err(Problem::corrupt(format!(
                            "its data chunk states a length of {length} bytes"
                        )));
                    }
                    length => Stated::Bytes(length - HEADER),
                };
                let place = Place { container: "Wave64", offset: body, stated, fact, warnings: Vec::new() };
                return format.decoder(input, place);
            }
            _ => {}
        }
        // Chunks begin at multiples of 8.
        let end = position.saturating_add(length.max(HEADER)).checked_next_multiple_of(8);
        match end {
            Some(end) if end < input.length() => position = end,
            _ => break,
        }
    }
    let what = if format.is_some() { "data" } else { "fmt" };
    Err(Problem::corrupt(format!("it ends before a {what} chunk")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decode, kinds};
    use super::*;

    fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = [id, GUID_END].concat();
        bytes.extend((body.len() as u64 + HEADER).to_le_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// A file of 16-bit mono with three samples, and where the length of its data chunk is.
    fn file() -> (Vec<u8>, usize) {
        let mut bytes = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00".to_vec();
        bytes.extend([0; 8]);
        bytes.extend([b"wave".as_slice(), GUID_END].concat());
        bytes.extend(chunk(b"junk", b"odd"));
        bytes.extend(chunk(b"fmt ", b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0\0\0"));
        bytes.extend(chunk(b"data", &[0, 0x40, 0, 0xc0, 0, 0]));
        bytes.truncate(bytes.len() - 2);
        let place = bytes.len() - 14;
        (bytes, place)
    }

    #[test]
    fn chunks_are_found_at_multiples_of_eight() {
        let mut decoder = open(Input::of_bytes(file().0)).unwrap();
        assert_eq!((decoder.info().format, decoder.info().rate), ("Wave64", 16_000));
        assert_eq!((decode(decoder.as_mut()), kinds(decoder.as_mut())), (vec![vec![0.5, -0.5, 0.0]], vec![]));
    }

    #[test]
    fn unfinished_lengths_mean_all_that_follows() {
        for length in [0, 24, i64::MAX as u64 - 27, u64::MAX] {
            let (mut bytes, place) = file();
            bytes[place..place + 8].copy_from_slice(&length.to_le_bytes());
            let mut decoder = open(Input::of_bytes(bytes)).unwrap();
            assert_eq!(
                (decoder.info().frames, kinds(decoder.as_mut())),
                (Some(3), vec!["unfinished header"])
            );
        }
    }

    #[test]
    fn a_length_less_than_its_own_header_is_corrupt() {
        let (mut bytes, place) = file();
        bytes[place] = 23;
        let problem = open(Input::of_bytes(bytes)).err().unwrap().to_string();
        assert!(problem.contains("its data chunk states a length of 23 bytes"), "{problem}");
    }

    #[test]
    fn a_cut_header_is_corrupt() {
        let (bytes, place) = file();
        for (length, missing) in [(41, "fmt"), (place - 1, "data")] {
            let problem = open(Input::of_bytes(&bytes[..length])).err().unwrap().to_string();
            assert!(problem.contains(&format!("it ends before a {missing} chunk")), "{problem}");
        }
    }
}
