//! ADPCM: differences of 4 bits, in blocks that are decoded on their own.
//!
//! IMA's in its WAV and QuickTime layouts, and Microsoft's. A step size grows with large differences and shrinks with
//! small ones, so that 4 bits suffice for speech at all levels.

use super::super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::super::error::Problem;
use super::super::input::Input;
use super::{READ, Stated, Unit, check_header, settle};

/// How blocks are laid out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variant {
    /// 4 bytes of state per channel, the first sample in it; then 4 bytes of each channel in turn.
    ImaWav,
    /// 34 bytes per channel, with 2 bytes of state and 64 samples each.
    ImaQuickTime,
    /// 7 bytes of state per channel, the first two samples in it; then 4 bits of each channel in turn.
    Ms,
}

impl Variant {
    pub fn name(self) -> &'static str {
        match self {
            Self::ImaWav | Self::ImaQuickTime => "IMA ADPCM",
            Self::Ms => "MS ADPCM",
        }
    }

    /// Samples per channel in a block of this many bytes, which may be the shorter last one.
    fn frames_in(self, bytes: usize, channels: usize) -> usize {
        match self {
            Self::ImaWav if bytes >= 4 * channels => (bytes - 4 * channels) / (4 * channels) * 8 + 1,
            Self::Ms if bytes >= 7 * channels => (bytes - 7 * channels) * 2 / channels + 2,
            Self::ImaQuickTime if bytes >= 34 * channels => 64,
            _ => 0,
        }
    }
}

/// What the header of a file says about its samples.
pub(super) struct AdpcmLayout {
    /// The name of the container.
    pub container: &'static str,
    /// Where the blocks begin, in bytes.
    pub offset: u64,
    pub stated: Stated,
    pub variant: Variant,
    /// Bytes of a block of all channels.
    pub block_bytes: usize,
    pub channels: usize,
    /// Sampling rate in Hz.
    pub rate: u32,
    pub warnings: Vec<Warning>,
}

/// A file of ADPCM blocks.
pub(super) struct Adpcm {
    input: Input,
    layout: AdpcmLayout,
    info: ClipInfo,
    frames_per_block: u64,
    /// Length of all blocks in bytes; how many of them have been decoded.
    length: u64,
    position: u64,
    /// What has been read and not decoded.
    bytes: Vec<u8>,
    used: usize,
}

impl Adpcm {
    pub fn open(input: Input, mut layout: AdpcmLayout) -> Result<Self, Problem> {
        check_header(layout.channels, layout.rate)?;
        let (name, channels) = (layout.variant.name(), layout.channels);
        let frames_per_block = layout.variant.frames_in(layout.block_bytes, channels) as u64;
        if frames_per_block == 0 {
            let what =
                format!("its header states blocks of {} bytes for {channels} channels", layout.block_bytes);
            return Err(Problem::corrupt(what));
        }
        if layout.variant == Variant::Ms && channels > 2 {
            return Err(Problem::unsupported(format!("{name} of {channels} channels")));
        }
        let unit = Unit { bytes: layout.block_bytes as u64, frames: frames_per_block };
        let available = input.length().saturating_sub(layout.offset);
        let length = settle(layout.stated, available, unit, layout.rate, &mut layout.warnings)?;
        let last = layout.variant.frames_in((length % unit.bytes) as usize, channels) as u64;
        let frames = length / unit.bytes * frames_per_block + last;
        if frames == 0 {
            return Err(Problem::NoSamples);
        }
        let info = ClipInfo {
            format: layout.container,
            codec: name.to_owned(),
            rate: layout.rate,
            channels,
            frames: Some(frames),
        };
        Ok(Self { input, layout, info, frames_per_block, length, position: 0, bytes: Vec::new(), used: 0 })
    }

    /// Reads on, if all that was read has been decoded.
    fn fill(&mut self) -> Result<(), Fault> {
        if self.used == self.bytes.len() {
            let block = self.layout.block_bytes as u64;
            let count = ((READ / block).max(1) * block).min(self.length - self.position);
            self.bytes.resize(count as usize, 0);
            self.used = 0;
            let filled = self.input.read_at(self.layout.offset + self.position, &mut self.bytes)?;
            if filled < self.bytes.len() {
                // The file has become shorter since it was opened.
                let found = (self.position + filled as u64) / block * self.frames_per_block;
                let promised = self.info.frames.unwrap_or(found);
                return Err(Fault::End(Problem::Truncated { promised, found }));
            }
        }
        Ok(())
    }
}

