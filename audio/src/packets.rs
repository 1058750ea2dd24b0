//! Decoding by symphonia: FLAC, Ogg, MP4, Matroska and CAF, and the codecs in them.

use std::io::ErrorKind;
use std::sync::LazyLock;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};

use super::aac::{self, SbrSearch};
use super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::error::Problem;
use super::input::Input;
use super::kind::Kind;
use super::mp4_guard::Guarded;
use super::opus::{self, OpusDecoder, Timing};
use super::{names, ogg, padding};

/// Symphonia's decoders and ours.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<OpusDecoder>();
    codecs
});

/// Longest page of an Ogg file in samples @ 48 kHz: 255 packets of 60 ms.
const LONGEST_PAGE: u64 = 255 * 2880;

/// Most faults of a container that are passed over in a search.
const MOST_FAULTS: usize = 100;

/// Errors without a packet between them, after which a file counts as ended.
const MOST_ERRORS_IN_A_ROW: u32 = 64;

/// What a lossy decoder has to decode before a place, in seconds, so that it decodes that place as it would from the
/// start: windows that overlap.
const PREROLL: f64 = 0.25;

/// A container that symphonia reads, and the decoder of its first sound track.
pub(crate) struct Packets {
    kind: Kind,
    /// The file, to open it again.
    input: Input,
    format: Box<dyn FormatReader>,
    track: u32,
    time_base: Option<TimeBase>,
    decoder: Box<dyn AudioDecoder>,
    info: ClipInfo,
    /// Frames that the file must hold at least.
    promised: Option<u64>,
    /// The first packet, if it has been read to learn where it begins.
    ahead: Option<Packet>,
    /// The first block after a seek, likewise.
    decoded: Option<Block>,
    /// The frame at which the first packet begins: not 0 if the file was cut from a longer stream.
    beginning: u64,
    errors_in_a_row: u32,
    warnings: Vec<Warning>,
    /// Whether symphonia can seek in it.
    seeks: bool,
    /// What is heard of an Opus track.
    opus: Option<Timing>,
}

impl Packets {
    pub fn open(kind: Kind, input: Input) -> Result<Self, Problem> {
        let mut packets = Self::probe(kind, input.clone()).map_err(|problem| named(problem, kind, &input))?;
        if packets.decoder.codec_params().codec == CODEC_ID_AAC {
            // Another reader, since some containers cannot be read again from the start once their end was reached.
            Self::probe(kind, input)?.refuse_sbr()?;
        }
        packets.prepare_opus()?;
        if kind == Kind::Ogg && packets.opus.is_none() {
            packets.find_beginning();
        }
        Ok(packets)
    }

    fn probe(kind: Kind, input: Input) -> Result<Self, Problem> {
        let source: Box<dyn MediaSource> = match kind {
            Kind::Mp4 => Box::new(Guarded::new(input.clone())),
            _ => Box::new(input.clone()),
        };
        let stream = MediaSourceStream::new(source, Default::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match error {
                Error::Unsupported(_) => Problem::corrupt(format!(
                    "it begins like {}, but what should follow is missing",
                    kind.name()
                )),
                other => Problem::corrupt(other.to_string()),
            })?;
        let (track, decoder) = make_decoder(format.as_ref())?;
        let found = format.tracks().iter().find(|one| one.id == track);
        let parameters = decoder.codec_params();
        let mut info = ClipInfo {
            format: kind.name(),
            codec: names::of(decoder.codec_info().short_name),
            rate: parameters.sample_rate.unwrap_or(0),
            channels: parameters.channels.as_ref().map_or(0, |channels| channels.count()),
            frames: found.and_then(|track| track.num_frames).filter(|&frames| frames > 0),
        };
        let least = match kind {
            Kind::Flac => 1.0,
            // Ogg states its length reliably, but a scratch costs a whole page, about a second.
            Kind::Ogg => 0.75,
            // Often the count is that of a longer recording that the clip was cut from.
            _ => 0.0,
        };
        let mut promised =
            info.frames.map(|frames| (frames as f64 * least).ceil() as u64).filter(|&frames| frames > 0);
        let time_base = found.and_then(|track| track.time_base);
        let chained = kind == Kind::Ogg && ogg::is_chained(&input)?;
        if chained {
            // What symphonia states is the length of the first recording.
            (info.frames, promised) = (None, None);
        }
        // In a file of several streams, symphonia's seek does not end; in one of several recordings, it stays in one.
        let seeks = kind != Kind::Ogg || !chained && format.tracks().len() == 1;
        Ok(Self {
            kind,
            input,
            format,
            track,
            time_base,
            decoder,
            info,
            promised,
            ahead: None,
            decoded: None,
            beginning: 0,
            errors_in_a_row: 0,
            warnings: Vec::new(),
            seeks,
            opus: None,
        })
    }

