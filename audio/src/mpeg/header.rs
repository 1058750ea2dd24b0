//! The header of a frame of MPEG audio.

use std::borrow::Cow;

use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::super::elementary::Coded;
use super::super::frames;

/// Bitrates in kbit/s, by index: MPEG-1 layers 1, 2, 3; lower sampling rates layer 1, and layers 2 and 3. Index 0 is the
/// free format.
const BITRATES: [[u32; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// MPEG-1: 32, 44.1 and 48 kHz.
    One,
    /// MPEG-2: half of them.
    Two,
    /// MPEG-2.5: a quarter.
    TwoAndAHalf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: Version,
    /// 1 to 3.
    pub layer: u8,
    /// Sampling rate in Hz.
    pub rate: u32,
    /// In kbit/s.
    pub bitrate: u32,
    pub stereo: bool,
    has_crc: bool,
    length: usize,
}

/// Whether the four bytes are a header, if its bitrate were not that of the free format.
pub(super) fn is_free_format(bytes: [u8; 4]) -> bool {
    let with_bitrate = [bytes[0], bytes[1], bytes[2] | 0x10, bytes[3]];
    bytes[2] & 0xf0 == 0 && <Header as frames::Header>::parse(&with_bitrate).is_some()
}

impl Header {
    pub fn lsf(&self) -> bool {
        self.version != Version::One
    }

    /// Bytes of the side information of layer 3, which follows header and checksum.
    pub fn side_information(&self) -> usize {
        match (self.lsf(), self.stereo) {
            (false, true) => 32,
            (false, false) | (true, true) => 17,
            (true, false) => 9,
        }
    }

    /// The row of bitrates.
    fn bitrates(version: Version, layer: u8) -> &'static [u32; 15] {
        &BITRATES[match (version, layer) {
            (Version::One, layer) => usize::from(layer) - 1,
            (_, 1) => 3,
            _ => 4,
        }]
    }

    /// Whether symphonia refuses the bitrate for two channels: MPEG-1 forbids it in layer 2, and encoders use it all the
    /// same; MPEG-2 allows it.
    fn is_refused(&self) -> bool {
        self.layer == 2 && self.stereo && [32, 48, 56, 80].contains(&self.bitrate)
    }
}

impl frames::Header for Header {
    const BYTES: usize = 4;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[0xff, b, c, d] = bytes.first_chunk()? else { return None };
        if b & 0xe0 != 0xe0 {
            return None;
        }
        let version = match b >> 3 & 3 {
            0 => Version::TwoAndAHalf,
            2 => Version::Two,
            3 => Version::One,
            _ => return None,
        };
        let layer = match b >> 1 & 3 {
            0 => return None,
            bits => 4 - bits,
        };
        let bitrate =
            *Self::bitrates(version, layer).get(usize::from(c >> 4)).filter(|&&bitrate| bitrate > 0)?;
        let highest = *[44_100, 48_000, 32_000].get(usize::from(c >> 2 & 3))?;
        let rate = match version {
            Version::One => highest,
            Version::Two => highest / 2,
            Version::TwoAndAHalf => highest / 4,
        };
        let padding = usize::from(c >> 1 & 1);
        // Bits of a frame / 8, rounded down to slots of 4 bytes in layer 1 and of one byte in the others.
        let length = match layer {
            1 => ((12 * bitrate * 1000 / rate) as usize + padding) * 4,
            3 if version != Version::One => (72 * bitrate * 1000 / rate) as usize + padding,
            _ => (144 * bitrate * 1000 / rate) as usize + padding,
        };
        Some(Self { version, layer, rate, bitrate, stereo: d >> 6 != 3, has_crc: b & 1 == 0, length })
    }

    fn length(&self) -> usize {
        self.length
    }

    fn matches(&self, other: &Self) -> bool {
        let format = |header: &Self| (header.version, header.layer, header.rate, header.stereo);
        format(self) == format(other)
    }
}

impl Coded for Header {
    const BORROWED: usize = 511;

    fn codec(&self) -> AudioCodecId {
        match self.layer {
            1 => CODEC_ID_MP1,
            2 => CODEC_ID_MP2,
            _ => CODEC_ID_MP3,
        }
    }

    fn rate(&self) -> u32 {
        self.rate
    }

    fn channels(&self) -> usize {
        if self.stereo { 2 } else { 1 }
    }

    fn samples(&self) -> u64 {
        match self.layer {
            1 => 384,
            3 if self.lsf() => 576,
            _ => 1152,
        }
    }

    fn lendable(&self) -> usize {
        let own = 4 + if self.has_crc { 2 } else { 0 } + self.side_information();
        // The frames of the other layers borrow nothing.
        if self.layer == 3 { self.length.saturating_sub(own) } else { Self::BORROWED }
    }

