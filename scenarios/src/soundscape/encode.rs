//! Writes clips as WAV and FLAC.

use flacenc::component::BitRepr;
use flacenc::error::Verify;

use super::clip::SAMPLE_RATE;
use super::config::AudioFormat;

/// The file name's ending.
pub(super) fn extension(format: AudioFormat) -> &'static str {
    match format {
        AudioFormat::Wav | AudioFormat::Wav24 | AudioFormat::WavFloat => "wav",
        AudioFormat::Flac => "flac",
    }
}

/// The bytes of a file with these mono samples (f32 within [-1, 1], 16 kHz).
pub(super) fn encode(samples: &[f32], format: AudioFormat) -> Vec<u8> {
    let integer =
        |bits: u32, sample: f32| (f64::from(sample) * f64::from((1u32 << (bits - 1)) - 1)).round() as i32;
    match format {
        AudioFormat::Wav => wav(1, 16, samples, |sample| integer(16, sample).to_le_bytes()[..2].to_vec()),
        AudioFormat::Wav24 => wav(1, 24, samples, |sample| integer(24, sample).to_le_bytes()[..3].to_vec()),
        AudioFormat::WavFloat => wav(3, 32, samples, |sample| sample.to_le_bytes().to_vec()),
        AudioFormat::Flac => flac(&samples.iter().map(|&sample| integer(16, sample)).collect::<Vec<_>>()),
    }
}

/// A RIFF file with the 44-byte header: `tag` 1 is PCM, 3 floating point.
fn wav(tag: u16, bits: u16, samples: &[f32], bytes: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
    let frame = bits / 8;
    let length = samples.len() as u32 * u32::from(frame);
    let mut out = Vec::with_capacity(44 + length as usize);
    out.extend(b"RIFF");
    out.extend((36 + length).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16u32.to_le_bytes());
    out.extend(tag.to_le_bytes());
    out.extend(1u16.to_le_bytes());
    out.extend(SAMPLE_RATE.to_le_bytes());
    out.extend((SAMPLE_RATE * u32::from(frame)).to_le_bytes());
    out.extend(frame.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(length.to_le_bytes());
    samples.iter().for_each(|&sample| out.extend(bytes(sample)));
    out
}

/// 16-bit FLAC.
fn flac(samples: &[i32]) -> Vec<u8> {
    let settings =
        flacenc::config::Encoder::default().into_verified().expect("the default settings are valid");
    let source = flacenc::source::MemSource::from_samples(samples, 1, 16, SAMPLE_RATE as usize);
    let block = settings.block_size;
    let stream =
        flacenc::encode_with_fixed_block_size(&settings, source, block).expect("16-bit mono can be encoded");
    let mut sink = flacenc::bitsink::ByteSink::new();
    stream.write(&mut sink).expect("memory takes all bytes");
    sink.into_inner()
}