    /// The same, with a warning of what was odd about the header.
    pub fn with_warning(mut self, warning: Option<Warning>) -> Self {
        self.warnings.extend(warning);
        self
    }

    /// Fails if AAC is HE-AAC, which only the packets of some files show.
    fn refuse_sbr(mut self) -> Result<(), Problem> {
        let mut search = SbrSearch::default();
        while let Ok(Some(packet)) = self.packet()
            && search.add(&packet.data)
        {}
        search.check()
    }

    /// Ogg counts frames from the beginning of the stream, of which a file may hold a later part only.
    fn find_beginning(&mut self) {
        let Ok(Some(first)) = self.packet() else { return };
        self.beginning = self.frame_of(first.pts);
        self.ahead = Some(first);
        let rest = |frames: u64| frames.saturating_sub(self.beginning);
        (self.info.frames, self.promised) = (self.info.frames.map(rest), self.promised.map(rest));
    }

    /// Samples at the start that Opus does not count as sound.
    pub fn pre_skip(&self) -> u64 {
        opus::pre_skip(self.decoder.codec_params()).unwrap_or(0)
    }

    fn prepare_opus(&mut self) -> Result<(), Problem> {
        self.opus = self.timing();
        let Some(mut timing) = self.opus.take() else { return Ok(()) };
        self.ahead = match self.packet() {
            Ok(packet) => packet,
            Err(Fault::Packet(_)) => None,
            Err(Fault::End(problem)) => return Err(problem),
        };
        if let Some(first) = &self.ahead {
            timing.begin(first);
        }
        if self.kind == Kind::Matroska {
            timing.pad(padding::end_padding(&self.input, self.track)?);
        }
        self.info.frames = self.info.frames.map(|end| timing.heard(end));
        self.promised = self.promised.map(|end| timing.heard(end)).filter(|&frames| frames > 0);
        self.opus = Some(timing);
        Ok(())
    }

    fn timing(&self) -> Option<Timing> {
        let pre_skip = opus::pre_skip(self.decoder.codec_params())?;
        // In MP4, the edit list states it.
        Some(Timing::new(self.time_base, if self.kind == Kind::Mp4 { 0 } else { pre_skip }))
    }

