//! From a file's bytes to mono samples at the file's own rate, decoded by Symphonia.
//!
//! `load_audio` calls [`decode`] and resamples what it returns. Symphonia accepts some files that are cut short or
//! corrupt; the checks here turn those into errors (AUDIO-2).

use std::io::{Cursor, ErrorKind};
use std::path::Path;

use symphonia::core::audio::{Audio, GenericAudioBufferRef};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{FORMAT_ID_AIFF, FORMAT_ID_FLAC, FORMAT_ID_OGG};
use symphonia::core::formats::{FormatId, FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::downmix::Downmix;
use super::error::AudioError;
use super::{mp4, riff};

/// Corrupt packets allowed per good one. With more, too little of the clip is left. One scratch costs a short MP3
/// several packets, because packets share bits; and random bytes contain MP3 headers, few of which start a good packet.
const CORRUPT_PER_GOOD: f64 = 0.25;

/// A short clip, where a single scratch is a large share, may have up to this many corrupt packets, as long as they are
/// fewer than the good ones.
const CORRUPT_PACKETS: usize = 8;

/// Largest absolute value of a sample (full scale is 1). Larger ones come from a corrupt float file and would overflow
/// the features. Float files that hold 16-bit integer values pass.
const LOUDEST: f32 = 1e6;

/// Most samples that memory is reserved for because a header states them: the header may be corrupt.
const MAX_RESERVED: u64 = 1 << 24;

/// A decoded clip, before resampling.
pub(super) struct Clip {
    /// Mono, f32, at `rate`.
    pub samples: Vec<f32>,
    /// Sampling rate of the file, in Hz.
    pub rate: u32,
}

/// Decodes the first audio track, and cuts it to the file's edit list.
pub(super) fn decode(path: &Path, mut bytes: Vec<u8>, downmix: Downmix) -> Result<Clip, AudioError> {
    if bytes.is_empty() {
        return Err(AudioError::Empty { path: path.into() });
    }
    riff::check_length(path, &mut bytes)?;
    let edit = mp4::sound_edit(&bytes);
    let mut source = Source::open(path, bytes)?;
    let mut clip = source.read(downmix)?;
    if let Some(edit) = edit {
        let frames = |seconds: f64| (seconds * f64::from(clip.rate)).round() as usize;
        let start = frames(edit.start).min(clip.samples.len());
        let length = edit.length.map_or(usize::MAX, frames);
        clip.samples.truncate(start.saturating_add(length));
        clip.samples.drain(..start);
    }
    if clip.samples.is_empty() {
        return Err(AudioError::NoSamples { path: path.into() });
    }
    if !clip.samples.iter().all(|sample| sample.abs() <= LOUDEST) {
        return Err(AudioError::Corrupt {
            path: path.into(),
            what: format!("a sample is not finite or above {LOUDEST:e} (full scale is 1)"),
        });
    }
    Ok(clip)
}

/// A container that is being read, and the decoder of its audio track.
struct Source<'a> {
    path: &'a Path,
    format: Box<dyn FormatReader>,
    track_id: u32,
    decoder: Box<dyn AudioDecoder>,
    /// Samples per channel that the header states, if it does.
    promised: Option<u64>,
    /// A file with less than this fraction of the promised samples is truncated.
    least_share: f64,
    good_packets: usize,
    corrupt_packets: usize,
    first_fault: Option<Error>,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path, bytes: Vec<u8>) -> Result<Self, AudioError> {
        let known = has_known_start(&bytes);
        let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match error {
                Error::Unsupported(_) if !known => AudioError::NotAudio { path: path.into() },
                Error::Unsupported(_) => {
                    let what = "it begins like audio, but what should follow is missing".into();
                    AudioError::Corrupt { path: path.into(), what }
                }
                other => corrupt(path, &other),
            })?;
        let (track_id, decoder) = make_decoder(path, format.as_ref())?;
        let track = format.tracks().iter().find(|track| track.id == track_id);
        let promised = track.and_then(|track| track.num_frames);
        let least_share = least_share(format.format_info().format);
        Ok(Self {
            path,
            format,
            track_id,
            decoder,
            promised,
            least_share,
            good_packets: 0,
            corrupt_packets: 0,
            first_fault: None,
        })
    }

    /// Decodes packets until the file ends, skipping corrupt ones.
    fn read(&mut self, downmix: Downmix) -> Result<Clip, AudioError> {
        let mut clip = Clip { samples: Vec::new(), rate: 0 };
        clip.samples.reserve(self.promised.unwrap_or(0).min(MAX_RESERVED) as usize);
        let mut planes = Vec::new();
        loop {
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track_id => packet,
                Ok(Some(_)) => continue,
                Ok(None) => break,
                // A chained OGG file: another recording follows the first.
                Err(Error::ResetRequired) => {
                    (self.track_id, self.decoder) = make_decoder(self.path, self.format.as_ref())?;
                    continue;
                }
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => {
                    self.note_fault(error)?;
                    continue;
                }
            };
            match self.decoder.decode(&packet) {
                Ok(buffer) => {
                    let rate = buffer.spec().rate();
                    if clip.rate != rate && !clip.samples.is_empty() {
                        let what = format!("a rate that changes from {} to {rate} Hz", clip.rate);
                        return Err(AudioError::Unsupported { path: self.path.into(), what });
                    }
                    clip.rate = rate;
                    append_mono(&buffer, downmix, &mut planes, &mut clip.samples);
                    self.good_packets += 1;
                }
                Err(error) => self.note_fault(error)?,
            }
        }
        self.check(&clip)?;
        Ok(clip)
    }

    /// Counts a corrupt packet. Fails after 100 of them if most packets are corrupt, so that garbage is not
    /// read to its end.
    fn note_fault(&mut self, error: Error) -> Result<(), AudioError> {
        self.corrupt_packets += 1;
        let hopeless = self.corrupt_packets > 100 && self.good_packets < self.corrupt_packets;
        let error = self.first_fault.get_or_insert(error);
        if hopeless { Err(corrupt(self.path, error)) } else { Ok(()) }
    }

    /// Fails if too many packets were corrupt, or if the file is truncated.
    fn check(&self, clip: &Clip) -> Result<(), AudioError> {
        if let Some(fault) = &self.first_fault {
            let share = (self.good_packets as f64 * CORRUPT_PER_GOOD) as usize;
            let limit = share.max(CORRUPT_PACKETS).min(self.good_packets);
            if self.corrupt_packets >= limit {
                return Err(corrupt(self.path, fault));
            }
        }
        let found = clip.samples.len() as u64;
        match self.promised {
            Some(promised) if (found as f64) < promised as f64 * self.least_share => {
                Err(AudioError::Truncated { path: self.path.into(), promised, found })
            }
            _ => Ok(()),
        }
    }
}

