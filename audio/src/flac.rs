//! FLAC files, with a header that symphonia accepts.
//!
//! Symphonia takes the block sizes in STREAMINFO at their word: it refuses sizes below 16, and tells frames from chance
//! matches by whether the smallest size equals the largest. Encoders that write to a pipe leave zeros there, and others
//! write sizes that contradict their frames. So the sizes are replaced by those of the first frame before symphonia reads
//! them.

use super::decoder::{Decoder, Warning};
use super::error::Problem;
use super::input::Input;
use super::kind::Kind;
use super::packets::Packets;
use super::tags;

/// Where the smallest and the largest block size stand: after `fLaC` and the header of the first metadata block.
const SIZES: u64 = 8;

/// Most metadata blocks before the first frame.
const MOST_BLOCKS: usize = 4096;

/// Opens a FLAC file.
pub(crate) fn open(mut input: Input) -> Result<Box<dyn Decoder>, Problem> {
    // Symphonia recognizes a frame by what follows it, so that a tag would cost the last one.
    input = input.part(0, tags::end_of_sound(&input)?);
    let mut warning = None;
    let sizes = input.peek(SIZES, 4)?;
    if let (&[a, b, c, d], Some(frame)) = (sizes.as_slice(), first_frame(&input)?) {
        let (smallest, largest) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let (low, high) = match frame.fixed {
            true if largest >= 16 => (largest, largest),
            true => (frame.size, frame.size),
            false if largest > 16 => (16, largest),
            false => (16, u16::MAX),
        };
        if (smallest, largest) != (low, high) {
            input.patch(SIZES, [low.to_be_bytes(), high.to_be_bytes()].concat());
        }
        if smallest < 16 || largest < 16 {
            let text = format!("its header states blocks of {smallest} to {largest} samples");
            warning = Some(Warning::new("unfinished header", text));
        }
    }
    let packets = Packets::open(Kind::Flac, input)?;
    Ok(Box::new(packets.with_warning(warning)))
}

/// What the header of the first frame says.
struct FirstFrame {
    /// Whether all blocks have the same size, except the last.
    fixed: bool,
    /// Samples per channel in the frame.
    size: u16,
}

fn first_frame(input: &Input) -> Result<Option<FirstFrame>, Problem> {
    let mut position = 4;
    for _ in 0..MOST_BLOCKS {
        let Ok([kind, a, b, c]) = <[u8; 4]>::try_from(input.peek(position, 4)?) else { return Ok(None) };
        position += 4 + u64::from(u32::from_be_bytes([0, a, b, c]));
        if kind & 0x80 != 0 {
            return Ok(frame_header(&input.peek(position, 7)?));
        }
    }
    Ok(None)
}

/// Sync code of 14 bits, a zero, the strategy, the code of the block size. The number of the first frame is 0, in a byte.
fn frame_header(bytes: &[u8]) -> Option<FirstFrame> {
    let &[0xff, strategy @ (0xf8 | 0xf9), codes, _, 0, x, y] = bytes else { return None };
    let size = match codes >> 4 {
        1 => 192,
        code @ 2..=5 => 576 << (code - 2),
        6 => u16::from(x) + 1,
        7 => u16::from_be_bytes([x, y]).saturating_add(1),
        code @ 8..=15 => 256 << (code - 8),
        _ => return None,
    };
    Some(FirstFrame { fixed: strategy == 0xf8, size: size.max(16) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_are_read_from_the_first_frame() {
        let size = |codes, x, y| frame_header(&[0xff, 0xf8, codes, 0, 0, x, y]).map(|frame| frame.size);
        assert_eq!(size(0x10, 0, 0), Some(192));
        assert_eq!(size(0x50, 0, 0), Some(4608));
        assert_eq!(size(0xc0, 0, 0), Some(4096));
        assert_eq!(size(0x60, 99, 0), Some(100));
        assert_eq!(size(0x70, 0x0f, 0xff), Some(4096));
        assert_eq!(size(0x00, 0, 0), None);
        assert!(!frame_header(&[0xff, 0xf9, 0xc0, 0, 0, 0, 0]).unwrap().fixed);
        assert!(frame_header(b"no frame").is_none());
    }

    #[test]
    fn a_file_without_block_sizes_is_heard_as_with_them() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/audio/formats/stereo_22k.flac");
        let whole = std::fs::read(path).unwrap();
        let mut without = whole.clone();
        without[8..12].fill(0);
        let heard = |bytes| crate::load_bytes("a.flac".as_ref(), bytes, &crate::Hearing::default()).unwrap();
        let (whole, without) = (heard(whole), heard(without));
        assert_eq!(whole.samples, without.samples);
        assert!(whole.warnings.is_empty());
        assert_eq!(without.warnings[0].kind, "unfinished header");
    }
}
