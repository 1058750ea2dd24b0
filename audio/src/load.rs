//! A clip as a model hears it: a window of a file, mono, at 16 kHz.
//!
//! The decoder gives blocks; each is mixed to mono and resampled, and decoding stops when the window is full. So the
//! memory for a clip depends on the window and not on the length of the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::downmix::{Downmix, Mixer};
use super::error::{AudioError, Problem};
use super::fallback;
use super::flac;
use super::input::Input;
use super::kind::Kind;
use super::packets::Packets;
use super::pcm;
use super::place::open_place;
use super::resample::{Resampler, SAMPLE_RATE};
use super::sniff;
use super::wavpack::WavPack;
use super::{adts, matroska, mp4, mpeg};

/// Corrupt packets allowed per good one. With more, too little of the clip is left. One scratch costs a short MP3
/// several packets, because packets share bits; and random bytes contain MP3 headers, few of which start a good packet.
const CORRUPT_PER_GOOD: f64 = 0.25;

/// A short clip, where a single scratch is a large share, may have up to this many corrupt packets, as long as they are
/// fewer than the good ones.
const CORRUPT_PACKETS: usize = 8;

/// Largest absolute value of a sample (full scale is 1). Larger ones come from a corrupt float file and would overflow
/// the features. Float files that hold 16-bit integer values pass.
const LOUDEST: f32 = 1e6;

/// Most samples that memory is reserved for because a header states them.
const MAX_RESERVED: usize = 1 << 22;

/// Samples per channel by which a header may be wrong without a warning, beside 1 %: two frames of MP3.
const LENGTH_TOLERANCE: u64 = 2304;

/// Most channels of a file. More are a corrupt header.
const MAX_CHANNELS: usize = 64;

/// What to hear of a file, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hearing {
    /// How several channels become one.
    pub downmix: Downmix,
    /// The part of the file that counts as the clip, in seconds.
    pub start: f64,
    /// Where that part ends, in seconds; `None` for the end of the file.
    pub end: Option<f64>,
    /// Most samples @ 16 kHz to decode; `None` for all.
    pub samples: Option<usize>,
    /// Which samples of a longer clip to decode: 0 for the first, 0.5 for those in the middle, 1 for the last.
    pub position: f64,
    /// A program that decodes what this crate does not, as ffmpeg would.
    pub fallback: Option<PathBuf>,
}

/// What was heard of a file.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The samples, f32, mono, @ 16 kHz.
    pub samples: Vec<f32>,
    /// What the file is.
    pub info: ClipInfo,
    /// Where in the file the samples begin, in seconds.
    pub start: f64,
    /// What was odd about it.
    pub warnings: Vec<Warning>,
}

/// Decodes a file to samples @ 16 kHz, f32, mono. `path` may also name a member of a tar archive
/// (`ARCHIVE.tar!MEMBER`), a cell of a Parquet file (`FILE.parquet#COLUMN=ROW`), or a file by its `file://` URL.
///
/// The format is recognised by the content, not by the name; docs/audio.md lists the formats. A few corrupt packets of a
/// lossy stream are skipped. Encoder delay and padding are cut where the file states them.
///
/// Errors: [`AudioError`] if the file is missing, unreadable, empty, not audio, without samples, much shorter than its
/// header states, or corrupt throughout.
pub fn load(path: &Path, hearing: &Hearing) -> Result<Clip, AudioError> {
    load_in_windows(path, hearing, usize::MAX, |_| ()).map(|(_, clip)| clip)
}

/// Decodes a file as [`load()`] does, and gives each `window` samples to `each` as soon as they are decoded, so that no
/// more than one window is in memory. Returns what `each` made of them; the clip has only the samples after the last full
/// window.
///
/// Errors: those of [`load()`].
pub fn load_in_windows<T>(
    path: &Path,
    hearing: &Hearing,
    window: usize,
    mut each: impl FnMut(&[f32]) -> T,
) -> Result<(Vec<T>, Clip), AudioError> {
    let mut made = Vec::new();
    let mut collect = |samples: &[f32]| made.push(each(samples));
    let mut windows = Windows { length: window.max(1), each: &mut collect };
    let clip = guarded(|| open_place(path)).and_then(|input| load_input(path, input, hearing, &mut windows));
    let clip = match (clip, &hearing.fallback) {
        (Err(Problem::Unsupported { .. } | Problem::NotAudio), Some(program)) if path.is_file() => {
            // What was decoded before the file turned out to need the program is decoded again by it.
            made.clear();
            let mut collect = |samples: &[f32]| made.push(each(samples));
            load_by(program, path, hearing, &mut Windows { length: window.max(1), each: &mut collect })
        }
        (clip, _) => clip,
    };
    clip.map(|clip| (made, clip)).map_err(|problem| problem.at(path))
}

