//! Samples as a WAV file: of 32-bit floats, so that nothing is rounded or clipped, or of 16-bit integers, which every
//! reader takes.

use std::io::{self, Write};

use super::resample::SAMPLE_RATE;

/// The bytes before the samples.
const HEADER: u32 = 56;

/// The format tag of floats.
const IEEE_FLOAT: u16 = 3;

/// Writes a mono WAV file @ 16 kHz.
///
/// Shapes: `samples`: any number @ 16 kHz, f32, mono
///
/// Errors: those of `out`, and more samples than a WAV file can state, 2^30 - 12.
pub fn write_wav(out: &mut impl Write, samples: &[f32]) -> io::Result<()> {
    let bytes = samples.len().checked_mul(4).and_then(|bytes| u32::try_from(bytes).ok());
    let (Some(bytes), Some(riff)) = (bytes, bytes.and_then(|bytes| bytes.checked_add(HEADER - 8))) else {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a WAV file holds at most 4 GiB"));
    };
    let mut header = Vec::with_capacity(HEADER as usize);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&riff.to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&16u32.to_le_bytes());
    for field in [IEEE_FLOAT, 1] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    for field in [SAMPLE_RATE, SAMPLE_RATE * 4] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    for field in [4u16, 32] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    // Every format but PCM must state its number of samples.
    header.extend_from_slice(b"fact");
    header.extend_from_slice(&4u32.to_le_bytes());
    header.extend_from_slice(&(bytes / 4).to_le_bytes());
    header.extend_from_slice(b"data");
    header.extend_from_slice(&bytes.to_le_bytes());
    out.write_all(&header)?;
    let mut block = Vec::with_capacity(4 * 4096);
    for samples in samples.chunks(4096) {
        block.clear();
        samples.iter().for_each(|sample| block.extend_from_slice(&sample.to_le_bytes()));
        out.write_all(&block)?;
    }
    Ok(())
}

/// A mono WAV file of 16-bit integers @ 16 kHz; samples beyond full scale are clipped.
///
/// Shapes: `samples`: up to 2^31 - 37 @ 16 kHz, f32, mono; further ones are left out
pub fn wav_16_bit(samples: &[f32]) -> Vec<u8> {
    const PCM_HEADER: u32 = 44;
    let most = (u32::MAX - PCM_HEADER) / 2;
    let samples = &samples[..samples.len().min(most as usize)];
    let bytes = samples.len() as u32 * 2;
    let mut file = Vec::with_capacity((PCM_HEADER + bytes) as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(bytes + PCM_HEADER - 8).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&SAMPLE_RATE.to_le_bytes());
    file.extend_from_slice(&(SAMPLE_RATE * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&bytes.to_le_bytes());
    for sample in samples {
        let value = (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16;
        file.extend_from_slice(&value.to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::load::{Hearing, load_bytes};

    #[test]
    fn the_file_is_laid_out_as_the_format_demands() {
        let mut file = Vec::new();
        write_wav(&mut file, &[0.5, -1.0]).unwrap();
        // 56 bytes of header and 2 samples of 4 bytes; RIFF counts what follows its first 8 bytes.
        let header: &[&[u8]] = &[
            b"RIFF\x38\0\0\0WAVE",
            b"fmt \x10\0\0\0\x03\0\x01\0\x80\x3e\0\0\0\xfa\0\0\x04\0\x20\0",
            b"fact\x04\0\0\0\x02\0\0\0",
            b"data\x08\0\0\0",
        ];
        assert_eq!(file[..56], header.concat());
        // 0.5 is 0x3f000000 and -1 is 0xbf800000.
        assert_eq!(file[56..], [0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf]);
    }

    #[test]
    fn what_is_written_is_heard_again_bit_for_bit() {
        let samples: Vec<f32> = (0..10_000).map(|i| (i as f32 * 0.37).sin() * 1.5).collect();
        let mut file = Vec::new();
        write_wav(&mut file, &samples).unwrap();
        let clip = load_bytes(Path::new("a.wav"), file, &Hearing::default()).unwrap();
        assert_eq!(clip.samples, samples);
        assert!(clip.warnings.is_empty(), "{:?}", clip.warnings);
    }

    #[test]
    fn sixteen_bit_files_are_heard_again_within_half_a_step() {
        let samples: Vec<f32> = (0..3_000).map(|i| (i as f32 * 0.37).sin() * 0.9).collect();
        let clip = load_bytes(Path::new("a.wav"), wav_16_bit(&samples), &Hearing::default()).unwrap();
        assert_eq!(clip.samples.len(), samples.len());
        assert!(
            clip.samples.iter().zip(&samples).all(|(heard, sent)| (heard - sent).abs() <= 0.5 / 32_768.0)
        );
        assert!(clip.warnings.is_empty(), "{:?}", clip.warnings);
        let loud = load_bytes(Path::new("a.wav"), wav_16_bit(&[2.0, -2.0]), &Hearing::default()).unwrap();
        assert_eq!(loud.samples, [32_767.0 / 32_768.0, -1.0]);
    }
}
