//! Opus, decoded by libopus, as a decoder that symphonia's containers can use.
//!
//! The decoder gives every sample of every packet, except for the padding that Ogg's positions show at the end.
//! [`Timing`] tells [`Packets`](super::packets::Packets) what to drop at the start, and of Matroska at the end.
//!
//! <https://www.rfc-editor.org/rfc/rfc7845>

mod head;
mod libopus;
mod timing;

use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

pub(crate) use head::packet_frames;
pub(crate) use timing::Timing;

use head::Head;
use libopus::{Libopus, MOST_FRAMES, RATE};

/// Largest sample, 24 dB above full scale. Larger ones come from corrupt packets.
const LOUDEST: f32 = 16.0;

/// The decoder of a track.
pub(crate) struct OpusDecoder {
    head: Head,
    libopus: Libopus,
    parameters: AudioCodecParameters,
    /// Decoded samples: interleaved in the order of Opus, and by channel in the order of WAV files.
    samples: Vec<f32>,
    buffer: AudioBuffer<f32>,
}

impl OpusDecoder {
    fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let head = head_of(parameters)?;
        let libopus = open(&head)?;
        let channels = Channels::Discrete(head.channels as u16);
        let spec = AudioSpec::new(RATE, channels.clone());
        let mut parameters = parameters.clone();
        parameters.with_sample_rate(RATE).with_channels(channels);
        let samples = vec![0.0; MOST_FRAMES * head.channels];
        Ok(Self { head, libopus, parameters, samples, buffer: AudioBuffer::new(spec, MOST_FRAMES) })
    }

    fn decode_packet(&mut self, packet: &PacketRef<'_>) -> Result<()> {
        let frames = self.libopus.decode(packet.data, &mut self.samples).map_err(|error| match error {
            -4 => Error::DecodeError("opus: a packet is corrupt"),
            _ => Error::DecodeError("opus: a packet cannot be decoded"),
        })?;
        self.buffer.resize_uninit(frames);
        let decoded = &self.samples[..frames * self.head.channels];
        for (place, &channel) in self.head.order().iter().enumerate() {
            let plane = self.buffer.plane_mut(place).unwrap_or_default();
            for (sample, frame) in plane.iter_mut().zip(decoded.chunks_exact(self.head.channels)) {
                let value = frame[channel] * self.head.gain;
                *sample = if value.is_finite() { value.clamp(-LOUDEST, LOUDEST) } else { 0.0 };
            }
        }
        self.buffer.trim(frames_of(packet.trim_start.get()), frames_of(packet.trim_end.get()));
        Ok(())
    }
}

fn frames_of(duration: u64) -> usize {
    duration.min(MOST_FRAMES as u64) as usize
}

fn head_of(parameters: &AudioCodecParameters) -> Result<Head> {
    let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    Head::parse(parameters.extra_data.as_deref(), channels)
}

fn open(head: &Head) -> Result<Libopus> {
    Libopus::new(head).ok_or(Error::DecodeError("opus: its header has an impossible channel mapping"))
}

/// Samples @ 48 kHz to drop at the start of a track, if its codec is Opus.
pub(crate) fn pre_skip(parameters: &AudioCodecParameters) -> Option<u64> {
    (parameters.codec == CODEC_ID_OPUS).then(|| head_of(parameters).map_or(0, |head| head.pre_skip.into()))
}

impl AudioDecoder for OpusDecoder {
    fn reset(&mut self) {
        // A layout that was accepted once is accepted again; if memory ran out, the old state converges as well.
        if let Ok(fresh) = open(&self.head) {
            self.libopus = fresh;
        }
    }

    fn codec_info(&self) -> &CodecInfo {
        &SUPPORTED[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        if let Err(error) = self.decode_packet(packet) {
            self.buffer.clear();
            return Err(error);
        }
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

static SUPPORTED: [SupportedAudioCodec; 1] = [SupportedAudioCodec {
    id: CODEC_ID_OPUS,
    info: CodecInfo { short_name: "opus", long_name: "Opus", profiles: &[] },
}];

impl RegisterableAudioDecoder for OpusDecoder {
    fn try_registry_new(
        parameters: &AudioCodecParameters,
        _: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::new(parameters)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &SUPPORTED
    }
}