/// Who gets the samples of a clip while it is decoded.
struct Windows<'a> {
    /// Samples in each window, at least 1.
    length: usize,
    each: &'a mut dyn FnMut(&[f32]),
}

/// Decodes a file by another program. The length of such a file is not known, so its first window is heard.
fn load_by(
    program: &Path,
    path: &Path,
    hearing: &Hearing,
    windows: &mut Windows<'_>,
) -> Result<Clip, Problem> {
    let window = Window::of(hearing, || Ok(0.0))?;
    let seconds = (window.samples < usize::MAX).then(|| window.samples as f64 / f64::from(SAMPLE_RATE));
    let wav = fallback::decode(program, path, window.start, seconds)?;
    let rest = Hearing { start: 0.0, end: None, position: 0.0, ..hearing.clone() };
    let mut clip = load_input(Path::new("pipe.wav"), wav, &rest, windows)?;
    if hearing.position > 0.0 {
        clip.warnings
            .push(Warning::new("first window", "its length is not known, so its beginning is heard"));
    }
    Ok(Clip { start: window.start, info: decoded_by(program, clip.info), ..clip })
}

/// Decodes a file whose content is already in memory, as [`load()`] does; errors name it as `path`.
///
/// Errors: those of [`load()`], except for a file that is missing or unreadable.
pub fn load_bytes(path: &Path, bytes: Vec<u8>, hearing: &Hearing) -> Result<Clip, AudioError> {
    let mut whole = Windows { length: usize::MAX, each: &mut |_| {} };
    load_input(path, Input::of_bytes(bytes), hearing, &mut whole).map_err(|problem| problem.at(path))
}

/// Reads the header of a file. Of one that is left to the program `fallback`, nothing is known but that.
///
/// Errors: those of [`load()`] that show in the header.
pub fn inspect(path: &Path, fallback: Option<&Path>) -> Result<ClipInfo, AudioError> {
    let opened = || open_place(path).and_then(open_decoder).map(|(_, decoder)| decoder.info().clone());
    match (guarded(opened), fallback) {
        (Err(Problem::Unsupported { .. } | Problem::NotAudio), Some(program)) if path.is_file() => {
            Ok(decoded_by(program, ClipInfo::default()))
        }
        (info, _) => info.map_err(|problem| problem.at(path)),
    }
}

fn decoded_by(program: &Path, info: ClipInfo) -> ClipInfo {
    ClipInfo { format: "other", codec: format!("decoded by {}", program.display()), ..info }
}

/// Opens the encoded bytes of a clip, wherever they lie.
///
/// Errors: those of [`load()`] for a clip that is missing or unreadable.
pub fn open(path: &Path) -> Result<Input, AudioError> {
    guarded(|| open_place(path)).map_err(|problem| problem.at(path))
}

fn load_input(
    path: &Path,
    input: Input,
    hearing: &Hearing,
    windows: &mut Windows<'_>,
) -> Result<Clip, Problem> {
    guarded(|| {
        let (kind, mut decoder) = open_decoder(input.clone())?;
        let window = Window::of(hearing, || match decoder.info().seconds() {
            Some(seconds) => Ok(seconds),
            None => measure(input.clone()),
        })?;
        let skip = match seek(decoder.as_mut(), window.start) {
            // What cannot be reached by seeking is reached by decoding from the start.
            Err(Problem::Corrupt { .. }) => {
                decoder = open_decoder(input.clone())?.1;
                frame_at(decoder.as_ref(), window.start)
            }
            skip => skip?,
        };
        let mut clip = hear(decoder.as_mut(), hearing.downmix, &window, skip, windows)?;
        clip.warnings.extend(kind.contradicts(path));
        Ok(clip)
    })
}

