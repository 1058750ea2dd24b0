//! What a WAV file's header says about its length, read before decoding.
//!
//! Symphonia believes the header: a file cut short would lose its end without a word, and one written to a pipe, whose
//! lengths are placeholders, would lose its last packet.

use super::AudioError;
use std::path::Path;

/// Lengths from here on are placeholders of writers that could not seek back: ffmpeg's is 2³² − 1, sox's 2³¹ − 4097 or
/// thereabouts. No audio clip is 2 GiB long.
const PLACEHOLDER: u32 = 0x7fff_0000;

/// Checks that the data chunk is all there, and replaces placeholder lengths by the real ones.
///
/// Leaves alone what is not a WAV file, or not well-formed enough to say: decoding will.
///
/// # Errors
/// [`AudioError::Truncated`] when the data chunk is longer than the rest of the file.
pub(super) fn check_length(path: &Path, bytes: &mut [u8]) -> Result<(), AudioError> {
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Ok(());
    }
    let unfinished = matches!(u32_at(bytes, 4), Some(0 | PLACEHOLDER..));
    let mut frame_bytes = 1;
    let mut frames_per_block = 1;
    let mut position = 12usize;
    while let (Some(id), Some(length)) = (bytes.get(position..position + 4), u32_at(bytes, position + 4)) {
        let body = position + 8;
        let rest = bytes.len() - body;
        match id {
            b"fmt " => {
                frame_bytes = u64::from(u16_at(bytes, body + 12).unwrap_or(1).max(1));
                // ADPCM packs many samples into a block and says how many after the common fields.
                if matches!(u16_at(bytes, body), Some(0x0002 | 0x0011)) {
                    frames_per_block = u64::from(u16_at(bytes, body + 18).unwrap_or(1).max(1));
                }
            }
            b"data" => {
                if length >= PLACEHOLDER || (length == 0 && unfinished) {
                    set_u32(bytes, position + 4, rest);
                } else if u64::from(length) > rest as u64 {
                    let frames = |bytes: u64| bytes / frame_bytes * frames_per_block;
                    let (promised, found) = (frames(u64::from(length)), frames(rest as u64));
                    return Err(AudioError::Truncated { path: path.into(), promised, found });
                }
                let outer = bytes.len() - 8;
                set_u32(bytes, 4, outer);
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

fn u16_at(bytes: &[u8], position: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(position..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(position..)?.first_chunk()?))
}

fn set_u32(bytes: &mut [u8], position: usize, value: usize) {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    bytes[position..position + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of 44 bytes for 16-bit stereo, and `found` bytes of data.
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
            // 4 bytes per stereo sample.
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
