//! A decoder of frames without a container: MPEG audio and ADTS.
//!
//! Positions are found by walking the headers, which takes less than 0.1 s for an hour, because nothing else is exact:
//! bitrates vary, and the tables of Xing headers have 100 entries. Decoding begins some frames before the one that is
//! wanted, since frames need the ones before them: MP3 takes bits from them, and all overlap.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::error::Problem;
use super::frames::{Frame, Frames, Header, Place};
use super::packets::copy;

/// More junk than this is warned about, in bytes. Less is left by tools that cut and tag.
const JUNK: u64 = 1024;

/// Frames before the wanted one that are remembered during a seek. The shortest MP3 frames have 24 bytes, of which 11
/// are shared, so that the 511 bytes that a frame may take from those before it lie in 47 frames.
const REMEMBERED: usize = 64;

/// Frames decoded before the wanted one, at least. One or two are needed for the overlap of their windows.
const EARLIER: usize = 10;

/// A frame that symphonia decodes.
pub(crate) trait Coded: Header {
    /// Most bytes that a frame takes from the frames before it.
    const BORROWED: usize;

    fn codec(&self) -> AudioCodecId;

    /// Sampling rate in Hz.
    fn rate(&self) -> u32;

    fn channels(&self) -> usize;

    /// Samples per channel in the frame.
    fn samples(&self) -> u64;

    /// Bytes of the frame that a later one may take.
    fn lendable(&self) -> usize;

    /// Fails for a format that cannot be decoded.
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }

    /// What the decoder needs to know before the first frame.
    fn parameters(&self) -> AudioCodecParameters;

    /// What the decoder takes of a frame's bytes.
    fn packet<'a>(&self, frame: &'a [u8]) -> Cow<'a, [u8]>;
}

/// The samples of a file that are no sound but the encoder's delay and padding. Positions are samples from the first
/// frame of sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trim {
    /// Samples to drop at the start.
    pub start: u64,
    /// The padding. Frames may follow it, if files were joined.
    pub padding: Range<u64>,
}

impl Trim {
    /// Which samples of a frame of `length` samples at `position` are heard. The padding is counted from the end of its
    /// frames, as ffmpeg does.
    fn kept(&self, position: u64, length: u64) -> Range<u64> {
        let end = position + length;
        let padded = end > self.padding.start && position < self.padding.end;
        let to = if padded { length - (end - self.padding.start).min(length) } else { length };
        self.start.saturating_sub(position).min(to)..to
    }

    /// Samples that are heard of the first `samples`, of which the padding is the end.
    pub fn heard(&self, samples: u64) -> u64 {
        let padding = self.padding.end.min(samples).saturating_sub(self.padding.start);
        samples.saturating_sub(padding).saturating_sub(self.start)
    }
}

/// How much of a file lies before a position.
#[derive(Clone, Copy, Default)]
struct Clock {
    /// Samples, delay and padding included.
    samples: u64,
    /// What is heard of them, in samples at the rate of the file, up to where the rate last changed.
    before: u64,
    /// Samples heard since then, and at which rate.
    since: u64,
    rate: u32,
}

impl Clock {
    /// Goes over a frame, of which `kept` samples are heard.
    fn advance(&mut self, rate: u32, length: u64, kept: u64, file_rate: u32) {
        if rate != self.rate {
            (self.before, self.since, self.rate) = (self.heard(file_rate), 0, rate);
        }
        self.samples += length;
        self.since += kept;
    }

    /// Samples heard, at the rate of the file.
    fn heard(&self, file_rate: u32) -> u64 {
        if self.rate == file_rate {
            self.before + self.since
        } else {
            self.before + scaled(self.since, self.rate, file_rate)
        }
    }
}

/// A number of samples at another rate.
fn scaled(samples: u64, from: u32, to: u32) -> u64 {
    (samples as f64 * f64::from(to) / f64::from(from.max(1))).round() as u64
}

/// A file of frames, and the decoder of the format that they have now.
pub(crate) struct Elementary<H> {
    frames: Frames<H>,
    /// Where the first frame of sound is searched.
    begin: Place<H>,
    info: ClipInfo,
    trim: Trim,
    /// Samples that the header of the file promises.
    promise: Option<u64>,
    decoder: Option<(H, Box<dyn AudioDecoder>)>,
    clock: Clock,
    /// Frames that begin before it are decoded only because later ones need them.
    audible_from: u64,
    /// Samples that are still to be dropped after a seek.
    drop: u64,
    ended: bool,
    change: Option<Warning>,
}

impl<H: Coded> Elementary<H> {
    /// A decoder of what follows in `frames`.
    pub fn new(frames: Frames<H>, info: ClipInfo, trim: Trim, promise: Option<u64>) -> Self {
        Self {
            begin: frames.place(),
            frames,
            info,
            trim,
            promise,
            decoder: None,
            clock: Clock::default(),
            audible_from: 0,
            drop: 0,
            ended: false,
            change: None,
        }
    }

    /// Goes over a frame, and returns which of its samples are heard.
    fn advance(&mut self, header: &H) -> Range<u64> {
        let kept = self.trim.kept(self.clock.samples, header.samples());
        self.clock.advance(header.rate(), header.samples(), kept.end - kept.start, self.info.rate);
        kept
    }