/// Runs a decoder. Decoders parse untrusted bytes: if one of them panics, only this clip fails, not the loader thread
/// (AUDIO-2).
fn guarded<T>(decode: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(Problem::corrupt("its bytes make the decoder fail")))
}

/// Chooses the decoder of a file.
fn open_decoder(input: Input) -> Result<(Kind, Box<dyn Decoder>), Problem> {
    let (kind, start) = sniff::sniff(&input)?;
    let input = input.part(start, u64::MAX);
    let decoder: Box<dyn Decoder> = match kind {
        Kind::Wave => pcm::riff::open(input)?,
        Kind::Wave64 => pcm::w64::open(input)?,
        Kind::Aiff => pcm::aiff::open(input)?,
        Kind::Au => pcm::au::open(input)?,
        Kind::Caf => pcm::caf::open(input)?,
        Kind::Sphere => pcm::sphere::open(input)?,
        Kind::Mp4 => mp4::open(input)?,
        Kind::Flac => flac::open(input)?,
        Kind::Matroska => matroska::open(input)?,
        Kind::Mpeg => mpeg::open(input)?,
        Kind::Adts => adts::open(input)?,
        Kind::WavPack => Box::new(WavPack::open(input)?),
        _ => Box::new(Packets::open(kind, input)?),
    };
    if decoder.info().channels > MAX_CHANNELS {
        return Err(Problem::unsupported(format!("a file of {} channels", decoder.info().channels)));
    }
    Ok((kind, decoder))
}

/// The samples of a file that are decoded.
struct Window {
    /// In seconds.
    start: f64,
    /// Most samples @ 16 kHz.
    samples: usize,
}

impl Window {
    /// `length` returns the length of the file in seconds; it is asked only if the window depends on it.
    fn of(hearing: &Hearing, length: impl FnOnce() -> Result<f64, Problem>) -> Result<Self, Problem> {
        let rate = f64::from(SAMPLE_RATE);
        let mut start = hearing.start.max(0.0);
        let mut samples = hearing.samples.unwrap_or(usize::MAX);
        if let Some(end) = hearing.end {
            samples = samples.min(((end - start).max(0.0) * rate).round() as usize);
        }
        if hearing.position > 0.0
            && let Some(most) = hearing.samples
        {
            let end = length()?.min(hearing.end.unwrap_or(f64::INFINITY));
            let excess = end - start - most as f64 / rate;
            if excess > 0.0 {
                start += excess * hearing.position.min(1.0);
            }
        }
        Ok(Self { start, samples })
    }
}

/// Length in seconds of a file whose header does not state it.
fn measure(input: Input) -> Result<f64, Problem> {
    let (_, mut decoder) = open_decoder(input)?;
    let (mut block, mut seconds) = (Block::default(), 0.0);
    loop {
        match decoder.next(&mut block) {
            Ok(true) => seconds += block.frames() as f64 / f64::from(block.rate.max(1)),
            Ok(false) => return Ok(seconds),
            Err(Fault::Packet(_)) => {}
            Err(Fault::End(problem)) => return Err(problem),
        }
    }
}

/// Decodes a window, of which the first `skip` frames are to be dropped.
fn hear(
    decoder: &mut dyn Decoder,
    downmix: Downmix,
    window: &Window,
    skip: u64,
    windows: &mut Windows<'_>,
) -> Result<Clip, Problem> {
    let most = window.samples;
    let mut heard = Heard::new(downmix);
    heard.reserve(decoder.info(), most.min(windows.length));
    let (mut block, mut health, mut dropped) = (Block::default(), Health::default(), 0u64);
    let mut ended = false;
    while heard.given + heard.samples.len() < most {
        match decoder.next(&mut block) {
            Ok(true) => {
                health.good += 1;
                health.frames += block.frames() as u64;
                if dropped < skip {
                    let count = (skip - dropped).min(block.frames() as u64);
                    block.drop_front(count as usize);
                    dropped += count;
                }
                heard.push(&block)?;
                heard.give(most, windows);
            }
            Ok(false) => {
                ended = true;
                break;
            }
            Err(Fault::Packet(what)) => health.note(what)?,
            Err(Fault::End(problem)) => return Err(problem),
        }
    }
    if health.corrupt > 0 {
        let text = format!("{} of its packets are damaged and were left out", health.corrupt);
        heard.warnings.push(Warning::new("damage", text));
    }
    if ended {
        health.check((window.start <= 0.0).then(|| decoder.promised()).flatten())?;
        if window.start > 0.0 && heard.is_empty() {
            let rate = f64::from(decoder.info().rate.max(1));
            let seconds = window.start - (skip - dropped) as f64 / rate;
            return Err(Problem::AfterEnd { start: window.start, seconds });
        }
    } else {
        health.check(None)?;
    }
    let mut info = decoder.info().clone();
    if ended && window.start <= 0.0 && heard.pieces == 1 {
        heard.compare_lengths(&mut info, health.frames);
    }
    let mut warnings = decoder.warnings();
    let samples = heard.finish(most, windows, &mut warnings)?;
    Ok(Clip { samples, info, start: window.start, warnings })
}

