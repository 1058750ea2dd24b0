//! What every decoder of this crate is: blocks of samples, one after another, from any position.

use super::error::Problem;

/// What a file says of itself, before it is decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipInfo {
    /// The container: `WAV`, `FLAC`, `Ogg`, `MP4` …
    pub format: &'static str,
    /// The coding of the samples: `PCM 16 bit`, `MP3`, `Vorbis` …
    pub codec: String,
    /// Sampling rate of the file, in Hz.
    pub rate: u32,
    /// Number of channels in the file.
    pub channels: usize,
    /// Length in samples per channel, where the header states it or the length of the file shows it.
    pub frames: Option<u64>,
}

impl ClipInfo {
    /// Length in seconds, if it is known.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.frames? as f64 / f64::from(self.rate.max(1)))
    }
}

/// Some consecutive samples of all channels.
#[derive(Default)]
pub(crate) struct Block {
    /// Sampling rate in Hz; blocks of one file may differ.
    pub rate: u32,
    /// The samples of each channel at full scale ±1, all of the same length; the channels in the order of WAV files: left,
    /// right, centre, LFE, back left, back right, side left, side right.
    pub channels: Vec<Vec<f32>>,
}

impl Block {
    /// Samples per channel.
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Empties the block and gives it this many channels.
    pub fn clear(&mut self, rate: u32, channels: usize) {
        self.rate = rate;
        self.channels.resize_with(channels, Vec::new);
        self.channels.iter_mut().for_each(Vec::clear);
    }

    /// Removes the first `count` samples of each channel.
    pub fn drop_front(&mut self, count: usize) {
        for channel in &mut self.channels {
            channel.drain(..count.min(channel.len()));
        }
    }

    /// Keeps the first `count` samples of each channel.
    pub fn keep_front(&mut self, count: usize) {
        self.channels.iter_mut().for_each(|channel| channel.truncate(count));
    }
}

/// Why a block could not be decoded.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This packet or frame is corrupt; the next may be good.
    Packet(String),
    /// Nothing after it can be decoded.
    End(Problem),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::End(problem)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::End(error.into())
    }
}

/// Something odd about a file that was heard all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// A short name to count it under.
    pub kind: &'static str,
    /// What was found, for a person.
    pub text: String,
}

/// The kinds of warnings.
const KINDS: [&str; 10] = [
    "block align",
    "cancelled",
    "checksum",
    "damage",
    "extension",
    "first window",
    "format changes",
    "junk",
    "length",
    "unfinished header",
];

impl Warning {
    /// A warning of a kind that this crate gives, such as one that was written to a file; `None` for another kind.
    pub fn known(kind: &str, text: String) -> Option<Self> {
        KINDS.into_iter().find(|known| *known == kind).map(|kind| Self { kind, text })
    }

    pub(crate) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// A file that is being decoded. Frames are counted from the first that is heard: encoder delay is not counted.
pub(crate) trait Decoder {
    fn info(&self) -> &ClipInfo;

    /// Decodes the next block; false at the end. After [`Fault::Packet`] it goes on with what follows.
    fn next(&mut self, block: &mut Block) -> Result<bool, Fault>;

    /// Goes to `frame` at the rate of the file, or to a place before it, and returns where it is now. The next blocks are
    /// those that decoding from the start would have given from there on.
    fn seek(&mut self, frame: u64) -> Result<u64, Fault>;

    /// What was odd so far.
    fn warnings(&mut self) -> Vec<Warning> {
        Vec::new()
    }

    /// Frames that must have been decoded when the end is reached, or the file is called truncated. `None` where the
    /// format does not promise any. Decoders that compare lengths themselves give none.
    fn promised(&self) -> Option<u64> {
        None
    }
}
