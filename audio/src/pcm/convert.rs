//! From stored samples to f32.
//!
//! One loop per format, with mono and stereo apart, so that nothing is decided per sample and the compiler can use vector
//! instructions. An integer of `b` bits is divided by 2^(b-1), which is exact up to 24 bits.

use super::{Coding, SampleFormat};

/// Distributes interleaved samples over the planes of the channels, which have the length of the block already.
pub(super) fn convert(bytes: &[u8], format: SampleFormat, planes: &mut [Vec<f32>]) {
    const BITS_32: f64 = 2_147_483_648.0;
    // The bytes of a smaller integer become the upper ones of a larger one, so that one scale fits.
    let of_24 = |value: i32| value as f32 / BITS_32 as f32;
    let of_32 = |value: i32| (f64::from(value) / BITS_32) as f32;
    match (format.coding, format.bytes, format.big_endian) {
        (Coding::Unsigned, ..) => spread(bytes, planes, |[a]: [u8; 1]| (f32::from(a) - 128.0) / 128.0),
        (Coding::MuLaw, ..) => spread(bytes, planes, |[a]: [u8; 1]| MU_LAW[usize::from(a)]),
        (Coding::ALaw, ..) => spread(bytes, planes, |[a]: [u8; 1]| A_LAW[usize::from(a)]),
        (Coding::Signed, 1, _) => spread(bytes, planes, |a: [u8; 1]| f32::from(i8::from_ne_bytes(a)) / 128.0),
        (Coding::Signed, 2, false) => spread(bytes, planes, |a| f32::from(i16::from_le_bytes(a)) / 32_768.0),
        (Coding::Signed, 2, true) => spread(bytes, planes, |a| f32::from(i16::from_be_bytes(a)) / 32_768.0),
        (Coding::Signed, 3, false) => {
            spread(bytes, planes, |[a, b, c]: [u8; 3]| of_24(i32::from_le_bytes([0, a, b, c])));
        }
        (Coding::Signed, 3, true) => {
            spread(bytes, planes, |[a, b, c]: [u8; 3]| of_24(i32::from_be_bytes([a, b, c, 0])));
        }
        (Coding::Signed, 4, false) => spread(bytes, planes, |a| of_32(i32::from_le_bytes(a))),
        (Coding::Signed, 4, true) => spread(bytes, planes, |a| of_32(i32::from_be_bytes(a))),
        (Coding::Signed, 5, big) => spread(bytes, planes, |a: [u8; 5]| wide(a, big)),
        (Coding::Signed, 6, big) => spread(bytes, planes, |a: [u8; 6]| wide(a, big)),
        (Coding::Signed, 7, big) => spread(bytes, planes, |a: [u8; 7]| wide(a, big)),
        (Coding::Signed, _, big) => spread(bytes, planes, |a: [u8; 8]| wide(a, big)),
        (Coding::Float, 4, false) => spread(bytes, planes, f32::from_le_bytes),
        (Coding::Float, 4, true) => spread(bytes, planes, f32::from_be_bytes),
        (Coding::Float, _, false) => spread(bytes, planes, |a| f64::from_le_bytes(a) as f32),
        (Coding::Float, _, true) => spread(bytes, planes, |a| f64::from_be_bytes(a) as f32),
        (Coding::ScaledFloat(full), ..) => spread(bytes, planes, |a| f32::from_le_bytes(a) / full),
    }
}

fn spread<const W: usize>(bytes: &[u8], planes: &mut [Vec<f32>], value: impl Fn([u8; W]) -> f32) {
    let (samples, _) = bytes.as_chunks::<W>();
    match planes {
        [mono] => {
            for (out, sample) in mono.iter_mut().zip(samples) {
                *out = value(*sample);
            }
        }
        [left, right] => {
            let (frames, _) = samples.as_chunks::<2>();
            for ((left, right), [a, b]) in left.iter_mut().zip(right).zip(frames) {
                *left = value(*a);
                *right = value(*b);
            }
        }
        planes => {
            let channels = planes.len();
            for (first, plane) in planes.iter_mut().enumerate() {
                for (out, frame) in plane.iter_mut().zip(samples.chunks_exact(channels)) {
                    *out = value(frame[first]);
                }
            }
        }
    }
}

/// An integer of more than 32 bits.
fn wide<const W: usize>(bytes: [u8; W], big_endian: bool) -> f32 {
    let mut whole = [0; 8];
    let value = if big_endian {
        whole[..W].copy_from_slice(&bytes);
        i64::from_be_bytes(whole)
    } else {
        whole[8 - W..].copy_from_slice(&bytes);
        i64::from_le_bytes(whole)
    };
    value as f32 / 9_223_372_036_854_775_808.0
}

/// ITU-T G.711: a sign, 3 bits of exponent and 4 of mantissa, all inverted. The step of the smallest segment is 8 in 16
/// bits, and magnitudes are stored with 132 added.
const MU_LAW: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let magnitude = (((((bits & 15) as i32) << 3) + 132) << (bits >> 4 & 7)) - 132;
        table[code] = (if bits & 128 != 0 { -magnitude } else { magnitude }) as f32 / 32_768.0;
        code += 1;
    }
    table
};