    fn parameters(&self) -> AudioCodecParameters {
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(self.codec());
        parameters
    }

    /// A frame whose bitrate is refused is given a higher one, which selects the same tables, and as many bytes as that
    /// has. The decoder does not look at what follows the samples.
    fn packet<'a>(&self, frame: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.is_refused() || frame.len() < 4 {
            return Cow::Borrowed(frame);
        }
        let allowed = if self.bitrate == 80 { 96 } else { 64 };
        let bitrates = Self::bitrates(self.version, 2);
        let index = bitrates.iter().position(|&bitrate| bitrate == allowed).unwrap_or(0);
        let mut bytes = frame.to_vec();
        bytes[2] = bytes[2] & 0x0f | (index as u8) << 4;
        let length = <Self as frames::Header>::parse(&bytes).map_or(frame.len(), |header| header.length);
        bytes.resize(length, 0);
        Cow::Owned(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::frames::Header as _;
    use super::*;

    fn parse(bytes: [u8; 4]) -> Header {
        Header::parse(&bytes).unwrap()
    }

    #[test]
    fn headers_of_all_layers_and_versions() {
        // 144 · 128000 / 44100 = 417.96; with padding one byte more.
        let mp3 = parse([0xff, 0xfb, 0x90, 0x44]);
        assert_eq!((mp3.layer, mp3.rate, mp3.bitrate, mp3.stereo, mp3.length), (3, 44_100, 128, true, 417));
        assert_eq!(parse([0xff, 0xfb, 0x92, 0xc4]).length, 418);
        assert!(!parse([0xff, 0xfb, 0x92, 0xc4]).stereo);
        // MPEG-2 layer 3: 72 · 64000 / 22050 = 208.98; 576 samples.
        let lsf = parse([0xff, 0xf3, 0x80, 0xc0]);
        assert_eq!((lsf.version, lsf.rate, lsf.length, lsf.samples()), (Version::Two, 22_050, 208, 576));
        // MPEG-2.5 at 8 kHz: 72 · 8000 / 8000 = 72.
        let low = parse([0xff, 0xe3, 0x18, 0xc0]);
        assert_eq!((low.version, low.rate, low.length), (Version::TwoAndAHalf, 8000, 72));
        // Layer 2: 144 · 192000 / 48000 = 576. Layer 1: 12 · 384000 / 32000 · 4 = 576; 384 samples.
        let mp2 = parse([0xff, 0xfd, 0xa4, 0x00]);
        assert_eq!((mp2.layer, mp2.bitrate, mp2.length, mp2.samples()), (2, 192, 576, 1152));
        let mp1 = parse([0xff, 0xff, 0xc8, 0x00]);
        assert_eq!((mp1.layer, mp1.bitrate, mp1.length, mp1.samples()), (1, 384, 576, 384));
    }

    #[test]
    fn bytes_with_a_forbidden_value_are_no_header() {
        for bytes in [
            [0xfe, 0xfb, 0x90, 0x44],
            [0xff, 0x1b, 0x90, 0x44],
            // Version 1, layer 0, bitrate 15, free format, rate 3.
            [0xff, 0xeb, 0x90, 0x44],
            [0xff, 0xf9, 0x90, 0x44],
            [0xff, 0xfb, 0xf0, 0x44],
            [0xff, 0xfb, 0x00, 0x44],
            [0xff, 0xfb, 0x9c, 0x44],
        ] {
            assert!(Header::parse(&bytes).is_none(), "{bytes:x?}");
        }
        assert!(is_free_format([0xff, 0xfb, 0x00, 0x44]));
        assert!(!is_free_format([0xff, 0xfb, 0x10, 0x44]) && !is_free_format([0xff, 0xf9, 0x00, 0x44]));
    }

    #[test]
    fn stereo_of_layer_2_with_a_low_bitrate_becomes_a_longer_frame() {
        // MPEG-2, 24 kHz, 48 kbit/s: 144 · 48000 / 24000 = 288 bytes; with 64 kbit/s (index 8) 384.
        let mut frame = vec![1; 288];
        frame[..4].copy_from_slice(&[0xff, 0xf5, 0x64, 0x00]);
        let packet = parse([0xff, 0xf5, 0x64, 0x00]).packet(&frame);
        assert_eq!((packet.len(), packet[2], packet[287], packet[288]), (384, 0x84, 1, 0));
        let allowed = [0xff, 0xf5, 0x84, 0x00];
        assert_eq!(parse(allowed).packet(&allowed).len(), 4);
    }
}
