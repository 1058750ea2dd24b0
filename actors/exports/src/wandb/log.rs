//! The file format: the log of LevelDB behind a header of its own. Blocks have 32 KiB, and a record that does not fit into
//! the rest of one is continued in the next.

use std::io;
use std::path::Path;

use crc::{CRC_32_ISO_HDLC, Crc};

use super::message::Record;
use crate::appended::Appended;

/// The checksum of zlib.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// `:W&B`, a number that marks the format, and its version 0.
const HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];

const BLOCK: usize = 32 * 1024;

/// Length of what stands before each part of a record: the checksum, the length, and which part it is.
const PART_HEADER: usize = 7;

/// Which part of a record comes.
#[derive(Clone, Copy)]
enum Part {
    Whole = 1,
    First = 2,
    Middle = 3,
    Last = 4,
}

/// A file of records.
#[derive(Debug)]
pub(super) struct Log {
    file: Appended,
    records: u64,
}

impl Log {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = Appended::create(path)?;
        file.append(&HEADER)?;
        Ok(Log { file, records: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Appends a record with the next number, at once.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        self.records += 1;
        self.file.append(&framed(self.file.length() as usize, &record.encoded(self.records)))
    }
}

/// The bytes of a record that begins at `at` in the file.
fn framed(at: usize, mut content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 2 * PART_HEADER);
    let mut first = true;
    loop {
        let mut room = BLOCK - (at + bytes.len()) % BLOCK;
        if room < PART_HEADER {
            bytes.resize(bytes.len() + room, 0);
            room = BLOCK;
        }
        let (part, rest) = content.split_at(content.len().min(room - PART_HEADER));
        let which = match (first, rest.is_empty()) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, false) => Part::Middle,
            (false, true) => Part::Last,
        } as u8;
        let mut checksum = CHECKSUM.digest();
        checksum.update(&[which]);
        checksum.update(part);
        bytes.extend(checksum.finalize().to_le_bytes());
        bytes.extend((part.len() as u16).to_le_bytes());
        bytes.push(which);
        bytes.extend(part);
        (content, first) = (rest, false);
        if content.is_empty() {
            return bytes;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The contents of the records of a file.
    pub(in super::super) fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        assert_eq!(bytes[..7], HEADER);
        let (mut at, mut records, mut record) = (HEADER.len(), Vec::new(), Vec::new());
        while at < bytes.len() {
            let room = BLOCK - at % BLOCK;
            if room < PART_HEADER {
                assert!(bytes[at..at + room].iter().all(|byte| *byte == 0));
                at += room;
                continue;
            }
            let length = u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]) as usize;
            let part = &bytes[at + PART_HEADER..at + PART_HEADER + length];
            let which = bytes[at + 6];
            let checked = CHECKSUM.checksum(&[&[which], part].concat());
            assert_eq!(bytes[at..at + 4], checked.to_le_bytes());
            record.extend(part);
            if [Part::Whole as u8, Part::Last as u8].contains(&which) {
                records.push(std::mem::take(&mut record));
            }
            at += PART_HEADER + length;
        }
        records
    }

    #[test]
    fn records_of_every_length_are_read_back_across_blocks() {
        let mut bytes = HEADER.to_vec();
        // The second leaves 6 bytes of its block, the third exactly the header of a part.
        let first = BLOCK - HEADER.len() - PART_HEADER - 6;
        let lengths = [first, BLOCK - 2 * PART_HEADER, 3 * BLOCK + 5, 0, 1];
        for (number, length) in lengths.iter().enumerate() {
            let record = framed(bytes.len(), &vec![number as u8; *length]);
            bytes.extend(record);
        }
        let found: Vec<usize> = read(&bytes).iter().map(Vec::len).collect();
        assert_eq!(found, lengths);
    }
}
