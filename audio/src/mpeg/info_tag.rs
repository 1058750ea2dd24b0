//! The first frame of many MP3 files, which is no sound: a Xing, Info or VBRI header with the length of the file.
//!
//! LAME writes into it how many samples of delay and padding the file has. What is cut because of them is what ffmpeg
//! cuts (libavformat/mp3dec.c), so that both hear the same.

use super::super::elementary::{Coded, Trim};
use super::header::Header;

/// Samples by which a decoder is late, in addition to the encoder's own delay.
const DECODER_DELAY: u64 = 528 + 1;

/// Position of a VBRI header in its frame.
const VBRI_AT: usize = 4 + 32;

/// What the first frame of a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct InfoTag {
    /// Whether the frame is only there for the tag.
    pub is_silent: bool,
    /// MPEG frames in the file, this one not counted.
    pub frames: Option<u64>,
    /// Bytes of the file, from this frame on.
    pub bytes: Option<u64>,
    pub trim: Trim,
}

impl InfoTag {
    /// Reads a frame, after whose start `rest` bytes are there.
    pub fn read(header: &Header, frame: &[u8], rest: u64) -> Self {
        if header.layer != 3 {
            return Self::default();
        }
        let tag = Self::xing(header, frame, rest).or_else(|| Self::vbri(frame));
        tag.unwrap_or_default()
    }

    fn xing(header: &Header, frame: &[u8], rest: u64) -> Option<Self> {
        // The checksum of a protected frame does not move it.
        let mut bytes = frame.get(4 + header.side_information()..)?;
        if !bytes.starts_with(b"Xing") && !bytes.starts_with(b"Info") {
            return None;
        }
        let mut take = |count: usize| {
            let (taken, left) = bytes.split_at_checked(count)?;
            bytes = left;
            Some(taken)
        };
        let flags = number(take(8)?.get(4..)?);
        let frames = if flags & 1 != 0 { Some(number(take(4)?)) } else { None }.filter(|&frames| frames > 0);
        let length = if flags & 2 != 0 { Some(number(take(4)?)) } else { None }.filter(|&bytes| bytes > 0);
        // The table of contents, and the quality.
        take(if flags & 4 != 0 { 100 } else { 0 } + if flags & 8 != 0 { 4 } else { 0 })?;
        // The header of the first of several joined files counts only that one's frames.
        let is_joined = length.is_some_and(|length| rest > length && rest - length > length >> 4);
        let counted = frames.filter(|_| !is_joined);
        let trim = take(24).and_then(|lame| lame_trim(lame, counted.map(|frames| frames * header.samples())));
        Some(Self {
            is_silent: frames.is_some() || length.is_some(),
            frames: counted,
            bytes: length,
            trim: trim.unwrap_or_default(),
        })
    }

    fn vbri(frame: &[u8]) -> Option<Self> {
        let bytes = frame.get(VBRI_AT..VBRI_AT + 18)?;
        // The version is 1; delay and quality follow.
        (bytes.starts_with(b"VBRI\0\x01")).then(|| Self {
            is_silent: true,
            bytes: Some(number(&bytes[10..14])),
            frames: Some(number(&bytes[14..18])),
            trim: Trim::default(),
        })
    }
}

/// The delay and padding in LAME's part of a header, for a file of so many samples. Other encoders write other things
/// there.
fn lame_trim(lame: &[u8], samples: Option<u64>) -> Option<Trim> {
    if ![b"LAME", b"Lavf", b"Lavc"].iter().any(|name| lame.starts_with(*name)) {
        return None;
    }
    let both = number(lame.get(21..24)?);
    let (delay, padding) = (both >> 12, both & 0xfff);
    // The decoder's delay moves the sound into the padding.
    let padding = samples
        .map_or(0..0, |samples| samples.saturating_sub(padding.saturating_sub(DECODER_DELAY))..samples);
    Some(Trim { start: delay + DECODER_DELAY, padding })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::super::super::frames::Header as _;
    use super::*;

    const MONO: [u8; 4] = [0xff, 0xfb, 0x90, 0xc4];

    /// A mono frame at 44.1 kHz with a Xing header of 100 frames and 40,000 bytes.
    fn frame(encoder: &[u8], delay_and_padding: [u8; 3]) -> Vec<u8> {
        let mut frame = [&MONO[..], &[0; 17], b"Xing\0\0\0\x0f\0\0\0\x64\0\0\x9c\x40"].concat();
        frame.extend([0; 104]);
        frame.extend(encoder);
        frame.extend([0; 12]);
        frame.extend(delay_and_padding);
        frame.resize(417, 0);
        frame
    }

    fn read(frame: &[u8], rest: u64) -> InfoTag {
        InfoTag::read(&Header::parse(frame).unwrap(), frame, rest)
    }

    #[test]
    fn lame_states_delay_and_padding() {
        // 576 = 0x240 and 1000 = 0x3e8. 576 + 529 at the start; 1000 - 529 of 100 · 1152 at the end.
        let tag = read(&frame(b"LAME3.100", [0x24, 0x03, 0xe8]), 40_000);
        assert_eq!((tag.is_silent, tag.frames, tag.bytes), (true, Some(100), Some(40_000)));
        assert_eq!(tag.trim, Trim { start: 1105, padding: 114_729..115_200 });
        // Padding shorter than the decoder's delay: the end of the sound is lost, nothing is to be cut.
        let tag = read(&frame(b"Lavc59.37", [0x24, 0x00, 0x64]), 40_000);
        assert_eq!(tag.trim, Trim { start: 1105, padding: 115_200..115_200 });
        assert_eq!(read(&frame(b"other 1.0", [0x24, 0x03, 0xe8]), 40_000).trim, Trim::default());
    }

    #[test]
    fn the_count_of_the_first_of_joined_files_is_not_used() {
        // 40,000 / 16 = 2500 bytes more are allowed.
        let frame = frame(b"LAME3.100", [0x24, 0x03, 0xe8]);
        assert_eq!(read(&frame, 42_500).frames, Some(100));
        let joined = read(&frame, 42_501);
        assert_eq!((joined.is_silent, joined.frames), (true, None));
        assert_eq!(joined.trim, Trim { start: 1105, padding: 0..0 });
    }

    #[test]
    fn vbri_headers_count_frames_and_cut_nothing() {
        let mut frame = [&MONO[..], &[0; 32], b"VBRI\0\x01\0\0\0\0\0\0\x9c\x40\0\0\0\x64"].concat();
        frame.resize(417, 0);
        let tag = read(&frame, 40_000);
        assert_eq!(
            (tag.is_silent, tag.frames, tag.bytes, tag.trim),
            (true, Some(100), Some(40_000), Trim::default())
        );
    }

    #[test]
    fn a_frame_of_sound_is_no_tag() {
        let mut frame = MONO.to_vec();
        frame.resize(417, 0);
        assert_eq!(read(&frame, 40_000), InfoTag::default());
        // A header that ends in the middle of itself.
        for length in 4..180 {
            read(&self::frame(b"LAME3.100", [0x24, 0x03, 0xe8])[..length], 40_000);
        }
    }
}
