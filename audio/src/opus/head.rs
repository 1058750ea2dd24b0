//! The identification header of Opus: `OpusHead` of RFC 7845 (Ogg, Matroska), and `dOps` of MP4.

use symphonia::core::errors::{Error, Result};

/// Most channels that are decoded: those that have an order in RFC 7845.
const MOST_CHANNELS: usize = 8;

/// What the header says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    pub channels: usize,
    /// Samples @ 48 kHz to drop at the start: what the decoder needs to converge.
    pub pre_skip: u16,
    /// Factor for all samples.
    pub gain: f32,
    /// Streams in a packet, of which the first `coupled` are stereo.
    pub streams: u8,
    pub coupled: u8,
    /// The decoded channel that each output channel is; 255 for silence.
    pub mapping: Vec<u8>,
    /// Whether the channels have loudspeakers, in the order of Vorbis.
    pub positioned: bool,
}

impl Head {
    /// Reads a header. Without one, as in CAF, it is that of one stream of `channels`.
    pub fn parse(bytes: Option<&[u8]>, channels: usize) -> Result<Self> {
        let Some(bytes) = bytes else { return Self::simple(channels)?.checked() };
        let Some((b"OpusHead", fields)) = bytes.split_first_chunk() else {
            return Err(Error::DecodeError("opus: its header does not begin with OpusHead"));
        };
        let Some((&[version, channels, skip_0, skip_1, _, _, _, _, gain_0, gain_1, family], table)) =
            fields.split_first_chunk()
        else {
            return Err(Error::DecodeError("opus: its header is too short"));
        };
        if version > 15 {
            return Err(Error::DecodeError("opus: its header has an unknown version"));
        }
        // MP4's header has the version 0 and big-endian numbers; symphonia puts `OpusHead` before it.
        let number = |bytes| if version == 0 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        let mut head = Self::simple(usize::from(channels))?;
        head.pre_skip = number([skip_0, skip_1]);
        // In units of 1/256 dB, signed.
        head.gain = 10f32.powf(f32::from(number([gain_0, gain_1]) as i16) / (20.0 * 256.0));
        // 2 and 3 are sound fields, to be computed for loudspeakers.
        if !matches!(family, 0 | 1 | 255) {
            return Err(Error::Unsupported("Opus with ambisonics"));
        }
        if family != 0 {
            let (Some(&[streams, coupled]), Some(mapping)) =
                (table.first_chunk(), table.get(2..2 + usize::from(channels)))
            else {
                return Err(Error::DecodeError("opus: its header is too short for a channel mapping"));
            };
            (head.streams, head.coupled, head.mapping) = (streams, coupled, mapping.to_vec());
            head.positioned = family == 1;
        }
        head.checked()
    }

    /// One stream of one or two channels.
    fn simple(channels: usize) -> Result<Self> {
        if !(1..=MOST_CHANNELS).contains(&channels) {
            return Err(Error::DecodeError("opus: its header states a number of channels other than 1 to 8"));
        }
        let mapping = (0..channels as u8).collect();
        let coupled = (channels - 1) as u8;
        Ok(Self { channels, pre_skip: 0, gain: 1.0, streams: 1, coupled, mapping, positioned: true })
    }

    /// Fails if no decoder can have this layout: libopus would read or write outside its memory.
    fn checked(self) -> Result<Self> {
        let decoded = u16::from(self.streams) + u16::from(self.coupled);
        let possible = self.streams >= 1
            && self.coupled <= self.streams
            && decoded <= 255
            && self.mapping.len() == self.channels
            && self.mapping.iter().all(|&channel| channel == 255 || u16::from(channel) < decoded);
        if possible {
            Ok(self)
        } else {
            Err(Error::DecodeError("opus: its header has an impossible channel mapping"))
        }
    }