/// Whether the first bytes are those of a known format. If such a file cannot be opened, it is damaged
/// rather than not audio.
fn has_known_start(bytes: &[u8]) -> bool {
    [&b"RIFF"[..], b"FORM", b"fLaC", b"OggS", b"ID3"].iter().any(|start| bytes.starts_with(start))
        || bytes.get(4..8) == Some(b"ftyp")
}

/// Fraction of the samples stated in its header that a file of this format must hold.
///
/// A lossless file must hold all of them. OGG states its length reliably, but a scratch costs a whole page, about a
/// second. In the other formats the count is optional, and often that of a longer recording that the clip was cut from.
fn least_share(format: FormatId) -> f64 {
    match format {
        FORMAT_ID_AIFF | FORMAT_ID_FLAC => 1.0,
        FORMAT_ID_OGG => 0.75,
        _ => 0.0,
    }
}

fn make_decoder(path: &Path, format: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), AudioError> {
    let unsupported = |what: String| AudioError::Unsupported { path: path.into(), what };
    let track = format.default_track(TrackType::Audio);
    let track = track.ok_or_else(|| unsupported("a file without an audio track of a known codec".into()))?;
    let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
        return Err(unsupported("an audio track without a codec".into()));
    };
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| match error {
            Error::Unsupported(_) if parameters.codec == CODEC_ID_OPUS => unsupported("Opus".into()),
            Error::Unsupported(what) => unsupported(format!("its codec ({what})")),
            other => corrupt(path, &other),
        })?;
    Ok((track.id, decoder))
}

fn corrupt(path: &Path, error: &Error) -> AudioError {
    AudioError::Corrupt { path: path.into(), what: error.to_string() }
}

/// Mixes the channels of one packet to mono and appends them to `samples`. `planes` is scratch
/// memory, reused between packets.
fn append_mono(
    buffer: &GenericAudioBufferRef<'_>,
    downmix: Downmix,
    planes: &mut Vec<Vec<f32>>,
    samples: &mut Vec<f32>,
) {
    match buffer {
        // The lossy decoders produce f32 already, so that no copy is needed.
        GenericAudioBufferRef::F32(buffer) => {
            let channels: Vec<&[f32]> = buffer.iter_planes().collect();
            downmix.append(&channels, samples);
        }
        _ => {
            buffer.copy_to_vecs_planar(planes);
            let channels: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
            downmix.append(&channels, samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_no_format_are_told_apart_from_an_empty_file() {
        let error = |bytes: &[u8]| decode(Path::new("a.wav"), bytes.to_vec(), Downmix::Mean).err().unwrap();
        assert!(matches!(error(b""), AudioError::Empty { .. }));
        assert!(matches!(error(b"<!DOCTYPE html><title>404</title>"), AudioError::NotAudio { .. }));
    }
}
