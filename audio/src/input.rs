//! The bytes of a clip: a file, a part of a file, or memory.
//!
//! Every decoder reads through an [`Input`], so that none of them holds a whole file in memory. Clones have positions of
//! their own and share the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use symphonia::core::io::MediaSource;

use super::error::Problem;

/// A range of bytes that can be read from any position.
#[derive(Clone)]
pub struct Input {
    bytes: Bytes,
    /// Where the range begins in `bytes`.
    start: u64,
    length: u64,
    position: u64,
    /// Bytes that are read instead of the stored ones: position in the range, and content.
    patches: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone)]
enum Bytes {
    File(Arc<File>),
    Memory(Arc<[u8]>),
}

impl Input {
    /// Opens a file. Fails if it is missing, is not a regular file, or cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Problem::Missing,
            _ => Problem::Unreadable(error),
        };
        // Looked at before it is opened: to open a named pipe waits for its writer.
        let metadata = std::fs::metadata(path).map_err(missing)?;
        if metadata.is_dir() {
            return Err(Problem::Unreadable(io::ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Err(Problem::Unreadable(io::Error::other("it is a device or a pipe")));
        }
        let file = File::open(path).map_err(missing)?;
        let length = file.metadata()?.len();
        Ok(Self { bytes: Bytes::File(Arc::new(file)), start: 0, length, position: 0, patches: Vec::new() })
    }

    pub(crate) fn of_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self { bytes: Bytes::Memory(bytes), start: 0, length, position: 0, patches: Vec::new() }
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The `length` bytes from `start`, or as many of them as there are, read from their beginning.
    pub(crate) fn part(&self, start: u64, length: u64) -> Self {
        let start = start.min(self.length);
        let inside = |&(position, _): &(u64, Vec<u8>)| position >= start;
        Self {
            bytes: self.bytes.clone(),
            start: self.start + start,
            length: length.min(self.length - start),
            position: 0,
            patches: self
                .patches
                .iter()
                .filter(|patch| inside(patch))
                .map(|(at, b)| (at - start, b.clone()))
                .collect(),
        }
    }

    /// Has readers see `bytes` at `position` instead of what is stored there: a header that a reader would misunderstand.
    pub(crate) fn patch(&mut self, position: u64, bytes: Vec<u8>) {
        self.patches.push((position, bytes));
    }

    /// Fills `buffer` from `position` as far as there are bytes; returns how many.
    pub fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.length.saturating_sub(position).min(buffer.len() as u64) as usize;
        // The position may be far behind the end.
        if room == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..room];
        let mut filled = 0;
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let from = self.start.saturating_add(position).min(bytes.len() as u64) as usize;
                buffer.copy_from_slice(&bytes[from..from + room]);
                filled = room;
            }
            Bytes::File(file) => {
                while filled < room {
                    match file.read_at(&mut buffer[filled..], self.start + position + filled as u64) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        for (at, bytes) in &self.patches {
            for (i, &byte) in bytes.iter().enumerate() {
                if let Some(place) = (at + i as u64).checked_sub(position)
                    && (place as usize) < filled
                {
                    buffer[place as usize] = byte;
                }
            }
        }
        Ok(filled)
    }

    /// Up to `count` bytes from `position`.
    pub(crate) fn peek(&self, position: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; count.min(self.length.saturating_sub(position) as usize)];
        let filled = self.read_at(position, &mut buffer)?;
        buffer.truncate(filled);
        Ok(buffer)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

impl MediaSource for Input {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_from_its_beginning_with_its_patches() {
        let mut input = Input::of_bytes(*b"0123456789");
        input.patch(4, b"XY".to_vec());
        let mut part = input.part(3, 4);
        let mut text = String::new();
        part.read_to_string(&mut text).unwrap();
        assert_eq!(text, "3XY6");
        assert_eq!(part.seek(SeekFrom::End(-1)).unwrap(), 3);
        assert_eq!(input.part(8, 100).peek(0, 10).unwrap(), b"89");
        assert_eq!(input.peek(50, 1).unwrap(), b"");
    }
}