impl Decoder for Adpcm {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next(&mut self, block: &mut Block) -> Result<bool, Fault> {
        self.fill()?;
        let count = self.layout.block_bytes.min(self.bytes.len() - self.used);
        let bytes = &self.bytes[self.used..self.used + count];
        self.used += count;
        self.position += count as u64;
        let (variant, channels) = (self.layout.variant, self.layout.channels);
        let frames = variant.frames_in(count, channels);
        if frames == 0 {
            return Ok(false);
        }
        block.rate = self.layout.rate;
        block.channels.resize_with(channels, Vec::new);
        block.channels.iter_mut().for_each(|plane| plane.resize(frames, 0.0));
        match variant {
            Variant::ImaWav => ima_wav(bytes, &mut block.channels),
            Variant::ImaQuickTime => ima_quick_time(bytes, &mut block.channels),
            Variant::Ms => ms(bytes, &mut block.channels),
        }
        .map_err(|what| Fault::Packet(format!("a block of {} {what}", variant.name())))?;
        Ok(true)
    }

    fn seek(&mut self, frame: u64) -> Result<u64, Fault> {
        let block_bytes = self.layout.block_bytes as u64;
        let last = self.length / block_bytes;
        let block = (frame / self.frames_per_block).min(last);
        self.position = block * block_bytes;
        self.bytes.clear();
        self.used = 0;
        Ok(block * self.frames_per_block)
    }

    fn warnings(&mut self) -> Vec<Warning> {
        self.layout.warnings.clone()
    }
}

const FULL_SCALE: f32 = 32_768.0;

/// The step sizes of IMA ADPCM; each is about 1.1 times the one before.
const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88,
    97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658,
    724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660,
    4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818,
    18500, 20350, 22385, 24623, 27086, 29794, 32767,
];

/// The state of IMA ADPCM: the last sample, and the place of the step in [`STEPS`].
struct Ima {
    sample: i32,
    step: usize,
}

impl Ima {
    fn next(&mut self, code: u8) -> f32 {
        let magnitude = i32::from(code & 7);
        let difference = ((2 * magnitude + 1) * STEPS[self.step]) >> 3;
        let sample = if code & 8 != 0 { self.sample - difference } else { self.sample + difference };
        self.sample = sample.clamp(-32_768, 32_767);
        self.step = if magnitude < 4 {
            self.step.saturating_sub(1)
        } else {
            self.step + 2 * (magnitude as usize - 3)
        };
        self.step = self.step.min(STEPS.len() - 1);
        self.sample as f32 / FULL_SCALE
    }
}

fn ima_wav(bytes: &[u8], planes: &mut [Vec<f32>]) -> Result<(), &'static str> {
    let channels = planes.len();
    let (head, body) = bytes.split_at(4 * channels);
    for (channel, plane) in planes.iter_mut().enumerate() {
        let state = &head[4 * channel..];
        let mut ima = Ima { sample: i16_at(state, 0), step: usize::from(state[2]) };
        if ima.step >= STEPS.len() {
            return Err("begins with a step that does not exist");
        }
        let (first, rest) = plane.split_at_mut(1);
        first[0] = ima.sample as f32 / FULL_SCALE;
        let groups = body.chunks_exact(4 * channels).map(|group| &group[4 * channel..4 * channel + 4]);
        for (out, &byte) in rest.chunks_exact_mut(2).zip(groups.flatten()) {
            out[0] = ima.next(byte & 15);
            out[1] = ima.next(byte >> 4);
        }
    }
    Ok(())
}

fn ima_quick_time(bytes: &[u8], planes: &mut [Vec<f32>]) -> Result<(), &'static str> {
    for (plane, packet) in planes.iter_mut().zip(bytes.chunks_exact(34)) {
        // 9 bits of the last sample, and 7 of the step.
        let state = i16::from_be_bytes([packet[0], packet[1]]);
        let mut ima = Ima {
            sample: i32::from(state & !0x7f),
            step: usize::from(packet[1] & 0x7f).min(STEPS.len() - 1),
        };
        for (out, &byte) in plane.chunks_exact_mut(2).zip(&packet[2..]) {
            out[0] = ima.next(byte & 15);
            out[1] = ima.next(byte >> 4);
        }
    }
    Ok(())
}

/// The state of Microsoft's ADPCM: the last two samples, by which the next is predicted, and the step.
struct Ms {
    weights: (i32, i32),
    step: i32,
    last: i32,
    before: i32,
}

