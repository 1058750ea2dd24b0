//! Matroska and WebM files, of which symphonia would say less.

use std::io;

use super::decoder::Decoder;
use super::error::Problem;
use super::input::Input;
use super::kind::Kind;
use super::packets::Packets;

const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];

/// Where the settings of a track are looked for, in bytes.
const LOOKED_AT: usize = 1 << 16;

/// Opens a Matroska file.
pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    if let Some((promised, found)) = segment(&input)?
        // A few bytes less are a matter of how the file was closed.
        && promised > found + found / 100
    {
        let what = format!("it is truncated: its segment promises {promised} bytes, {found} found");
        return Err(Problem::corrupt(what));
    }
    if compresses(&input.peek(0, LOOKED_AT)?) {
        return Err(Problem::unsupported("Matroska with tracks that are compressed by zlib"));
    }
    Ok(Box::new(Packets::open(Kind::Matroska, input)?))
}

/// The length in bytes that the segment states, and that it has.
fn segment(input: &Input) -> io::Result<Option<(u64, u64)>> {
    let head = input.peek(0, 128)?;
    let Some((header, width)) = head.get(4..).and_then(number) else { return Ok(None) };
    let at = 4 + width as u64 + header;
    let segment = input.peek(at, 12)?;
    let Some(rest) = segment.strip_prefix(&SEGMENT[..]) else { return Ok(None) };
    let Some((promised, width)) = number(rest) else { return Ok(None) };
    Ok(Some((promised, input.length().saturating_sub(at + 4 + width as u64))))
}

/// A number of EBML: its first byte tells its width, by the position of the first bit that is set. All other bits set mean
/// that the number is unknown.
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let width = first.leading_zeros() as usize + 1;
    let value = bytes.get(..width)?.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let bits = 7 * width as u32;
    let value = value & ((1 << bits) - 1);
    (value != (1 << bits) - 1).then_some((value, width))
}

/// Whether a track has ContentCompression whose algorithm, 0 if it is not written, is zlib. Symphonia knows algorithm 3
/// alone.
fn compresses(head: &[u8]) -> bool {
    const COMPRESSION: [u8; 2] = [0x50, 0x34];
    const ENCODINGS: [u8; 2] = [0x6d, 0x80];
    let Some(encodings) = head.windows(2).position(|window| window == ENCODINGS) else { return false };
    let near = &head[encodings..head.len().min(encodings + 64)];
    let Some(compression) = near.windows(2).position(|window| window == COMPRESSION) else { return false };
    let algorithm = near[compression..].windows(4).find(|window| window[..3] == [0x42, 0x54, 0x81]);
    algorithm.is_none_or(|window| window[3] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_is_cut_off_is_truncated() {
        assert_eq!(number(&[0x81]), Some((1, 1)));
        assert_eq!(number(&[0x40, 0x02]), Some((2, 2)));
        assert_eq!(number(&[0x01, 0, 0, 0, 0, 0, 1, 0]), Some((256, 8)));
        assert_eq!([number(&[0xff]), number(&[0x40]), number(&[0])], [None, None, None]);
        // A header of no bytes, and a segment of 1000 bytes of which 10 are there.
        let file = [&[0x1a, 0x45, 0xdf, 0xa3, 0x80][..], &SEGMENT, &[0x43, 0xe8], &[0; 10]].concat();
        let error = open(Input::of_bytes(file)).err().unwrap().to_string();
        assert!(error.contains("its segment promises 1000 bytes, 10 found"), "{error}");
    }

    #[test]
    fn tracks_compressed_by_zlib_are_told_from_stripped_headers() {
        // Compression, its algorithm left out, of a track; and algorithm 3, header stripping.
        assert!(compresses(&[0x6d, 0x80, 0x8a, 0x62, 0x40, 0x87, 0x50, 0x34, 0x80]));
        assert!(!compresses(&[0x6d, 0x80, 0x8a, 0x62, 0x40, 0x87, 0x50, 0x34, 0x84, 0x42, 0x54, 0x81, 3]));
        assert!(!compresses(b"no such track"));
    }
}
