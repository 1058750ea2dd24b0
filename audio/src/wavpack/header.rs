//! The header of a WavPack block: 32 bytes, little endian.

use std::io;

use super::super::input::Input;

pub(super) const HEADER_BYTES: usize = 32;

/// Bytes of a file that are searched at once.
const SEARCHED: usize = 1 << 16;

/// Most bytes of a block; encoders write far smaller ones.
const MOST_BYTES: u64 = 32 << 20;

/// What is read of a header.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    /// Length of the block in bytes, with its header.
    pub bytes: u64,
    /// Samples per channel in the file; `None` where the encoder did not know it.
    pub total: Option<u64>,
    /// Number of its first sample.
    pub index: u64,
    /// Samples per channel in it; 0 for a block that holds only notes.
    pub frames: u64,
    flags: u32,
}

impl Header {
    /// Reads the header at a position; `None` if there is none.
    pub fn read(input: &Input, position: u64) -> io::Result<Option<Self>> {
        Ok(Self::parse(&input.peek(position, HEADER_BYTES)?))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        // The versions are 0x402 to 0x410; a size counts from the ninth byte.
        let length = 8 + u64::from(number(4));
        if !bytes.starts_with(b"wvpk") || bytes[9] != 4 || length < HEADER_BYTES as u64 || length > MOST_BYTES
        {
            return None;
        }
        // Of 40 bits, the upper 8 are elsewhere.
        let total = match number(12) {
            u32::MAX => None,
            low => Some((u64::from(bytes[11]) << 32) + u64::from(low) - u64::from(bytes[11])),
        };
        let index = u64::from(bytes[10]) << 32 | u64::from(number(16));
        Some(Self { bytes: length, total, index, frames: number(20).into(), flags: number(24) })
    }

    pub fn channels(&self) -> usize {
        if self.flags & 4 != 0 { 1 } else { 2 }
    }

    pub fn is_float(&self) -> bool {
        self.flags & 0x80 != 0
    }

    /// The value of a sample at full scale.
    pub fn full_scale(&self) -> f32 {
        let bits = 8 * (1 + (self.flags & 3));
        (1u64 << (bits - 1)) as f32
    }

    /// Whether no block of other channels follows.
    pub fn is_final(&self) -> bool {
        self.flags & 0x1000 != 0
    }

    pub fn is_dsd(&self) -> bool {
        self.flags & 0x8000_0000 != 0
    }
}

/// Where the next block begins, at `position` or after it.
pub(super) fn find(input: &Input, mut position: u64) -> io::Result<Option<u64>> {
    loop {
        let bytes = input.peek(position, SEARCHED + HEADER_BYTES)?;
        let found = bytes.windows(HEADER_BYTES).position(|window| Header::parse(window).is_some());
        match found {
            Some(at) => return Ok(Some(position + at as u64)),
            None if bytes.len() < SEARCHED + HEADER_BYTES => return Ok(None),
            None => position += SEARCHED as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(total: u32) -> Vec<u8> {
        let mut bytes = b"wvpk".to_vec();
        bytes.extend(100u32.to_le_bytes());
        bytes.extend([0x10, 4, 1, 2]);
        [total, 7, 22_050, 0x1889, 0].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_header_is_read_with_indices_of_40_bits() {
        let read = Header::parse(&header(1000)).unwrap();
        assert_eq!((read.bytes, read.frames, read.index), (108, 22_050, (1 << 32) + 7));
        // WavPack skips the totals whose lower 32 bits are all ones, which stand for none.
        assert_eq!(read.total, Some((2 << 32) + 1000 - 2));
        assert_eq!(Header::parse(&header(u32::MAX)).unwrap().total, None);
        assert_eq!(
            (read.channels(), read.is_float(), read.is_final(), read.is_dsd()),
            (2, true, true, false)
        );
        assert_eq!(read.full_scale(), 32_768.0);
        assert_eq!(Header::parse(&header(0)[..31]), None);
    }

    #[test]
    fn a_block_is_found_across_the_searched_parts() {
        for before in [0, 1, SEARCHED - 1, SEARCHED, SEARCHED + 17, 3 * SEARCHED] {
            let bytes = [vec![b'w'; before], header(1)].concat();
            assert_eq!(find(&Input::of_bytes(bytes), 0).unwrap(), Some(before as u64));
        }
        assert_eq!(find(&Input::of_bytes(b"wvpk".repeat(50_000)), 0).unwrap(), None);
    }
}
