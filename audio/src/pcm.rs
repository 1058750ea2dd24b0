//! Uncompressed and nearly uncompressed sound: PCM, float, G.711, ADPCM and GSM, in the containers that hold little else.
//!
//! Each container's header is parsed into a [`PcmLayout`], in one file per container, and [`Pcm`] reads the samples that
//! it describes, block by block. ADPCM is read by [`adpcm::Adpcm`].
//!
//! Lengths in headers are often wrong: recorders that lost power, pipes and streaming writers leave placeholders, and
//! some writers count a few bytes too many. What is there is heard, with a warning; a header that promises much more than
//! is there belongs to a file that was cut short.

mod adpcm;
pub(crate) mod aiff;
pub(crate) mod au;
pub(crate) mod caf;
mod chunks;
mod convert;
mod gsm;
mod place;
pub(crate) mod riff;
pub(crate) mod sphere;
pub(crate) mod w64;
mod wave_format;

use super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::error::Problem;
use super::input::Input;

/// Bytes that are read at once, as far as they hold whole frames.
const READ: u64 = 1 << 16;

/// Highest rate that a header may state, in Hz. (What can be resampled is less.)
const HIGHEST_RATE: u32 = 10_000_000;

/// How one sample is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SampleFormat {
    pub coding: Coding,
    /// Bytes per sample, 1 to 8. Integers of fewer bits are in the upper bits of their bytes.
    pub bytes: usize,
    pub big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Coding {
    /// Integers with silence at half of their range; 1 byte each.
    Unsigned,
    /// Integers in two's complement.
    Signed,
    /// IEEE floats of 4 or 8 bytes with full scale ±1.
    Float,
    /// Floats of 4 bytes, little endian, with this value at full scale: Cool Edit's.
    ScaledFloat(f32),
    MuLaw,
    ALaw,
}

/// What a header says of the length of the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stated {
    Bytes(u64),
    /// That they go on to the end of the file.
    ToEnd,
    /// A placeholder for a length that was never written.
    Unfinished,
}

/// What the header of a file says about its samples.
#[derive(Debug, PartialEq)]
pub(super) struct PcmLayout {
    /// The name of the container.
    pub container: &'static str,
    /// Where the samples begin, in bytes.
    pub offset: u64,
    /// Their length.
    pub stated: Stated,
    pub format: SampleFormat,
    /// Bits per sample that carry sound, at most those in its bytes.
    pub valid_bits: u32,
    pub channels: usize,
    /// Sampling rate in Hz.
    pub rate: u32,
    pub warnings: Vec<Warning>,
}

impl PcmLayout {
    /// Bytes of one sample of all channels. Headers state up to 2³² channels.
    fn frame_bytes(&self) -> u64 {
        self.channels as u64 * self.format.bytes as u64
    }

    fn codec(&self) -> String {
        let bits = self.valid_bits;
        match self.format.coding {
            Coding::Unsigned | Coding::Signed => format!("PCM {bits} bit"),
            Coding::Float | Coding::ScaledFloat(_) => format!("PCM {bits} bit float"),
            Coding::MuLaw => "µ-law".to_owned(),
            Coding::ALaw => "A-law".to_owned(),
        }
    }
}

/// Fails if a header states no channels, or a rate that no recording has.
fn check_header(channels: usize, rate: u32) -> Result<(), Problem> {
    if channels == 0 {
        return Err(Problem::corrupt("its header states 0 channels"));
    }
    if rate == 0 || rate > HIGHEST_RATE {
        return Err(Problem::corrupt(format!("its header states a rate of {rate} Hz")));
    }
    Ok(())
}

/// Bytes that hold a number of frames.
#[derive(Clone, Copy)]
struct Unit {
    bytes: u64,
    frames: u64,
}

/// The length of the samples in bytes: what the header states, or the `available` bytes where it states none or a little
/// more. Fails with [`Problem::Truncated`] if more than 1 % and more than 0.1 s are missing.
fn settle(
    stated: Stated,
    available: u64,
    unit: Unit,
    rate: u32,
    warnings: &mut Vec<Warning>,
) -> Result<u64, Problem> {
    match stated {
        Stated::ToEnd => Ok(available),
        Stated::Unfinished => {
            let text =
                format!("its header was never finished; the {available} bytes that follow it were heard");
            warnings.push(Warning::new("unfinished header", text));
            Ok(available)
        }
        Stated::Bytes(bytes) if bytes <= available => Ok(bytes),
        Stated::Bytes(bytes) => {
            let frames = |bytes: u64| (bytes / unit.bytes).saturating_mul(unit.frames);
            let (promised, found) = (frames(bytes), frames(available));
            let missing = promised - found;
            if missing > promised / 100 && missing > u64::from(rate) / 10 {
                return Err(Problem::Truncated { promised, found });
            }
            let text = format!("its header promises {bytes} bytes of samples, {available} found");
            warnings.push(Warning::new("length", text));
            Ok(available)
        }
    }
}

/// Samples that are read as they are stored.
pub(super) struct Pcm {
    input: Input,
    layout: PcmLayout,
    info: ClipInfo,
    /// Samples per channel in the file, and those that have been read.
    frames: u64,
    frame: u64,
    /// Reused between blocks.
    bytes: Vec<u8>,
}

impl Pcm {
    pub fn open(input: Input, mut layout: PcmLayout) -> Result<Self, Problem> {
        check_header(layout.channels, layout.rate)?;
        let unit = Unit { bytes: layout.frame_bytes(), frames: 1 };
        let available = input.length().saturating_sub(layout.offset);
        let length = settle(layout.stated, available, unit, layout.rate, &mut layout.warnings)?;
        let frames = length / unit.bytes;
        if frames == 0 {
            return Err(Problem::NoSamples);
        }
        let excess = length % unit.bytes;
        if excess != 0 && layout.warnings.iter().all(|warning| warning.kind != "length") {
            let text = format!("its samples end with {excess} of the {} bytes of a frame", unit.bytes);
            layout.warnings.push(Warning::new("length", text));
        }
        let info = ClipInfo {
            format: layout.container,
            codec: layout.codec(),
            rate: layout.rate,
            channels: layout.channels,
            frames: Some(frames),
        };
        Ok(Self { input, layout, info, frames, frame: 0, bytes: Vec::new() })
    }
}

impl Decoder for Pcm {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next(&mut self, block: &mut Block) -> Result<bool, Fault> {
        let frame_bytes = self.layout.frame_bytes();
        let count = (READ / frame_bytes).max(1).min(self.frames - self.frame);
        if count == 0 {
            return Ok(false);
        }
        self.bytes.resize((count * frame_bytes) as usize, 0);
        let place = self.layout.offset + self.frame * frame_bytes;
        let filled = self.input.read_at(place, &mut self.bytes)?;
        if filled < self.bytes.len() {
            // The file has become shorter since it was opened.
            let found = self.frame + filled as u64 / frame_bytes;
            return Err(Fault::End(Problem::Truncated { promised: self.frames, found }));
        }
        self.frame += count;
        block.rate = self.layout.rate;
        block.channels.resize_with(self.layout.channels, Vec::new);
        block.channels.iter_mut().for_each(|plane| plane.resize(count as usize, 0.0));
        convert::convert(&self.bytes, self.layout.format, &mut block.channels);
        Ok(true)
    }

    fn seek(&mut self, frame: u64) -> Result<u64, Fault> {
        self.frame = frame.min(self.frames);
        Ok(self.frame)
    }

    fn warnings(&mut self) -> Vec<Warning> {
        self.layout.warnings.clone()
    }
}

#[cfg(test)]
mod tests;