    /// The decoded channel that comes in each place of a WAV file's order: left, right, centre, LFE, back, side.
    pub fn order(&self) -> &'static [usize] {
        const AS_THEY_ARE: [usize; MOST_CHANNELS] = [0, 1, 2, 3, 4, 5, 6, 7];
        match self.channels {
            3 if self.positioned => &[0, 2, 1],
            5 if self.positioned => &[0, 2, 1, 3, 4],
            6 if self.positioned => &[0, 2, 1, 5, 3, 4],
            7 if self.positioned => &[0, 2, 1, 6, 5, 3, 4],
            8 if self.positioned => &[0, 2, 1, 7, 5, 6, 3, 4],
            channels => &AS_THEY_ARE[..channels],
        }
    }
}

/// Length of a packet in samples @ 48 kHz by its first two bytes; 0 if no packet begins with them.
pub(crate) fn packet_frames(packet: &[u8]) -> u64 {
    let Some(&first) = packet.first() else { return 0 };
    let frame = match first >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..16 => [480, 960][usize::from(config & 1)],
        config => 120 << (config & 3),
    };
    let count = match (first & 3, packet.get(1)) {
        (0, _) => 1,
        (1 | 2, _) => 2,
        (_, Some(second)) => u64::from(second & 63),
        (_, None) => 0,
    };
    let frames = frame * count;
    // 120 ms are the most.
    if frames <= 5760 { frames } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: [u8; 19] = *b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\xfa\0";

    #[test]
    fn numbers_are_little_endian_and_those_of_mp4_are_big_endian() {
        let head = Head::parse(Some(&STEREO), 0).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.streams, head.coupled), (2, 312, 1, 1));
        assert_eq!(head.mapping, [0, 1]);
        // -0x600 / 256 = -6 dB, a factor of 10^(-6/20).
        assert!((head.gain - 0.501_187).abs() < 1e-6);
        let mp4 = b"OpusHead\0\x01\x01\x38\0\0\xbb\x80\xfa\0\0";
        let head = Head::parse(Some(mp4), 0).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.coupled), (1, 312, 0));
        assert!((head.gain - 0.501_187).abs() < 1e-6);
        // CAF has none.
        assert_eq!(Head::parse(None, 2).unwrap().gain, 1.0);
        assert!(Head::parse(None, 3).is_err());
    }

    #[test]
    fn layouts_that_a_decoder_cannot_have_are_refused() {
        let surround = |table: &[u8]| {
            let mut bytes = STEREO.to_vec();
            (bytes[9], bytes[18]) = (3, 1);
            Head::parse(Some(&[&bytes, table].concat()), 0)
        };
        assert_eq!(surround(&[2, 1, 0, 2, 1]).unwrap().mapping, [0, 2, 1]);
        assert_eq!(surround(&[2, 1, 0, 2, 255]).unwrap().order(), [0, 2, 1]);
        // Streams 0; more coupled than streams; decoded channel 3 of 3; 256 decoded channels; cut short.
        for table in
            [&[0, 0, 0, 0, 0][..], &[1, 2, 0, 1, 2], &[2, 1, 0, 3, 1], &[200, 56, 0, 1, 2], &[2, 1, 0, 2]]
        {
            assert!(surround(table).is_err(), "{table:?}");
        }
        for channels in [0, 3, 9] {
            let mut bytes = STEREO;
            bytes[9] = channels;
            assert!(Head::parse(Some(&bytes), 0).is_err(), "{channels}");
        }
        assert!(Head::parse(Some(&STEREO[..18]), 0).is_err());
        let mut bytes = STEREO;
        bytes[18] = 2;
        assert!(matches!(Head::parse(Some(&bytes), 0), Err(Error::Unsupported(_))));
    }

    #[test]
    fn packets_state_their_length() {
        // SILK 20 ms; hybrid 10 ms, two frames; CELT 2.5 ms, 48 frames: 120 ms; 49 frames are too many.
        let packets = [&[1 << 3][..], &[12 << 3 | 1], &[16 << 3 | 3, 48], &[16 << 3 | 3, 49], &[3], &[]];
        assert_eq!(packets.map(packet_frames), [960, 960, 5760, 0, 0, 0]);
    }
}
