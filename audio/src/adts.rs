//! AAC in ADTS frames.
//!
//! Encoders may replace noise by its level. The decoder makes such noise up, so that after a seek it is not sample for
//! sample what decoding from the start gives.

use std::borrow::Cow;

use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::aac::{self, SbrSearch};
use super::decoder::{ClipInfo, Decoder};
use super::elementary::{Coded, Elementary, Trim};
use super::error::Problem;
use super::frames::{self, Frames};
use super::input::Input;

/// How far from the start of the content its first frame may be, tags not counted.
const LEAD: u64 = 64 << 10;

/// Files up to this size are measured by walking over their frames.
const WALKED: u64 = 16 << 20;

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// MPEG-4's number of the profile: 1 Main, 2 LC, 3 SSR, 4 LTP.
    object_type: u8,
    rate_index: u8,
    channel_config: u8,
    /// AAC frames in this one.
    blocks: u8,
    has_crc: bool,
    length: usize,
}

impl frames::Header for Header {
    const BYTES: usize = 7;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[0xff, b, c, d, e, f, g] = bytes.first_chunk()? else { return None };
        if b & 0xf6 != 0xf0 {
            return None;
        }
        let header = Self {
            object_type: (c >> 6) + 1,
            rate_index: c >> 2 & 15,
            channel_config: (c & 1) << 2 | d >> 6,
            blocks: (g & 3) + 1,
            has_crc: b & 1 == 0,
            length: usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5),
        };
        (usize::from(header.rate_index) < RATES.len() && header.length > header.start()).then_some(header)
    }

    fn length(&self) -> usize {
        self.length
    }

    fn matches(&self, other: &Self) -> bool {
        let format =
            |header: &Self| (header.object_type, header.rate_index, header.channel_config, header.blocks);
        format(self) == format(other)
    }
}

impl Header {
    /// Where the AAC frame begins.
    fn start(&self) -> usize {
        if self.has_crc { 9 } else { 7 }
    }
}

impl Coded for Header {
    const BORROWED: usize = 0;

    fn codec(&self) -> AudioCodecId {
        CODEC_ID_AAC
    }

    fn rate(&self) -> u32 {
        RATES.get(usize::from(self.rate_index)).copied().unwrap_or(0)
    }

    fn channels(&self) -> usize {
        match self.channel_config {
            7 => 8,
            count => count.into(),
        }
    }

    fn samples(&self) -> u64 {
        1024 * u64::from(self.blocks)
    }

    fn lendable(&self) -> usize {
        0
    }

    fn check(&self) -> Result<(), Problem> {
        if let Some(what) = aac::undecodable(self.object_type.into(), self.channel_config.into()) {
            return Err(Problem::unsupported(what));
        }
        if self.blocks > 1 {
            return Err(Problem::unsupported(format!("ADTS with {} AAC frames to a header", self.blocks)));
        }
        Ok(())
    }

    fn parameters(&self) -> AudioCodecParameters {
        // An AudioSpecificConfig: 5 bits of object type, 4 of rate, 4 of channels.
        let config = u16::from(self.object_type) << 11
            | u16::from(self.rate_index) << 7
            | u16::from(self.channel_config) << 3;
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(CODEC_ID_AAC).with_extra_data(config.to_be_bytes().into());
        parameters
    }

    fn packet<'a>(&self, frame: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(frame.get(self.start()..).unwrap_or_default())
    }
}

/// Whether ADTS frames begin at `start`: three of one format in a row, or fewer if the file ends with them.
pub(crate) fn starts(input: &Input, start: u64) -> Result<bool, Problem> {
    let first = Frames::<Header>::new(input.part(start, u64::MAX))?.next_within(0)?;
    Ok(first.is_some())
}

/// Opens AAC in ADTS frames.
pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let mut frames = Frames::<Header>::new(input)?;
    let begin = frames.place();
    let Some(first) = frames.next_within(LEAD)? else {
        return Err(Problem::corrupt("it begins like ADTS AAC, but no frames follow"));
    };
    let header = first.header;
    header.check()?;
    frames.go_to(begin);
    let mut search = SbrSearch::default();
    while let Some(frame) = frames.next()? {
        let content = frames.content(&frame)?;
        if !search.add(&frame.header.packet(content)) {
            break;
        }
    }
    search.check()?;
    frames.go_to(begin);
    let length = if frames.end() <= WALKED { Some(measure(&mut frames, header.rate())?) } else { None };
    frames.go_to(begin);
    let info = ClipInfo {
        format: "ADTS",
        codec: "AAC".into(),
        rate: header.rate(),
        channels: header.channels(),
        frames: length,
    };
    Ok(Box::new(Elementary::new(frames, info, Trim::default(), None)))
}