/// ITU-T G.711: as µ-law, with every second bit inverted, a step of 16 in the two smallest segments, and no bias.
const A_LAW: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = (code as u8) ^ 0x55;
        let (segment, step) = ((bits >> 4 & 7) as i32, ((bits & 15) as i32) << 4);
        let magnitude = if segment == 0 { step + 8 } else { (step + 264) << (segment - 1) };
        table[code] = (if bits & 128 != 0 { magnitude } else { -magnitude }) as f32 / 32_768.0;
        code += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn mono(bytes: &[u8], coding: Coding, width: usize, big_endian: bool) -> Vec<f32> {
        let mut planes = [vec![f32::NAN; bytes.len() / width]];
        convert(bytes, SampleFormat { coding, bytes: width, big_endian }, &mut planes);
        let [plane] = planes;
        plane
    }

    #[test]
    fn integers_of_every_width_are_scaled_by_half_of_their_range() {
        assert_eq!(mono(&[0, 128, 192, 255], Coding::Unsigned, 1, false), [-1.0, 0.0, 0.5, 127.0 / 128.0]);
        assert_eq!(mono(&[0x80, 0, 0x40], Coding::Signed, 1, false), [-1.0, 0.0, 0.5]);
        // 0x4000 and 0x8001 of 16 bits; the same upper bits in each larger width.
        assert_eq!(mono(&[0, 0x40, 1, 0x80], Coding::Signed, 2, false), [0.5, -32_767.0 / 32_768.0]);
        for width in 2..=8 {
            let mut bytes = vec![0; 2 * width];
            (bytes[0], bytes[width], bytes[width + 1]) = (0x40, 0x80, 0x01);
            assert_eq!(
                mono(&bytes, Coding::Signed, width, true),
                [0.5, -32_767.0 / 32_768.0],
                "{width} bytes"
            );
            bytes[..width].reverse();
            bytes[width..].reverse();
            assert_eq!(
                mono(&bytes, Coding::Signed, width, false),
                [0.5, -32_767.0 / 32_768.0],
                "{width} bytes"
            );
        }
        // The lowest bit of 24, which f32 holds, and of 32, beside a large value.
        assert_eq!(mono(&[1, 0, 0x40], Coding::Signed, 3, false), [4_194_305.0 / 8_388_608.0]);
        assert_eq!(mono(&[1, 0, 0, 0], Coding::Signed, 4, false), [1.0 / 2_147_483_648.0]);
    }

    #[test]
    fn floats_are_taken_as_they_are_and_cool_edits_are_scaled() {
        assert_eq!(mono(&0.3f32.to_le_bytes(), Coding::Float, 4, false), [0.3]);
        assert_eq!(mono(&(-2.5f32).to_be_bytes(), Coding::Float, 4, true), [-2.5]);
        assert_eq!(mono(&0.3f64.to_le_bytes(), Coding::Float, 8, false), [0.3]);
        assert_eq!(mono(&0.3f64.to_be_bytes(), Coding::Float, 8, true), [0.3]);
        assert_eq!(mono(&16_384f32.to_le_bytes(), Coding::ScaledFloat(32_768.0), 4, false), [0.5]);
    }

    #[test]
    fn g711_codes_have_the_values_of_the_standard() {
        // 0x00 and 0x80 are the extremes, 0xff and 0x7f are zero: (0 + 132 << 0) - 132.
        // 0xf0: inverted 0x0f, mantissa 15 in segment 0: 15 · 8 = 120. 0x8f: inverted 0x70: (132 << 7) - 132 = 16764.
        let values = mono(&[0x00, 0x80, 0xff, 0x7f, 0xf0, 0x8f], Coding::MuLaw, 1, false);
        assert_eq!(values.map_to_16(), [-32_124, 32_124, 0, 0, 120, 16_764]);
        // 0xd5 and 0x55 are the codes of least magnitude; 0xaa ^ 0x55 = 0xff: (240 + 264) << 6 = 32256.
        // 0xc5 ^ 0x55 = 0x90: segment 1, mantissa 0: 264.
        let values = mono(&[0xd5, 0x55, 0xaa, 0x2a, 0xc5], Coding::ALaw, 1, false);
        assert_eq!(values.map_to_16(), [8, -8, 32_256, -32_256, 264]);
    }

    trait MapTo16 {
        fn map_to_16(&self) -> Vec<i32>;
    }

    impl MapTo16 for Vec<f32> {
        fn map_to_16(&self) -> Vec<i32> {
            self.iter().map(|value| (value * 32_768.0) as i32).collect()
        }
    }

    #[test]
    fn interleaved_samples_go_to_their_channels() {
        for channels in 1..=5 {
            let mut planes = vec![vec![f32::NAN; 3]; channels];
            let samples: Vec<u8> = (0..3 * channels as u8).map(|i| 128 + i).collect();
            convert(
                &samples,
                SampleFormat { coding: Coding::Unsigned, bytes: 1, big_endian: false },
                &mut planes,
            );
            for (channel, plane) in planes.iter().enumerate() {
                let expected = [0, 1, 2].map(|frame| (frame * channels + channel) as f32 / 128.0);
                assert_eq!(plane, &expected, "channel {channel} of {channels}");
            }
        }
    }
}