    fn decode(&mut self, frame: &Frame<H>, block: &mut Block) -> Result<(), Fault> {
        let header = &frame.header;
        if self.decoder.as_ref().is_none_or(|(format, _)| !format.matches(header)) {
            if let Some((format, _)) = &self.decoder {
                self.change.get_or_insert_with(|| changed(format, header));
            }
            self.decoder = Some((*header, decoder(header)?));
        }
        let Some((_, decoder)) = &mut self.decoder else { return Ok(()) };
        let bytes = header.packet(self.frames.content(frame)?);
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::from(header.samples()), &bytes);
        let buffer = decoder.decode_ref(&packet).map_err(|error| Fault::Packet(error.to_string()))?;
        copy(&buffer, block);
        Ok(())
    }

    /// Goes back to where decoding must begin for a frame, before which those in `earlier` stand.
    fn begin_before(
        &mut self,
        frame: &Frame<H>,
        here: (Place<H>, Clock),
        earlier: &VecDeque<(Place<H>, Clock, H)>,
    ) {
        let (mut start, mut lent) = (here, 0);
        for (i, &(place, clock, header)) in earlier.iter().rev().enumerate() {
            if i >= EARLIER && lent >= H::BORROWED {
                break;
            }
            start = (place, clock);
            // The two frames before the wanted one must themselves be complete.
            lent += if i < 2 { 0 } else { header.lendable() };
        }
        self.frames.go_to(start.0);
        self.clock = start.1;
        self.audible_from = frame.position;
    }
}

impl<H: Coded> Decoder for Elementary<H> {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next(&mut self, block: &mut Block) -> Result<bool, Fault> {
        loop {
            let Some(frame) = self.frames.next()? else {
                self.ended = true;
                return Ok(false);
            };
            let kept = self.advance(&frame.header);
            let decoded = self.decode(&frame, block);
            if frame.position < self.audible_from && !matches!(decoded, Err(Fault::End(_))) {
                continue;
            }
            let dropped = self.drop.min(kept.end - kept.start);
            self.drop -= dropped;
            decoded?;
            block.keep_front(kept.end as usize);
            block.drop_front((kept.start + dropped) as usize);
            if block.frames() > 0 {
                return Ok(true);
            }
        }
    }

    fn seek(&mut self, wanted: u64) -> Result<u64, Fault> {
        self.frames.go_to(self.begin);
        (self.clock, self.decoder, self.drop, self.audible_from) = (Clock::default(), None, 0, 0);
        let mut earlier = VecDeque::with_capacity(REMEMBERED);
        loop {
            let here = (self.frames.place(), self.clock);
            let before = self.clock.heard(self.info.rate);
            let Some(frame) = self.frames.next()? else { return Ok(before) };
            self.advance(&frame.header);
            if self.clock.heard(self.info.rate) > wanted {
                self.drop = scaled(wanted.saturating_sub(before), self.info.rate, frame.header.rate());
                self.begin_before(&frame, here, &earlier);
                return Ok(wanted);
            }
            if earlier.len() == REMEMBERED {
                earlier.pop_front();
            }
            earlier.push_back((here.0, here.1, frame.header));
        }
    }

    fn warnings(&mut self) -> Vec<Warning> {
        let junk = self.frames.junk();
        let junk = (junk > JUNK).then(|| {
            Warning::new(
                "junk",
                format!("{junk} bytes between its frames are not {} and were skipped", self.info.codec),
            )
        });
        junk.into_iter().chain(self.change.clone()).collect()
    }

    /// What the header promises, if much less was there. Headers of recordings that were cut, or joined, are often left
    /// as they were, so only a quarter that is missing shows that the file is truncated.
    fn promised(&self) -> Option<u64> {
        let found = self.clock.heard(self.info.rate);
        self.promise.filter(|&promise| self.ended && promise > found.saturating_mul(4) / 3)
    }
}

fn decoder<H: Coded>(header: &H) -> Result<Box<dyn AudioDecoder>, Problem> {
    header.check()?;
    let made = symphonia::default::get_codecs()
        .make_audio_decoder(&header.parameters(), &AudioDecoderOptions::default());
    made.map_err(|error| match error {
        Error::Unsupported(what) => Problem::unsupported(format!("its codec ({what})")),
        other => Problem::corrupt(other.to_string()),
    })
}

fn changed<H: Coded>(from: &H, to: &H) -> Warning {
    let text = |header: &H| {
        let channels = if header.channels() == 1 { "mono" } else { "stereo" };
        format!("{channels} at {} Hz", header.rate())
    };
    let codec = if from.codec() == to.codec() { "" } else { " of another layer" };
    Warning::new("format changes", format!("it changes from {} to {}{codec}", text(from), text(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_and_padding_are_cut_from_the_frames_that_hold_them() {
        let trim = Trim { start: 1105, padding: 4000..4608 };
        // Frames of 1152 begin at 0, 1152, 2304, 3456. The last ends at 4608, 608 after the start of the padding.
        assert_eq!(trim.kept(0, 1152), 1105..1152);
        assert_eq!(trim.kept(1152, 1152), 0..1152);
        assert_eq!(trim.kept(3456, 1152), 0..544);
        // A joined file goes on after it.
        assert_eq!(trim.kept(4608, 1152), 0..1152);
        // 47 + 1152 + 1152 + 544.
        assert_eq!(trim.heard(4608), 2895);
        assert_eq!(Trim::default().kept(0, 576), 0..576);
    }

    #[test]
    fn padding_of_several_frames_leaves_nothing_of_the_last() {
        let trim = Trim { start: 0, padding: 1000..2304 };
        assert_eq!(trim.kept(0, 1152), 0..1000);
        assert_eq!(trim.kept(1152, 1152), 0..0);
    }

    #[test]
    fn a_clock_counts_at_the_rate_of_the_file() {
        let mut clock = Clock::default();
        clock.advance(44_100, 1152, 1000, 44_100);
        // 576 samples at 22,050 Hz are 1152 at 44,100 Hz.
        clock.advance(22_050, 576, 576, 44_100);
        assert_eq!((clock.samples, clock.heard(44_100)), (1728, 2152));
        clock.advance(44_100, 1152, 1152, 44_100);
        assert_eq!(clock.heard(44_100), 3304);
    }
}