impl Ms {
    fn next(&mut self, code: u8) -> f32 {
        // By the magnitude of the code, which is signed: 256 leaves the step as it is.
        const GROWTH: [i32; 9] = [230, 230, 230, 230, 307, 409, 512, 614, 768];
        let signed = i32::from(code) - if code & 8 != 0 { 16 } else { 0 };
        let predicted = (self.last * self.weights.0 + self.before * self.weights.1) / 256;
        self.before = self.last;
        self.last = (predicted + signed * self.step).clamp(-32_768, 32_767);
        // The steps of a sound file stay far below this limit, which keeps those of a corrupt one from overflowing.
        self.step = (GROWTH[signed.unsigned_abs() as usize] * self.step / 256).clamp(16, i32::MAX / 768);
        self.last as f32 / FULL_SCALE
    }
}

fn ms(bytes: &[u8], planes: &mut [Vec<f32>]) -> Result<(), &'static str> {
    const WEIGHTS: [(i32, i32); 7] =
        [(256, 0), (512, -256), (0, 0), (192, 64), (240, 0), (460, -208), (392, -232)];
    let channels = planes.len();
    let (head, body) = bytes.split_at(7 * channels);
    for (channel, plane) in planes.iter_mut().enumerate() {
        let field = |number: usize| i16_at(head, channels + 2 * (number * channels + channel));
        let Some(&weights) = WEIGHTS.get(usize::from(head[channel])) else {
            return Err("begins with a predictor that does not exist");
        };
        let mut state = Ms { weights, step: field(0), last: field(1), before: field(2) };
        plane[0] = state.before as f32 / FULL_SCALE;
        plane[1] = state.last as f32 / FULL_SCALE;
        let codes = body.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (out, code) in plane[2..].iter_mut().zip(codes.skip(channel).step_by(channels)) {
            *out = state.next(code);
        }
    }
    Ok(())
}

