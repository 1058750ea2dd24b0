//! The length that the header of a WAV or AIFF file states, checked and corrected before the file is decoded.
//!
//! Symphonia relies on the header. Without this check, a file that was cut short would lose its end silently, and a
//! file that was written to a pipe, whose lengths are placeholders, would lose its last packet.

use std::path::Path;

use super::error::AudioError;

/// Smallest length that is a placeholder. A program that cannot seek back to write the length writes 2³² − 1 (ffmpeg)
/// or about 2³¹ − 4097 (sox). No audio clip is 2 GiB long.
const PLACEHOLDER: u32 = 0x7fff_0000;

/// Checks that the file holds all samples that its header states, and replaces placeholder lengths with the real ones.
/// Fails with [`AudioError::Truncated`] if the chunk of samples is longer than the rest of the file.
///
/// Files that are neither WAV nor AIFF, or that are malformed, pass unchanged; the decoder reports what
/// is wrong with them.
pub(super) fn check_length(path: &Path, bytes: &mut [u8]) -> Result<(), AudioError> {
    let order = match (bytes.get(..4), bytes.get(8..12)) {
        (Some(b"RIFF"), Some(b"WAVE")) => Order::Little,
        (Some(b"FORM"), Some(b"AIFF" | b"AIFC")) => Order::Big,
        _ => return Ok(()),
    };
    let unfinished = matches!(order.u32_at(bytes, 4), Some(0 | PLACEHOLDER..));
    let mut layout = Layout { frames: 1, bytes: 1, preamble: 0 };
    let mut position = 12usize;
    while let (Some(id), Some(length)) =
        (bytes.get(position..position + 4), order.u32_at(bytes, position + 4))
    {
        let body = position + 8;
        let rest = bytes.len() - body;
        match id {
            b"fmt " => layout = Layout::of_wav(bytes, body),
            b"COMM" => layout = Layout::of_aiff(bytes, body),
            b"data" | b"SSND" => {
                if length >= PLACEHOLDER || (length == 0 && unfinished) {
                    order.set_u32(bytes, position + 4, rest);
                } else if length as usize > rest {
                    let (promised, found) = (layout.frames_in(length as usize), layout.frames_in(rest));
                    return Err(AudioError::Truncated { path: path.into(), promised, found });
                }
                let outer = bytes.len() - 8;
                order.set_u32(bytes, 4, outer);
                return Ok(());
            }
            _ => {}
        }
        // Chunks begin at even positions.
        position = body.saturating_add(length as usize).saturating_add(length as usize & 1);
        if position > bytes.len() {
            return Ok(());
        }
    }
    Ok(())
}

/// How samples are stored in a chunk: blocks of `bytes` bytes that hold `frames` samples per channel each.
struct Layout {
    frames: u64,
    bytes: u64,
    /// Bytes of the chunk that precede its first block.
    preamble: u64,
}

impl Layout {
    fn of_wav(bytes: &[u8], body: usize) -> Self {
        let field =
            |offset| Order::Little.u16_at(bytes, body + offset).map_or(1, |value| u64::from(value.max(1)));
        // ADPCM packs many samples into a block; their number follows the common fields.
        let adpcm = matches!(field(0), 0x0002 | 0x0011);
        Self { frames: if adpcm { field(18) } else { 1 }, bytes: field(12), preamble: 0 }
    }

    fn of_aiff(bytes: &[u8], body: usize) -> Self {
        let field =
            |offset| Order::Big.u16_at(bytes, body + offset).map_or(1, |value| u64::from(value.max(1)));
        Self { frames: 1, bytes: field(0) * field(6).div_ceil(8), preamble: 8 }
    }

    /// Samples per channel in a chunk of `length` bytes.
    fn frames_in(&self, length: usize) -> u64 {
        (length as u64).saturating_sub(self.preamble) / self.bytes * self.frames
    }
}

/// Byte order: RIFF files are little-endian, AIFF files big-endian.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16_at(self, bytes: &[u8], position: usize) -> Option<u16> {
        let field = *bytes.get(position..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(field),
            Self::Big => u16::from_be_bytes(field),
        })
    }

    fn u32_at(self, bytes: &[u8], position: usize) -> Option<u32> {
        let field = *bytes.get(position..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(field),
            Self::Big => u32::from_be_bytes(field),
        })
    }

    fn set_u32(self, bytes: &mut [u8], position: usize, value: usize) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        let field = match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        };
        bytes[position..position + 4].copy_from_slice(&field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV file with a header of 44 bytes for 16-bit stereo, and `found` bytes of samples.
    fn wav(riff_length: u32, data_length: u32, found: usize) -> Vec<u8> {
        let mut bytes = Vec::from(b"RIFF");
        bytes.extend(riff_length.to_le_bytes());
        bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0\x80\x3e\0\0\0\xfa\0\0\x04\0\x10\0data");
        bytes.extend(data_length.to_le_bytes());
        bytes.resize(44 + found, 1);
        bytes
    }

    #[test]
    fn a_data_chunk_longer_than_the_file_is_truncated() {
        let error = check_length(Path::new("a.wav"), &mut wav(436, 400, 100)).unwrap_err();
        assert_eq!(
            error.to_string(),
            // A stereo sample has 4 bytes: 400 and 100 bytes are 100 and 25 samples.
            "a.wav: truncated: header promises 100 samples, 25 found; fetch it again"
        );
    }

    #[test]
    fn a_complete_file_passes_unchanged() {
        let mut bytes = wav(436, 400, 400);
        check_length(Path::new("a.wav"), &mut bytes).unwrap();
        assert_eq!(bytes, wav(436, 400, 400));
    }

    #[test]
    fn placeholder_lengths_become_the_real_ones() {
        for (riff, data) in [(u32::MAX, u32::MAX), (0x7fff_f024, 0x7fff_f000), (0, 0)] {
            let mut bytes = wav(riff, data, 400);
            check_length(Path::new("a.wav"), &mut bytes).unwrap();
            assert_eq!(bytes, wav(436, 400, 400));
        }
    }

    #[test]
    fn other_bytes_are_left_alone() {
        for bytes in [
            &b""[..],
            b"RIFF",
            b"RIFF\x04\0\0\0WAVE",
            b"RIFF\xff\xff\xff\xffWAVEdat",
            b"fLaC\0\0\0\0\0\0\0\0\0",
        ] {
            let mut copy = bytes.to_vec();
            check_length(Path::new("a"), &mut copy).unwrap();
            assert_eq!(copy, bytes);
        }
    }
}
