//! Encodes clips as WAV and FLAC files.

use flacenc::component::BitRepr;
use flacenc::error::Verify;

use super::settings::AudioFormat;
use audio::SAMPLE_RATE;

/// The extension of files in this format.
pub(crate) fn extension(format: AudioFormat) -> &'static str {
    match format {
        AudioFormat::Wav | AudioFormat::Wav24 | AudioFormat::WavFloat => "wav",
        AudioFormat::Flac => "flac",
    }
}

/// Encodes mono samples (f32 within [-1, 1], 16 kHz) as a file.
pub(crate) fn encode(samples: &[f32], format: AudioFormat) -> Vec<u8> {
    let integer =
        |bits: u32, sample: f32| (f64::from(sample) * f64::from((1u32 << (bits - 1)) - 1)).round() as i32;
    match format {
        AudioFormat::Wav => wav(1, 16, samples, |sample| integer(16, sample).to_le_bytes()[..2].to_vec()),
        AudioFormat::Wav24 => wav(1, 24, samples, |sample| integer(24, sample).to_le_bytes()[..3].to_vec()),
        AudioFormat::WavFloat => wav(3, 32, samples, |sample| sample.to_le_bytes().to_vec()),
        AudioFormat::Flac => flac(&samples.iter().map(|&sample| integer(16, sample)).collect::<Vec<_>>()),
    }
}

/// Encodes a RIFF file with a header of 44 bytes. `tag` is 1 for PCM and 3 for floating point.
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

/// Encodes 16-bit samples as FLAC.
fn flac(samples: &[i32]) -> Vec<u8> {
    let settings =
        flacenc::config::Encoder::default().into_verified().expect("the default settings are valid");
    let source = flacenc::source::MemSource::from_samples(samples, 1, 16, SAMPLE_RATE as usize);
    let block = settings.block_size;
    let mut stream =
        flacenc::encode_with_fixed_block_size(&settings, source, block).expect("16-bit mono can be encoded");
    // The shorter last block must not be stated as the smallest, or decoders expect blocks of varying size.
    stream.stream_info_mut().set_block_sizes(block, block).expect("the default block size is valid");
    let mut sink = flacenc::bitsink::ByteSink::new();
    stream.write(&mut sink).expect("memory takes all bytes");
    sink.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [f32; 3] = [0.0, 0.5, -1.0];

    #[test]
    fn wav_has_the_44_byte_header_and_little_endian_samples() {
        let file = encode(&SAMPLES, AudioFormat::Wav);
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!((&file[..4], &file[8..16], &file[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        // 3 samples of 2 bytes, 36 bytes of header after the first length; PCM, mono; 16 kHz, 32,000 bytes a second.
        assert_eq!(
            [number(4), number(20), number(24), number(28), number(40)],
            [42, 0x10001, 16_000, 32_000, 6]
        );
        // 0.5 · 32767 = 16383.5, rounded to 0x4000; -1 is -32767 = 0x8001.
        assert_eq!(file[44..], [0, 0, 0x00, 0x40, 0x01, 0x80]);
    }

    #[test]
    fn the_other_wav_formats_differ_in_tag_and_width() {
        let file = encode(&SAMPLES, AudioFormat::Wav24);
        assert_eq!((file[20], file[32], file[34]), (1, 3, 24));
        // 0.5 · 8388607 = 4194303.5, rounded to 0x400000; -1 is -8388607 = 0x800001.
        assert_eq!(file[44..], [0, 0, 0, 0x00, 0x00, 0x40, 0x01, 0x00, 0x80]);
        let file = encode(&SAMPLES, AudioFormat::WavFloat);
        assert_eq!((file[20], file[32], file[34]), (3, 4, 32));
        assert_eq!(file[48..52], 0.5f32.to_le_bytes());
    }

    #[test]
    fn flac_states_its_format_and_length() {
        let samples: Vec<f32> = (0..48_000).map(|at| (at as f32 * 0.1).sin() * 0.5).collect();
        let file = encode(&samples, AudioFormat::Flac);
        assert_eq!(&file[..4], b"fLaC");
        // In STREAMINFO, from byte 18: 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of samples.
        let packed = u64::from_be_bytes(file[18..26].try_into().unwrap());
        let fields = [packed >> 44, (packed >> 41) & 7, (packed >> 36) & 31, packed & 0xf_ffff_ffff];
        assert_eq!(fields, [16_000, 0, 15, 48_000]);
        assert_eq!(file[8..10], file[10..12], "blocks of one size");
        assert!(file.len() < 48_000, "a sine is compressed to less than half: {}", file.len());
    }
}