/// Goes to the start of the window; returns how many frames are still to be dropped.
fn seek(decoder: &mut dyn Decoder, start: f64) -> Result<u64, Problem> {
    if start <= 0.0 {
        return Ok(0);
    }
    let frame = frame_at(decoder, start);
    if let Some(seconds) = decoder.info().seconds()
        && decoder.info().frames.is_some_and(|frames| frames <= frame)
    {
        return Err(Problem::AfterEnd { start, seconds });
    }
    match decoder.seek(frame) {
        Ok(at) => Ok(frame.saturating_sub(at)),
        Err(Fault::End(problem)) => Err(problem),
        Err(Fault::Packet(what)) => Err(Problem::corrupt(what)),
    }
}

/// The frame at a time in seconds.
fn frame_at(decoder: &dyn Decoder, seconds: f64) -> u64 {
    (seconds * f64::from(decoder.info().rate)).round() as u64
}

/// How much of a file could be decoded.
#[derive(Default)]
struct Health {
    good: usize,
    corrupt: usize,
    first_fault: Option<String>,
    /// Frames decoded.
    frames: u64,
}

impl Health {
    /// Counts a corrupt packet. Fails after 100 of them if most packets are corrupt, so that garbage is not read to its
    /// end.
    fn note(&mut self, what: String) -> Result<(), Problem> {
        self.corrupt += 1;
        let what = self.first_fault.get_or_insert(what);
        if self.corrupt > 100 && self.good < self.corrupt {
            Err(Problem::corrupt(what.clone()))
        } else {
            Ok(())
        }
    }

    /// Fails if too many packets were corrupt, or if the file is truncated.
    fn check(&self, promised: Option<u64>) -> Result<(), Problem> {
        if let Some(what) = &self.first_fault {
            let share = (self.good as f64 * CORRUPT_PER_GOOD) as usize;
            let limit = share.max(CORRUPT_PACKETS).min(self.good);
            if self.corrupt >= limit {
                return Err(Problem::corrupt(what.clone()));
            }
        }
        match promised {
            // Frames in the middle are missing more likely than the end.
            Some(promised) if self.frames < promised && self.frames >= promised - promised / 20 => {
                let lost = promised - self.frames;
                Err(Problem::corrupt(format!("{lost} of its {promised} samples are damaged or missing")))
            }
            Some(promised) if self.frames < promised => {
                Err(Problem::Truncated { promised, found: self.frames })
            }
            _ => Ok(()),
        }
    }
}

/// The samples that have been heard so far. A file whose rate changes is resampled piece by piece.
struct Heard {
    mixer: Mixer,
    mono: Vec<f32>,
    resampler: Option<(u32, Resampler)>,
    /// Pieces of one rate so far.
    pieces: usize,
    /// Samples that were given away in windows.
    given: usize,
    /// Those after them.
    samples: Vec<f32>,
    warnings: Vec<Warning>,
}