    /// The next packet of the sound track; `None` at the end.
    fn packet(&mut self) -> Result<Option<Packet>, Fault> {
        if let Some(packet) = self.ahead.take() {
            return Ok(Some(packet));
        }
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => {
                    self.errors_in_a_row = 0;
                    return Ok(Some(packet));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                // A chained Ogg file: another recording follows the first.
                Err(Error::ResetRequired) => {
                    (self.track, self.decoder) = make_decoder(self.format.as_ref())?;
                    self.opus = self.timing();
                }
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => {
                    self.errors_in_a_row += 1;
                    if self.errors_in_a_row < MOST_ERRORS_IN_A_ROW {
                        return Err(Fault::Packet(error.to_string()));
                    }
                    // Some readers report the same error for ever.
                    self.warnings.push(Warning::new("damage", format!("nothing after {error} can be read")));
                    return Ok(None);
                }
            }
        }
    }

    /// Whether the packet that has just been read is the last one.
    fn is_last(&mut self) -> bool {
        match self.packet() {
            Ok(packet) => {
                self.ahead = packet;
                self.ahead.is_none()
            }
            Err(_) => false,
        }
    }

    /// Goes back to the start.
    fn reopen(&mut self) -> Result<(), Problem> {
        *self = Self::open(self.kind, self.input.clone())?;
        Ok(())
    }

    fn seek_opus(&mut self, frame: u64) -> Result<u64, Fault> {
        // Symphonia takes the time of a Matroska file's index for that of a whole cluster.
        if self.kind != Kind::Matroska
            && let Some(timing) = &self.opus
        {
            let mut from = timing.decode_from(frame);
            if self.kind == Kind::Ogg {
                // The position at the end of the last page is that of the sound, so that its first packet is misplaced
                // if the page before it has not been read.
                let end = timing.decode_from(self.info.frames.unwrap_or(u64::MAX));
                from = from.min(end.saturating_sub(LONGEST_PAGE));
            }
            let to = SeekTo::Timestamp { ts: timing.time_of(from), track_id: self.track };
            if self.format.seek(SeekMode::Accurate, to).is_ok() {
                self.decoder.reset();
                self.ahead = None;
                self.ahead = self.packet()?;
                let Some(timing) = &mut self.opus else { return Ok(frame) };
                return Ok(self.ahead.as_ref().map_or(frame, |packet| {
                    let at = timing.frame_of(packet.pts);
                    timing.restart(at)
                }));
            }
        }
        self.read_up_to(frame)
    }

    /// Reads Opus packets from the start, without decoding them, up to that of a frame.
    fn read_up_to(&mut self, frame: u64) -> Result<u64, Fault> {
        self.reopen()?;
        let from = self.opus.as_ref().map_or(0, |timing| timing.decode_from(frame));
        let (mut at, mut faults) = (0, 0);
        loop {
            match self.packet() {
                Ok(Some(packet)) => {
                    let end = at + opus::packet_frames(&packet.data);
                    if end > from {
                        self.ahead = Some(packet);
                        break;
                    }
                    at = end;
                }
                Ok(None) => break,
                Err(Fault::Packet(_)) if faults < MOST_FAULTS => faults += 1,
                Err(fault) => return Err(fault),
            }
        }
        Ok(self.opus.as_mut().map_or(at, |timing| timing.restart(at)))
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
        if let Some(timing) = &mut self.opus
            && timing.fill_lost(block, self.info.channels)
        {
            return Ok(true);
        }
        if let Some(decoded) = self.decoded.take() {
            *block = decoded;
            return Ok(true);
        }
        let Some(packet) = self.packet()? else { return Ok(false) };
        match self.decoder.decode(&packet) {
            Ok(buffer) => copy(&buffer, block),
            Err(error) => {
                if let Some(timing) = &mut self.opus {
                    timing.lose(&packet);
                }
                return Err(Fault::Packet(error.to_string()));
            }
        }
        let is_last = self.opus.as_ref().is_some_and(Timing::is_padded) && self.is_last();
        if let Some(timing) = &mut self.opus {
            timing.trim(block, is_last);
        }
        Ok(true)
    }

    fn seek(&mut self, frame: u64) -> Result<u64, Fault> {
        if !self.seeks {
            self.reopen()?;
            return Ok(0);
        }
        if self.opus.is_some() {
            return self.seek_opus(frame);
        }
        let failed = |error: Error| Fault::End(Problem::corrupt(format!("cannot seek in it: {error}")));
        let frame = frame.saturating_add(self.beginning);
        let time = (frame as f64 / f64::from(self.info.rate.max(1)) - PREROLL).max(0.0);
        let time = symphonia::core::units::Time::try_from_secs_f64(time)
            .ok_or_else(|| Fault::End(Problem::corrupt("cannot seek in it: the time is out of range")))?;
        self.format
            .seek(SeekMode::Accurate, SeekTo::Time { time, track_id: Some(self.track) })
            .map_err(failed)?;
        self.decoder.reset();
        self.ahead = None;
        // The first packets after a seek may give nothing: Vorbis overlaps each with the one before.
        while let Some(packet) = self.packet()? {
            let mut block = Block::default();
            if let Ok(buffer) = self.decoder.decode(&packet) {
                copy(&buffer, &mut block);
            }
            if block.frames() > 0 {
                let at = self.frame_of(packet.pts);
                self.decoded = Some(block);
                return Ok(at.saturating_sub(self.beginning));
            }
        }
        Ok(frame - self.beginning)
    }

    fn warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn promised(&self) -> Option<u64> {
        self.promised
    }
}