/// Samples at `rate` in what follows.
fn measure(frames: &mut Frames<Header>, rate: u32) -> Result<u64, Problem> {
    let mut seconds = 0.0;
    while let Some(frame) = frames.next()? {
        seconds += frame.header.samples() as f64 / f64::from(frame.header.rate());
    }
    Ok((seconds * f64::from(rate)).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::decoder::Block;
    use super::super::frames::Header as _;
    use super::*;

    /// A frame at 16 kHz (rate index 8) of so many channels and AAC frames.
    fn frame(profile: u8, channels: u8, blocks: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len() + 7;
        let header = [
            0xff,
            0xf1,
            (profile - 1) << 6 | 8 << 2 | channels >> 2,
            channels << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length as u8) << 5 | 0x1f,
            0xfc | (blocks - 1),
        ];
        [&header, content].concat()
    }

    /// A mono element without coefficients: element 0 and tag 0 (7 bits), gain (8), window (11), and flags for pulse,
    /// noise shaping and gain control (3); then the end, `111`.
    const SILENCE: [u8; 4] = [0, 0, 0, 7];

    fn problem(file: Vec<u8>) -> String {
        open(Input::of_bytes(file)).err().unwrap().to_string()
    }

    #[test]
    fn headers_are_read_and_bytes_with_a_forbidden_value_are_none() {
        let header = Header::parse(&frame(2, 1, 1, &SILENCE)).unwrap();
        assert_eq!((header.object_type, header.rate(), header.channels(), header.length), (2, 16_000, 1, 11));
        let bad = |at: usize, value: u8| {
            let mut bytes = frame(2, 1, 1, &SILENCE);
            bytes[at] = value;
            Header::parse(&bytes).is_none()
        };
        // Sync word, layer, rate index 13, length 7.
        assert!(bad(0, 0xfe) && bad(1, 0xf3) && bad(2, 0x40 | 13 << 2) && bad(4, 0));
    }

    #[test]
    fn frames_are_1024_samples_long() {
        let file = [frame(2, 1, 1, &SILENCE).repeat(5), [&b"TAG"[..], &[0; 125]].concat()].concat();
        assert!(starts(&Input::of_bytes(file.clone()), 0).unwrap());
        let mut decoder = open(Input::of_bytes(file)).unwrap();
        assert_eq!(decoder.info().frames, Some(5 * 1024));
        let (mut block, mut samples) = (Block::default(), 0);
        while decoder.next(&mut block).unwrap() {
            assert_eq!((block.rate, block.channels.len()), (16_000, 1));
            samples += block.frames();
        }
        assert_eq!(samples, 5 * 1024);
        assert_eq!(decoder.seek(3000).unwrap(), 3000);
        assert!(decoder.next(&mut block).unwrap());
        // Up to the end of the third frame.
        assert_eq!(block.frames(), 72);
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        let named = |profile, channels, blocks| problem(frame(profile, channels, blocks, &SILENCE).repeat(3));
        assert!(named(1, 2, 1).starts_with("AAC Main is not supported"));
        assert!(named(3, 2, 1).starts_with("AAC SSR"));
        assert!(named(4, 2, 1).starts_with("AAC LTP"));
        assert!(named(2, 6, 1).starts_with("AAC with 6 channels"));
        assert!(named(2, 7, 1).starts_with("AAC with 8 channels"));
        assert!(named(2, 0, 1).starts_with("AAC with a channel layout of its own"));
        assert!(named(2, 1, 2).starts_with("ADTS with 2 AAC frames"));
    }

    #[test]
    fn frames_with_spectral_band_replication_are_named() {
        // Fill elements of 2 bytes, of which a counter makes them different, and the end:
        // 110 0010 1|101 ccccc|ccc0000 1|11.
        let block = |i: u8| vec![0x12, i, 0xc5, 0xa0 | i >> 3, (i & 7) << 5 | 1, 0xc0];
        let file: Vec<u8> = (0..40).flat_map(|i| frame(2, 1, 1, &block(i))).collect();
        assert!(aac::has_sbr(&block(5)));
        assert!(problem(file).starts_with("HE-AAC (spectral band replication)"));
    }

    #[test]
    fn three_frames_or_a_whole_file_of_them_are_needed() {
        let one = frame(2, 1, 1, &SILENCE);
        let starts = |bytes: Vec<u8>| starts(&Input::of_bytes(bytes), 0).unwrap();
        assert!(starts(one.clone()) && starts(one.repeat(2)) && starts(one.repeat(3)));
        assert!(!starts([one.repeat(2), vec![7; 50]].concat()));
        assert!(!starts([vec![7], one.repeat(3)].concat()));
    }
}
