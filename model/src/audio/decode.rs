//! One file's bytes to mono samples at the file's own rate (Symphonia).

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

use super::{AudioError, Downmix, mp4, riff};

/// Corrupt packets per good one, beyond which the samples left say little about the clip. One scratch costs a short MP3
/// several packets, as they share bits; and random bytes contain MP3 headers, most of which lead nowhere.
const CORRUPT_PER_GOOD: f64 = 0.25;

/// The same for clips so short that a single scratch is a large share: corrupt packets must be the minority and
/// fewer than this.
const CORRUPT_PACKETS: usize = 8;

/// Louder samples than this (full scale is 1) come from a corrupt float file, and would overflow the features. Files
/// of floats that hold 16-bit values pass.
const LOUDEST: f32 = 1e6;

/// At most so many samples are made room for on a header's word.
const MAX_RESERVED: u64 = 1 << 24;

/// Samples as the file has them.
pub(super) struct Clip {
    /// f32, mono.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub rate: u32,
}

/// Decodes the first sound track.
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
            what: "samples are not finite or absurdly loud".into(),
        });
    }
    Ok(clip)
}

/// A container being read, and the decoder of its sound track.
struct Source<'a> {
    path: &'a Path,
    format: Box<dyn FormatReader>,
    track_id: u32,
    decoder: Box<dyn AudioDecoder>,
    /// Samples per channel that the header states.
    promised: Option<u64>,
    /// Fraction of the promised samples below which the file is truncated.
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

    /// Decodes packets until the file ends.
    fn read(&mut self, downmix: Downmix) -> Result<Clip, AudioError> {
        let mut clip = Clip { samples: Vec::new(), rate: 0 };
        clip.samples.reserve(self.promised.unwrap_or(0).min(MAX_RESERVED) as usize);
        let mut planes = Vec::new();
        loop {
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track_id => packet,
                Ok(Some(_)) => continue,
                Ok(None) => break,
                // A chained OGG file: another recording follows in the same file.
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
                        let what = format!("its rate changes from {} to {rate} Hz on the way", clip.rate);
                        return Err(AudioError::Unsupported { path: self.path.into(), what });
                    }
                    clip.rate = rate;
                    append_mono(&buffer, downmix, &mut planes, &mut clip.samples);
                    self.good_packets += 1;
                }
                Err(error) => self.note_fault(error)?,
            }
        }
        self.judge(&clip)?;
        Ok(clip)
    }

    /// Counts a corrupt packet; fails when there is no hope of a good one.
    fn note_fault(&mut self, error: Error) -> Result<(), AudioError> {
        self.corrupt_packets += 1;
        let hopeless = self.corrupt_packets > 100 && self.good_packets < self.corrupt_packets;
        let error = self.first_fault.get_or_insert(error);
        if hopeless { Err(corrupt(self.path, error)) } else { Ok(()) }
    }

    fn judge(&self, clip: &Clip) -> Result<(), AudioError> {
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

/// Whether the first bytes name a format: then a file that cannot be opened is a damaged one.
fn has_known_start(bytes: &[u8]) -> bool {
    [&b"RIFF"[..], b"FORM", b"fLaC", b"OggS", b"ID3"].iter().any(|start| bytes.starts_with(start))
        || bytes.get(4..8) == Some(b"ftyp")
}

/// How much of what its header promises a file of this format must hold.
///
/// Of a lossless file, all. OGG says truly how long it is, but a scratch costs a whole page, about a second. The counts
/// of the others are optional and often those of a longer recording the clip was cut from.
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
    let track = track.ok_or_else(|| unsupported("a file without a sound track of a known codec".into()))?;
    let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
        return Err(unsupported("a sound track without a codec".into()));
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

/// Mixes one packet's channels and appends them. `planes` is work space.
fn append_mono(
    buffer: &GenericAudioBufferRef<'_>,
    downmix: Downmix,
    planes: &mut Vec<Vec<f32>>,
    samples: &mut Vec<f32>,
) {
    match buffer {
        // The lossy decoders produce floats: no copy needed.
        GenericAudioBufferRef::F32(buffer) => {
            let channels: Vec<&[f32]> = buffer.iter_planes().collect();
            mix(&channels, downmix, samples);
        }
        _ => {
            buffer.copy_to_vecs_planar(planes);
            let channels: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
            mix(&channels, downmix, samples);
        }
    }
}

fn mix(channels: &[&[f32]], downmix: Downmix, samples: &mut Vec<f32>) {
    match (channels, downmix) {
        ([], _) => {}
        ([only], _) | ([only, ..], Downmix::First) => samples.extend_from_slice(only),
        ([left, right], Downmix::Mean) => samples.extend(left.iter().zip(*right).map(|(l, r)| (l + r) * 0.5)),
        (_, Downmix::Mean) => {
            let share = 1.0 / channels.len() as f32;
            let frames = channels.iter().map(|channel| channel.len()).min().unwrap_or(0);
            samples
                .extend((0..frames).map(|i| channels.iter().map(|channel| channel[i]).sum::<f32>() * share));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_weighs_channels_equally_and_first_takes_one() {
        let channels: [&[f32]; 3] = [&[0.25, 0.5], &[0.0, 0.25], &[0.5, 0.0]];
        let mixed = |count: usize, downmix| {
            let mut samples = Vec::new();
            mix(&channels[..count], downmix, &mut samples);
            samples
        };
        assert_eq!(mixed(1, Downmix::Mean), [0.25, 0.5]);
        assert_eq!(mixed(2, Downmix::Mean), [0.125, 0.375]);
        for (value, expected) in mixed(3, Downmix::Mean).iter().zip([0.25, 0.25]) {
            assert!((value - expected).abs() < 1e-6);
        }
        assert_eq!(mixed(3, Downmix::First), [0.25, 0.5]);
    }

    #[test]
    fn bytes_of_no_format_are_told_apart_from_an_empty_file() {
        let error = |bytes: &[u8]| decode(Path::new("a.wav"), bytes.to_vec(), Downmix::Mean).err().unwrap();
        assert!(matches!(error(b""), AudioError::Empty { .. }));
        assert!(matches!(error(b"<!DOCTYPE html><title>404</title>"), AudioError::NotAudio { .. }));
    }
}