/// The signed number of 16 bits at a place, little endian.
fn i16_at(bytes: &[u8], at: usize) -> i32 {
    i32::from(i16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decode, kinds};
    use super::*;

    fn open(bytes: &[u8], variant: Variant, block_bytes: usize, channels: usize) -> Result<Adpcm, Problem> {
        let layout = AdpcmLayout {
            container: "WAV",
            offset: 0,
            stated: Stated::ToEnd,
            variant,
            block_bytes,
            channels,
            rate: 8_000,
            warnings: Vec::new(),
        };
        Adpcm::open(Input::of_bytes(bytes), layout)
    }

    fn in_16_bits(planes: &[Vec<f32>]) -> Vec<Vec<i32>> {
        planes.iter().map(|plane| plane.iter().map(|value| (value * FULL_SCALE) as i32).collect()).collect()
    }

    /// Sample 100, step 7; then the codes 4, -4, 7 and zeros, the lower four bits of a byte first.
    const IMA: [u8; 8] = [100, 0, 0, 0, 0xc4, 0x07, 0, 0];
    /// (2 · 4 + 1) · 7 / 8 = 7; the step grows by two places to 9: 81 / 8 = 10; then to 11: 15 · 11 / 8 = 20; then to 23,
    /// and back by one place per zero: 23, 21, 19, 17, 16, each of which / 8 = 2.
    const IMA_DECODED: [i32; 9] = [100, 107, 97, 117, 119, 121, 123, 125, 127];

    /// Predictor 0, which repeats the last sample; step 16, samples 100 and (before it) 50; then the codes 1, -1, 4, -8, 1, 0.
    const MS: [u8; 10] = [0, 16, 0, 100, 0, 50, 0, 0x1f, 0x48, 0x10];
    /// 100 + 16; - 16; + 4 · 16; the step grows to 307 · 16 / 256 = 19: - 8 · 19; to 768 · 19 / 256 = 57: + 57; + 0.
    const MS_DECODED: [i32; 8] = [50, 100, 116, 100, 164, 12, 69, 69];

    #[test]
    fn ima_blocks_decode_to_hand_computed_values() {
        let mut mono = open(&[IMA, IMA].concat(), Variant::ImaWav, 8, 1).unwrap();
        assert_eq!(in_16_bits(&decode(&mut mono)), [[IMA_DECODED, IMA_DECODED].concat()]);
        let silent = [0; 4];
        let stereo = [&silent[..], &IMA[..4], &silent, &IMA[4..]].concat();
        let planes = in_16_bits(&decode(&mut open(&stereo, Variant::ImaWav, 16, 2).unwrap()));
        assert_eq!(planes, [vec![0; 9], IMA_DECODED.to_vec()]);
    }

    #[test]
    fn quick_times_ima_keeps_nine_bits_of_the_first_sample() {
        let mut packet = [0; 34];
        (packet[1], packet[2]) = (0x80, 0x04);
        let planes = in_16_bits(&decode(&mut open(&packet, Variant::ImaQuickTime, 34, 1).unwrap()));
        // 128 + 9 · 7 / 8; then steps of 9, 8 and 7, divided by 8.
        assert_eq!(planes[0][..4], [135, 136, 137, 137]);
        assert_eq!(planes[0].len(), 64);
    }

    #[test]
    fn microsofts_blocks_decode_to_hand_computed_values() {
        let mut mono = open(&MS, Variant::Ms, 10, 1).unwrap();
        assert_eq!(in_16_bits(&decode(&mut mono)), [MS_DECODED]);
        // Stereo: each field for both channels; the upper four bits are the left channel.
        let stereo = [2, 0, 16, 0, 16, 0, 0, 0, 100, 0, 0, 0, 50, 0, 0x01, 0x0f];
        let planes = in_16_bits(&decode(&mut open(&stereo, Variant::Ms, 16, 2).unwrap()));
        assert_eq!(planes, [vec![0; 4], MS_DECODED[..4].to_vec()]);
    }

    #[test]
    fn a_shorter_last_block_is_decoded_as_far_as_it_goes() {
        let mut cut = open(&[&MS[..], &MS[..8]].concat(), Variant::Ms, 10, 1).unwrap();
        assert_eq!(cut.info().frames, Some(8 + 4));
        assert_eq!(in_16_bits(&decode(&mut cut))[0][8..], MS_DECODED[..4]);
        // A block of IMA with its state only has one sample.
        assert_eq!(open(&IMA[..4], Variant::ImaWav, 8, 1).unwrap().info().frames, Some(1));
        assert!(matches!(open(&IMA[..3], Variant::ImaWav, 8, 1), Err(Problem::NoSamples)));
    }

    #[test]
    fn a_corrupt_block_is_skipped() {
        let mut bytes = [MS, MS, MS].concat();
        bytes[10] = 7;
        let mut file = open(&bytes, Variant::Ms, 10, 1).unwrap();
        let mut block = Block::default();
        assert!(file.next(&mut block).unwrap());
        let fault = file.next(&mut block).unwrap_err();
        assert!(matches!(fault, Fault::Packet(what) if what.contains("predictor that does not exist")));
        assert!(file.next(&mut block).unwrap());
        assert!(!file.next(&mut block).unwrap());
        let mut ima = open(&[0, 0, 89, 0], Variant::ImaWav, 8, 1).unwrap();
        assert!(matches!(ima.next(&mut block), Err(Fault::Packet(_))));
    }

    #[test]
    fn a_seek_goes_to_the_block_of_the_frame() {
        let blocks: Vec<u8> = (0..200).flat_map(|first| [[first, 0, 0, 0], [0; 4]].concat()).collect();
        let mut file = open(&blocks, Variant::ImaWav, 8, 1).unwrap();
        let whole = decode(&mut file);
        for (frame, at) in [(0, 0), (8, 0), (9, 9), (1000, 999), (1_000_000, 1800)] {
            assert_eq!(file.seek(frame).unwrap(), at);
            let rest = decode(&mut file);
            assert_eq!(rest.first().map_or(&[][..], Vec::as_slice), &whole[0][at as usize..]);
        }
    }

    #[test]
    fn extreme_codes_do_not_overflow() {
        for code in [0x77, 0x88, 0x80, 0xff] {
            let mut block = vec![code; 2000];
            block[..7].copy_from_slice(&[1, 0xff, 0x7f, 0xff, 0x7f, 0, 0x80]);
            let planes = decode(&mut open(&block, Variant::Ms, 2000, 1).unwrap());
            assert!(planes[0].iter().all(|sample| sample.abs() <= 1.0));
        }
    }

    #[test]
    fn impossible_blocks_are_refused_and_wrong_lengths_are_settled() {
        let refused = |result: Result<Adpcm, Problem>| result.err().unwrap().to_string();
        assert!(refused(open(&MS, Variant::Ms, 6, 1)).contains("blocks of 6 bytes for 1 channels"));
        assert!(refused(open(&MS, Variant::Ms, 700, 3)).contains("MS ADPCM of 3 channels"));
        let layout = |stated| AdpcmLayout {
            container: "WAV",
            offset: 0,
            stated,
            variant: Variant::ImaWav,
            block_bytes: 8,
            channels: 1,
            rate: 8_000,
            warnings: Vec::new(),
        };
        let file = |stated| Adpcm::open(Input::of_bytes(IMA.repeat(1000)), layout(stated));
        assert_eq!(kinds(&mut file(Stated::Bytes(8001)).unwrap()), ["length"]);
        // 9 samples per 8 bytes.
        let problem = file(Stated::Bytes(80_000)).err().unwrap();
        assert!(matches!(problem, Problem::Truncated { promised: 90_000, found: 9_000 }));
    }
}