/// The problem of a file that cannot be opened, which names its codec if that is the reason.
fn named(problem: Problem, kind: Kind, input: &Input) -> Problem {
    // Symphonia takes the header of an unknown codec in Ogg for damage.
    if kind == Kind::Ogg
        && let Ok(Some(what)) = ogg::unknown_codec(input)
    {
        return Problem::unsupported(what);
    }
    let Ok(Some(codec)) = names::codec_in(kind, input) else { return problem };
    let is_reason = match (&problem, kind) {
        (Problem::Unsupported { what }, _) => what.contains("codec"),
        // Symphonia takes ALAC as some write it into CAF for damage.
        (Problem::Corrupt { .. }, Kind::Caf) => true,
        _ => false,
    };
    if is_reason { Problem::unsupported(format!("{codec} in {}", kind.name())) } else { problem }
}

fn make_decoder(format: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), Problem> {
    let track = format.default_track(TrackType::Audio);
    let track =
        track.ok_or_else(|| Problem::unsupported("a file without an audio track of a known codec"))?;
    let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
        return Err(Problem::unsupported("an audio track without a codec"));
    };
    if let (CODEC_ID_AAC, Some(config)) = (parameters.codec, &parameters.extra_data) {
        aac::check_config(config)?;
    }
    let decoder = CODECS.make_audio_decoder(parameters, &AudioDecoderOptions::default()).map_err(
        |error| match error {
            Error::Unsupported(what) => Problem::unsupported(format!("its codec ({what})")),
            other => Problem::corrupt(other.to_string()),
        },
    )?;
    Ok((track.id, decoder))
}

/// Copies decoded samples into a block, as f32.
pub(crate) fn copy(buffer: &GenericAudioBufferRef<'_>, block: &mut Block) {
    block.clear(buffer.spec().rate(), 0);
    buffer.copy_to_vecs_planar(&mut block.channels);
}

#[cfg(test)]
mod tests {
    use super::*;

    const AAC: &[u8] = include_bytes!("../../tests/fixtures/audio/formats/stereo_44k.m4a");

    fn open(bytes: Vec<u8>) -> Result<Packets, Problem> {
        Packets::open(Kind::Mp4, Input::of_bytes(bytes))
    }

    #[test]
    fn all_packets_are_decoded_although_they_were_searched_for_sbr() {
        let mut packets = open(AAC.to_vec()).unwrap();
        let (mut block, mut samples) = (Block::default(), 0);
        while packets.next(&mut block).unwrap() {
            samples += block.frames();
        }
        // 13,230 samples and 1024 of priming are 13.9 packets.
        assert_eq!(samples, 14 * 1024);
        let mut packets = open(AAC.to_vec()).unwrap();
        // A quarter of a second earlier, 11,025 samples, would be 975; the packet there begins at 0.
        assert_eq!(packets.seek(12_000).unwrap(), 0);
        assert!(packets.next(&mut block).unwrap());
    }

    #[test]
    fn aac_whose_packets_hold_spectral_band_replication_is_named() {
        let mut packets = open(AAC.to_vec()).unwrap();
        let mut file = AAC.to_vec();
        let mut i = 0;
        while let Some(packet) = packets.packet().unwrap() {
            let at = file.windows(packet.data.len()).position(|window| *window == *packet.data).unwrap();
            // A fill element of two bytes and the end: 110 0010 1|101 iiii0|...0 1|11.
            let tail = [0xc5, 0xa0 | i << 1, 1, 0xc0];
            file[at + packet.data.len() - 4..at + packet.data.len()].copy_from_slice(&tail);
            i += 1;
        }
        assert_eq!(i, 14);
        let problem = open(file).err().unwrap().to_string();
        assert!(problem.starts_with("HE-AAC (spectral band replication) is not supported"), "{problem}");
    }

    #[test]
    fn aac_of_six_channels_is_named() {
        let mut file = AAC.to_vec();
        // The configuration: LC, 44.1 kHz, 2 channels; with 6 it is 00010 0100 0110 000.
        let at = file.windows(5).position(|window| window == [0x12, 0x10, 0x56, 0xe5, 0]).unwrap();
        file[at + 1] = 0x30;
        let problem = open(file).err().unwrap().to_string();
        assert!(problem.starts_with("AAC with 6 channels is not supported"), "{problem}");
    }
}
