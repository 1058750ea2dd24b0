//! How long a file of MPEG audio is, if no header states it.

use std::io;

use super::super::elementary::Coded;
use super::super::frames::{Frames, Header as _};
use super::super::input::Input;
use super::header::Header;

/// Files up to this size are measured by walking over all of their frames, which takes some milliseconds.
const WALKED: u64 = 16 << 20;

/// Places at which a longer file is looked at, and frames that are looked at there.
const PLACES: u64 = 8;
const FRAMES: usize = 16;

/// Samples at the rate of the first frame, delay and padding included; `None` if the file is long and its bitrate varies.
pub(super) fn measure(input: &Input, first: &Header, start: u64, end: u64) -> io::Result<Option<u64>> {
    if end.saturating_sub(start) <= WALKED {
        walk(input, first, start).map(Some)
    } else {
        sample(input, first, start, end)
    }
}

fn walk(input: &Input, first: &Header, start: u64) -> io::Result<u64> {
    let mut frames = Frames::<Header>::new(input.part(start, u64::MAX))?;
    // By rate, since the sum of rounded lengths would drift.
    let mut seconds = 0.0;
    let mut samples = 0;
    while let Some(frame) = frames.next()? {
        if frame.header.rate == first.rate {
            samples += frame.header.samples();
        } else {
            seconds += frame.header.samples() as f64 / f64::from(frame.header.rate);
        }
    }
    Ok(samples + (seconds * f64::from(first.rate)).round() as u64)
}

/// The length of a file whose bitrate is the same at all places that are looked at.
fn sample(input: &Input, first: &Header, start: u64, end: u64) -> io::Result<Option<u64>> {
    let mut frames = Frames::<Header>::new(input.clone())?;
    for place in 0..PLACES {
        frames.start_at(start + (end - start) / PLACES * place);
        for _ in 0..FRAMES {
            match frames.next_within(1 << 16)? {
                Some(frame) if frame.header.matches(first) && frame.header.bitrate == first.bitrate => {}
                _ => return Ok(None),
            }
        }
    }
    let seconds = (end - start) as f64 * 8.0 / (f64::from(first.bitrate) * 1000.0);
    Ok(Some((seconds * f64::from(first.rate)).ceil() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MPEG-1 layer 3, mono, 48 kHz: 144 · 64000 / 48000 = 192 bytes, 144 · 128000 / 48000 = 384 bytes, 1152 samples.
    fn frame(index: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0; length];
        frame[..4].copy_from_slice(&[0xff, 0xfb, index << 4 | 4, 0xc4]);
        frame
    }

    fn measured(file: Vec<u8>) -> Option<u64> {
        let first = Header::parse(&file).unwrap();
        let end = file.len() as u64;
        measure(&Input::of_bytes(file), &first, 0, end).unwrap()
    }

    #[test]
    fn short_files_are_counted_and_long_ones_are_measured_if_their_bitrate_is_constant() {
        let (low, high) = (frame(5, 192), frame(9, 384));
        assert_eq!(measured([low.as_slice(), &high, &low].concat()), Some(3 * 1152));
        let long = low.repeat(90_000);
        assert!(long.len() as u64 > WALKED);
        assert_eq!(measured(long), Some(90_000 * 1152));
        assert_eq!(measured([low.repeat(50_000), high.repeat(25_000)].concat()), None);
    }
}
