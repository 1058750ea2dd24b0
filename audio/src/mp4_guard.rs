//! Keeps symphonia from counting the samples of a fragment that has none.
//!
//! A `trun` box says how many samples a run has. If its flags announce no values for the samples, symphonia counts up to that
//! number without reading, which takes ten seconds for 4 billion. Symphonia finds such boxes in damaged files where a
//! stricter reader does not look, so what it reads is searched for them.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::input::Input;

/// Type, version, flags and number of samples of a `trun` box.
const RUN: usize = 12;

/// The flags that announce a value for each sample: duration, size, flags, offset.
const VALUES: u32 = 0xf00;

/// An MP4 file, of which no run with more samples than the file has bytes can be read.
pub(crate) struct Guarded {
    input: Input,
    /// The last bytes that were read, as long as reading goes on behind them.
    before: Vec<u8>,
}

impl Guarded {
    pub(crate) fn new(input: Input) -> Self {
        Guarded { input, before: Vec::new() }
    }

    fn check(&mut self, read: &[u8]) -> io::Result<()> {
        self.before.extend_from_slice(read);
        for run in self.before.windows(RUN).filter(|window| window.starts_with(b"trun")) {
            let number = |at: usize| u32::from_be_bytes([run[at], run[at + 1], run[at + 2], run[at + 3]]);
            let (flags, samples) = (number(4), number(8));
            let length = self.input.length();
            if flags & VALUES == 0 && u64::from(samples) > length {
                let what = format!("a fragment promises {samples} samples, and the file has {length} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        self.before.drain(..self.before.len().saturating_sub(RUN - 1));
        Ok(())
    }
}

impl Read for Guarded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.check(&buffer[..count])?;
        Ok(count)
    }
}

impl Seek for Guarded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.before.clear();
        self.input.seek(to)
    }
}

impl MediaSource for Guarded {
    fn is_seekable(&self) -> bool {
        self.input.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.input.byte_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: u32, samples: u32, at_a_time: usize) -> io::Result<usize> {
        let run = [&b"junk"[..], b"trun", &flags.to_be_bytes(), &samples.to_be_bytes(), &[7; 20]].concat();
        let mut guarded = Guarded::new(Input::of_bytes(run));
        let (mut buffer, mut all) = (vec![0; at_a_time], 0);
        loop {
            match guarded.read(&mut buffer)? {
                0 => return Ok(all),
                count => all += count,
            }
        }
    }

    #[test]
    fn a_run_of_more_samples_than_bytes_cannot_be_read_wherever_it_is_cut() {
        for at_a_time in [1, 3, 7, 36, 100] {
            // 36 bytes in all.
            assert_eq!(read(0x1, 36, at_a_time).unwrap(), 36);
            let error = read(0x1, 0x3539_2e33, at_a_time).unwrap_err().to_string();
            assert_eq!(error, "a fragment promises 892939827 samples, and the file has 36 bytes");
            // With a size for each sample, the end of the file ends the count.
            assert_eq!(read(0x201, u32::MAX, at_a_time).unwrap(), 36);
        }
    }
}