impl Heard {
    fn new(downmix: Downmix) -> Self {
        Self {
            mixer: Mixer::new(downmix),
            mono: Vec::new(),
            resampler: None,
            pieces: 0,
            given: 0,
            samples: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.given == 0 && self.samples.is_empty() && self.resampler.is_none()
    }

    /// Reserves memory for a file of the length that its header states, which may be corrupt.
    fn reserve(&mut self, info: &ClipInfo, most: usize) {
        let samples = info.seconds().unwrap_or(0.0) * f64::from(SAMPLE_RATE);
        // One more than is heard, for rounding.
        self.samples.reserve((samples as usize).min(most).min(MAX_RESERVED) + 1);
    }

    fn push(&mut self, block: &Block) -> Result<(), Problem> {
        if block.frames() == 0 {
            return Ok(());
        }
        if block.channels.len() > MAX_CHANNELS {
            return Err(Problem::unsupported(format!("a file of {} channels", block.channels.len())));
        }
        if self.resampler.as_ref().is_none_or(|(rate, _)| *rate != block.rate) {
            self.end_piece();
            let resampler = Resampler::new(block.rate)
                .ok_or_else(|| Problem::unsupported(format!("a rate of {} Hz", block.rate)))?;
            self.resampler = Some((block.rate, resampler));
            self.pieces += 1;
        }
        self.mono.clear();
        self.mixer.mix(block, &mut self.mono);
        // Without an early end, so that the compiler can use vector instructions.
        if !self.mono.iter().fold(true, |fine, sample| fine & (sample.abs() <= LOUDEST)) {
            let what = format!("a sample is not finite or above {LOUDEST:e} (full scale is 1)");
            return Err(Problem::corrupt(what));
        }
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.push(&self.mono, &mut self.samples);
        }
        Ok(())
    }

    /// Replaces the length in the header by that of the `frames` that were heard, with a warning if it is another.
    fn compare_lengths(&mut self, info: &mut ClipInfo, frames: u64) {
        if let Some(stated) = info.frames.replace(frames)
            && stated.abs_diff(frames) > LENGTH_TOLERANCE + frames / 100
        {
            let rate = f64::from(info.rate.max(1));
            let [stated, heard] = [stated, frames].map(|frames| frames as f64 / rate);
            let text = format!("its header states {stated:.2} s, and {heard:.2} s were heard");
            self.warnings.push(Warning::new("length", text));
        }
    }

    fn end_piece(&mut self) {
        if let Some((_, resampler)) = self.resampler.take() {
            resampler.finish(&mut self.samples);
        }
    }

    /// Gives away the full windows among the samples, of which `most` count in all.
    fn give(&mut self, most: usize, windows: &mut Windows<'_>) {
        let length = windows.length;
        while self.samples.len() >= length && self.given + length <= most {
            (windows.each)(&self.samples[..length]);
            self.samples.drain(..length);
            self.given += length;
        }
    }

    fn finish(
        mut self,
        most: usize,
        windows: &mut Windows<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<f32>, Problem> {
        self.end_piece();
        self.give(most, windows);
        self.samples.truncate(most - self.given);
        // A few samples at a high rate can round to none.
        if self.given == 0 && self.samples.is_empty() {
            return Err(Problem::NoSamples);
        }
        warnings.append(&mut self.warnings);
        warnings.extend(self.mixer.warning());
        Ok(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_given_one_after_another_and_the_rest_is_the_clip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let samples: Vec<f32> = (0..2_500).map(|i| f32::from(i as i16) / 32_768.0).collect();
        std::fs::write(&path, crate::wav_16_bit(&samples)).unwrap();
        let whole = load(&path, &Hearing::default()).unwrap().samples;
        assert_eq!(whole.len(), 2_500);
        let heard = |window: usize, most: Option<usize>| {
            let hearing = Hearing { samples: most, ..Hearing::default() };
            let (windows, clip) = load_in_windows(&path, &hearing, window, <[f32]>::to_vec).unwrap();
            (windows, clip.samples)
        };
        let (windows, rest) = heard(1_000, None);
        assert_eq!(windows, [&whole[..1_000], &whole[1_000..2_000]]);
        assert_eq!(rest, whole[2_000..]);
        // Two windows and the sample that shows that there is more.
        let (windows, rest) = heard(1_000, Some(2_001));
        assert_eq!((windows.len(), rest), (2, whole[2_000..2_001].to_vec()));
        // Nothing is left after the last window.
        let (windows, rest) = heard(1_250, None);
        assert_eq!((windows.concat(), rest), (whole.clone(), Vec::new()));
        assert_eq!(heard(3_000, None), (Vec::new(), whole));
    }

    #[test]
    fn a_decoder_that_panics_is_one_corrupt_clip() {
        let problem = guarded::<()>(|| panic!("index out of bounds")).unwrap_err();
        assert_eq!(problem.to_string(), "corrupt audio: its bytes make the decoder fail; fetch it again");
    }
}
