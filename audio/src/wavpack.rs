//! WavPack files: blocks of half a second or so that are decoded on their own, by the crate `oxideav-wavpack`.
//!
//! That crate wants its bytes in memory, so the blocks are found here and given to it set by set: a set is the blocks
//! that hold the same samples of different channels. Tags after the last block, of APEv2 and ID3v1, are read over like
//! any bytes that are no block.

mod header;

use oxideav_wavpack as wavpack;

use super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::error::Problem;
use super::input::Input;
use header::{Header, find};

/// Most samples per channel in a set, by the format.
const MOST_FRAMES: u64 = 131_072;

/// Most bytes of a set.
const MOST_BYTES: u64 = 64 << 20;

/// Most frames that are replaced by silence where blocks are missing.
const LONGEST_GAP: u64 = 1 << 20;

/// The blocks of one stretch of time.
struct Set {
    /// Where it begins in the file, and its length in bytes.
    start: u64,
    bytes: u64,
    /// The header of its first block.
    first: Header,
    channels: usize,
}

pub(crate) struct WavPack {
    input: Input,
    info: ClipInfo,
    /// Where the first set begins in the file, and the number of its first frame.
    begin: u64,
    origin: u64,
    /// The same of the set that comes next.
    position: u64,
    frame: u64,
    /// Sets whose checksum is wrong.
    mismatches: usize,
}

impl WavPack {
    pub fn open(input: Input) -> Result<Self, Problem> {
        let Some(begin) = first_sound(&input)? else { return Err(Problem::NoSamples) };
        let set = Set::read(&input, begin)?.map_err(Problem::corrupt)?;
        let first = &set.first;
        if first.is_dsd() {
            return Err(Problem::unsupported("DSD in WavPack"));
        }
        let bytes = input.peek(set.start, set.bytes as usize)?;
        let rate = match wavpack::stream_sample_rate(&bytes) {
            Ok(Some(rate)) if rate > 0 => rate,
            Ok(_) => return Err(Problem::corrupt("its first block states no rate")),
            Err(wavpack::Error::UnsupportedVersion(version)) => {
                return Err(Problem::unsupported(format!("WavPack of the version {version:#x}")));
            }
            Err(error) => return Err(Problem::corrupt(error.to_string())),
        };
        // The length of a file that begins in the middle is that of another.
        let frames = first.total.filter(|_| first.index == 0);
        if frames == Some(0) {
            return Err(Problem::NoSamples);
        }
        let info =
            ClipInfo { format: "WavPack", codec: "WavPack".to_owned(), rate, channels: set.channels, frames };
        let origin = first.index;
        Ok(Self { input, info, begin, origin, position: begin, frame: origin, mismatches: 0 })
    }

    /// Decodes the samples of a set into a block.
    fn decode(&mut self, set: &Set, block: &mut Block) -> Result<(), Fault> {
        let bytes = self.input.peek(set.start, set.bytes as usize)?;
        let most = set.first.frames.saturating_mul(set.channels as u64);
        let (decoded, fine) = wavpack::decode_multichannel_stream_muted_bounded(&bytes, most)
            .map_err(|error| Fault::Packet(error.to_string()))?;
        if decoded.channels != self.info.channels {
            return Err(Fault::Packet(format!("a block has {} channels", decoded.channels)));
        }
        self.mismatches += usize::from(!fine);
        block.clear(self.info.rate, decoded.channels);
        let full_scale = set.first.full_scale();
        for (channel, plane) in block.channels.iter_mut().enumerate() {
            let samples = decoded.samples.iter().skip(channel).step_by(decoded.channels);
            match set.first.is_float() {
                // The crate gives the bits of floats.
                true => plane.extend(samples.map(|&sample| f32::from_bits(sample as u32))),
                false => plane.extend(samples.map(|&sample| sample as f32 / full_scale)),
            }
        }
        Ok(())
    }

