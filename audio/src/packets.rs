//! Decoding by symphonia: FLAC, Ogg, MP4, Matroska and CAF, and the codecs in them.

use std::io::ErrorKind;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};

use super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::error::Problem;
use super::input::Input;
use super::kind::Kind;

/// A container that symphonia reads, and the decoder of its first sound track.
pub(crate) struct Packets {
    format: Box<dyn FormatReader>,
    track: u32,
    time_base: Option<TimeBase>,
    decoder: Box<dyn AudioDecoder>,
    info: ClipInfo,
    /// Frames that the file must hold at least.
    promised: Option<u64>,
    /// The first packet after a seek, which has been read to learn where it begins.
    ahead: Option<Packet>,
    warnings: Vec<Warning>,
}

impl Packets {
    pub fn open(kind: Kind, input: Input) -> Result<Self, Problem> {
        let stream = MediaSourceStream::new(Box::new(input), Default::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match error {
                Error::Unsupported(_) => {
                    Problem::corrupt(format!("it begins like {}, but what should follow is missing", kind.name()))
                }
                other => Problem::corrupt(other.to_string()),
            })?;
        let (track, decoder) = make_decoder(format.as_ref())?;
        let found = format.tracks().iter().find(|one| one.id == track);
        let parameters = decoder.codec_params();
        let info = ClipInfo {
            format: kind.name(),
            codec: decoder.codec_info().short_name.to_owned(),
            rate: parameters.sample_rate.unwrap_or(0),
            channels: parameters.channels.as_ref().map_or(0, |channels| channels.count()),
            frames: found.and_then(|track| track.num_frames),
        };
        let least = match kind {
            Kind::Flac => 1.0,
            // Ogg states its length reliably, but a scratch costs a whole page, about a second.
            Kind::Ogg => 0.75,
            // Often the count is that of a longer recording that the clip was cut from.
            _ => 0.0,
        };
        let promised = info.frames.map(|frames| (frames as f64 * least).ceil() as u64).filter(|&frames| frames > 0);
        let time_base = found.and_then(|track| track.time_base);
        Ok(Self { format, track, time_base, decoder, info, promised, ahead: None, warnings: Vec::new() })
    }

    /// The same, with a warning of what was odd about the header.
    pub fn with_warning(mut self, warning: Option<Warning>) -> Self {
        self.warnings.extend(warning);
        self
    }

    /// The next packet of the sound track; `None` at the end.
    fn packet(&mut self) -> Result<Option<Packet>, Fault> {
        if let Some(packet) = self.ahead.take() {
            return Ok(Some(packet));
        }
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => return Ok(Some(packet)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                // A chained Ogg file: another recording follows the first.
                Err(Error::ResetRequired) => {
                    (self.track, self.decoder) = make_decoder(self.format.as_ref())?;
                }
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(Fault::Packet(error.to_string())),
            }
        }
    }

    fn frame_of(&self, time: Timestamp) -> u64 {
        let seconds = self.time_base.and_then(|base| base.calc_time(time)).map(|time| time.as_secs_f64());
        (seconds.unwrap_or(0.0) * f64::from(self.info.rate)).round().max(0.0) as u64
    }
}

impl Decoder for Packets {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next(&mut self, block: &mut Block) -> Result<bool, Fault> {
        let Some(packet) = self.packet()? else { return Ok(false) };
        let buffer = self.decoder.decode(&packet).map_err(|error| Fault::Packet(error.to_string()))?;
        copy(&buffer, block);
        Ok(true)
    }

    fn seek(&mut self, frame: u64) -> Result<u64, Fault> {
        let failed = |error: Error| Fault::End(Problem::corrupt(format!("cannot seek in it: {error}")));
        let time = frame as f64 / f64::from(self.info.rate.max(1));
        let time = symphonia::core::units::Time::try_from_secs_f64(time)
            .ok_or_else(|| Fault::End(Problem::corrupt("cannot seek in it: the time is out of range")))?;
        self.format.seek(SeekMode::Accurate, SeekTo::Time { time, track_id: Some(self.track) }).map_err(failed)?;
        self.decoder.reset();
        self.ahead = self.packet()?;
        let at = self.ahead.as_ref().map(|packet| packet.pts);
        Ok(at.map_or(frame, |time| self.frame_of(time)))
    }

    fn warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn promised(&self) -> Option<u64> {
        self.promised
    }
}

fn make_decoder(format: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), Problem> {
    let track = format.default_track(TrackType::Audio);
    let track = track.ok_or_else(|| Problem::unsupported("a file without an audio track of a known codec"))?;
    let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
        return Err(Problem::unsupported("an audio track without a codec"));
    };
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| match error {
            Error::Unsupported(what) => Problem::unsupported(format!("its codec ({what})")),
            other => Problem::corrupt(other.to_string()),
        })?;
    Ok((track.id, decoder))
}

/// Copies decoded samples into a block, as f32.
pub(crate) fn copy(buffer: &GenericAudioBufferRef<'_>, block: &mut Block) {
    block.clear(buffer.spec().rate(), 0);
    buffer.copy_to_vecs_planar(&mut block.channels);
}
