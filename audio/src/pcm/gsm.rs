//! GSM 06.10 in WAV, as Microsoft packs it: 65 bytes for 320 samples, in two frames. Mono, usually at 8 kHz.
//!
//! The frames are decoded by the crate `oxideav-gsm`.

use oxideav_gsm::{DecoderState, UnpackedFrame};

use super::super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::super::error::Problem;
use super::super::input::Input;
use super::place::Place;
use super::{Unit, check_header, settle};

/// Length of a block in bytes, and in samples.
pub(super) const BLOCK: Unit = Unit { bytes: 65, frames: 320 };

/// Blocks that are decoded before those that are wanted: two seconds at 8 kHz. Frames predict from those before them, and
/// after this time what is predicted from has faded below one step of 16 bits.
const PRE_ROLL: u64 = 50;

/// Blocks that are read at once.
const READ: u64 = 256;

/// A file of GSM blocks.
pub(super) struct Gsm {
    input: Input,
    offset: u64,
    info: ClipInfo,
    /// Blocks in the file; the one that comes next; samples in all.
    blocks: u64,
    block: u64,
    frames: u64,
    state: DecoderState,
    warnings: Vec<Warning>,
    /// Reused between blocks.
    bytes: Vec<u8>,
}

impl Gsm {
    pub fn open(input: Input, mut place: Place, channels: usize, rate: u32) -> Result<Self, Problem> {
        check_header(channels, rate)?;
        if channels != 1 {
            return Err(Problem::unsupported(format!("GSM 6.10 of {channels} channels")));
        }
        let available = input.length().saturating_sub(place.offset);
        let length = settle(place.stated, available, BLOCK, rate, &mut place.warnings)?;
        let blocks = length / BLOCK.bytes;
        // The last block is filled up; the `fact` chunk counts without what fills it.
        let all = blocks * BLOCK.frames;
        let frames = place
            .fact
            .filter(|fact| all.saturating_sub(BLOCK.frames) < *fact)
            .map_or(all, |fact| fact.min(all));
        if frames == 0 {
            return Err(Problem::NoSamples);
        }
        let codec = "GSM 6.10".to_owned();
        let info = ClipInfo { format: place.container, codec, rate, channels, frames: Some(frames) };
        let (offset, warnings) = (place.offset, place.warnings);
        let state = DecoderState::new();
        Ok(Self { input, offset, info, blocks, block: 0, frames, state, warnings, bytes: Vec::new() })
    }
}

impl Decoder for Gsm {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next(&mut self, block: &mut Block) -> Result<bool, Fault> {
        let count = READ.min(self.blocks - self.block);
        if count == 0 {
            return Ok(false);
        }
        self.bytes.resize((count * BLOCK.bytes) as usize, 0);
        let filled = self.input.read_at(self.offset + self.block * BLOCK.bytes, &mut self.bytes)?;
        if filled < self.bytes.len() {
            // The file has become shorter since it was opened.
            let found = (self.block + filled as u64 / BLOCK.bytes) * BLOCK.frames;
            return Err(Fault::End(Problem::Truncated { promised: self.frames, found }));
        }
        let begins = self.block * BLOCK.frames;
        self.block += count;
        block.clear(self.info.rate, 1);
        for packed in self.bytes.chunks_exact(BLOCK.bytes as usize) {
            let (first, second) = UnpackedFrame::pair_from_msgsm_block(packed)
                .map_err(|error| Fault::Packet(error.to_string()))?;
            for frame in [first, second] {
                let samples = self.state.decode_frame(&frame);
                block.channels[0].extend(samples.map(|sample| f32::from(sample) / 32_768.0));
            }
        }
        block.keep_front(self.frames.saturating_sub(begins) as usize);
        Ok(true)
    }

    fn seek(&mut self, frame: u64) -> Result<u64, Fault> {
        self.block = (frame / BLOCK.frames).saturating_sub(PRE_ROLL).min(self.blocks);
        self.state = DecoderState::new();
        Ok(self.block * BLOCK.frames)
    }

    fn warnings(&mut self) -> Vec<Warning> {
        self.warnings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::decoder::Decoder;
    use super::super::Stated;
    use super::super::tests::decode;
    use super::*;

    fn open(blocks: &[u8], stated: Stated, fact: Option<u64>, channels: usize) -> Result<Gsm, Problem> {
        let place = Place { container: "WAV", offset: 0, stated, fact, warnings: Vec::new() };
        Gsm::open(Input::of_bytes(blocks), place, channels, 8_000)
    }

    /// Blocks of changing bits: any bits are a frame.
    fn noise(blocks: u64) -> Vec<u8> {
        let mut state = 1u32;
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        bytes.take((blocks * BLOCK.bytes) as usize).collect()
    }

    #[test]
    fn the_fact_chunk_cuts_the_last_block() {
        let bytes = noise(300);
        let frames = |stated, fact| open(&bytes, stated, fact, 1).unwrap();
        for (fact, expected) in
            [(None, 96_000), (Some(95_900), 95_900), (Some(96_500), 96_000), (Some(9), 96_000)]
        {
            let mut file = frames(Stated::ToEnd, fact);
            assert_eq!(file.info().frames, Some(expected));
            assert_eq!(decode(&mut file)[0].len() as u64, expected);
        }
        // An incomplete block at the end is dropped.
        assert_eq!(open(&bytes[..200], Stated::ToEnd, None, 1).unwrap().info().frames, Some(960));
    }

    #[test]
    fn after_a_seek_come_the_samples_of_decoding_from_the_start() {
        let bytes = noise(700);
        let whole = decode(&mut open(&bytes, Stated::ToEnd, None, 1).unwrap());
        for (frame, at) in [(0, 0), (319, 0), (16_320, 320), (200_000, 184_000), (223_999, 207_680)] {
            let mut file = open(&bytes, Stated::ToEnd, None, 1).unwrap();
            assert_eq!(file.seek(frame).unwrap(), at);
            let rest = decode(&mut file);
            let skip = (frame - at) as usize;
            assert_eq!(rest[0][skip..], whole[0][frame as usize..]);
        }
    }

    #[test]
    fn what_is_no_gsm_is_refused() {
        let refused = |result: Result<Gsm, Problem>| result.err().unwrap().to_string();
        assert!(refused(open(&noise(1), Stated::ToEnd, None, 2)).contains("GSM 6.10 of 2 channels"));
        assert!(matches!(open(&[0; 64], Stated::ToEnd, None, 1), Err(Problem::NoSamples)));
        let problem = open(&noise(100), Stated::Bytes(65_000), None, 1).err().unwrap();
        assert!(matches!(problem, Problem::Truncated { promised: 320_000, found: 32_000 }));
    }
}