    /// Fills a block with silence in place of missing blocks, up to the frame `until`.
    fn fill_gap(&mut self, until: u64, block: &mut Block) {
        block.clear(self.info.rate, self.info.channels);
        let count = (until - self.frame).min(1 << 16);
        block.channels.iter_mut().for_each(|plane| plane.resize(count as usize, 0.0));
        self.frame += count;
    }
}

impl Decoder for WavPack {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next(&mut self, block: &mut Block) -> Result<bool, Fault> {
        let set = match Set::read(&self.input, self.position)? {
            Ok(set) => set,
            Err(what) => {
                let after = find(&self.input, self.position.saturating_add(1))?;
                self.position = after.unwrap_or(self.input.length());
                // Bytes after the last block are tags.
                return if after.is_some() { Err(Fault::Packet(what.to_owned())) } else { Ok(false) };
            }
        };
        let end = set.start + set.bytes;
        if set.first.frames == 0 {
            self.position = end;
            block.clear(self.info.rate, self.info.channels);
            return Ok(true);
        }
        if (1..=LONGEST_GAP).contains(&set.first.index.saturating_sub(self.frame)) {
            self.fill_gap(set.first.index, block);
            return Ok(true);
        }
        self.position = end;
        if set.first.frames > MOST_FRAMES {
            return Err(Fault::Packet(format!("a block states {} samples", set.first.frames)));
        }
        self.decode(&set, block)?;
        self.frame = set.first.index.saturating_add(set.first.frames);
        Ok(true)
    }

    /// Headers are read from the start, which is 50 kB of them per hour.
    fn seek(&mut self, frame: u64) -> Result<u64, Fault> {
        let wanted = self.origin.saturating_add(frame);
        (self.position, self.frame) = (self.begin, self.origin);
        while let Ok(set) = Set::read(&self.input, self.position)? {
            let end = set.first.index.saturating_add(set.first.frames);
            if set.first.frames > 0 && end > wanted {
                break;
            }
            self.position += set.bytes;
            self.frame = if set.first.frames > 0 { end } else { self.frame };
        }
        Ok(self.frame.saturating_sub(self.origin).min(frame))
    }

    fn warnings(&mut self) -> Vec<Warning> {
        let text = format!("{} of its blocks do not match their checksums, and are silent", self.mismatches);
        (self.mismatches > 0).then(|| Warning::new("checksum", text)).into_iter().collect()
    }

    fn promised(&self) -> Option<u64> {
        self.info.frames
    }
}

/// Where the first set with samples begins.
fn first_sound(input: &Input) -> Result<Option<u64>, Problem> {
    let mut position = 0;
    while let Some(header) = Header::read(input, position)? {
        if header.frames > 0 {
            return Ok(Some(position));
        }
        position += header.bytes;
    }
    if position == 0 { Err(Problem::corrupt("its first block is corrupt")) } else { Ok(None) }
}

impl Set {
    /// Finds the blocks of the set that begins here. The inner error says what is wrong with them.
    fn read(input: &Input, start: u64) -> std::io::Result<Result<Self, &'static str>> {
        let Some(first) = Header::read(input, start)? else { return Ok(Err("a block is corrupt")) };
        let (mut bytes, mut channels) = (first.bytes, first.channels());
        if first.frames > 0 {
            let mut last = first.clone();
            while !last.is_final() {
                let Some(next) = Header::read(input, start + bytes)? else {
                    return Ok(Err("a block of several channels is not complete"));
                };
                (bytes, channels) = (bytes + next.bytes, channels + next.channels());
                if bytes > MOST_BYTES {
                    return Ok(Err("a block of several channels does not end"));
                }
                last = next;
            }
        }
        if start + bytes > input.length() {
            return Ok(Err("its last block is not complete"));
        }
        Ok(Ok(Self { start, bytes, first, channels }))
    }
}

#[cfg(test)]
mod tests;
