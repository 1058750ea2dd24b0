//! The parts of files: objects that never change, each with its checksum in its name.

use records::FileSum;
use serde::{Deserialize, Serialize};

use crate::writer::Writer;

/// Largest part. A file is at most this much longer than its parts that are full.
pub(crate) const PART_BYTES: u64 = 16 << 20;

/// A range of a file as an object of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The object, relative to the folder of the run: `files/PATH/OFFSET-WRITER-SHA256`. So the parts of a file are in its order.
    pub object: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
}

impl Part {
    /// The part of the file at `path` from `offset` on. The writer is in its name, so that no process can remove what another
    /// one has stored.
    pub(crate) fn new(path: &str, offset: u64, sum: FileSum, writer: &Writer) -> Self {
        let object = format!("{FILES}/{path}/{offset:016}-{:.8}-{:.32}", writer.id, sum.sha256);
        Part { object, bytes: sum.bytes, sha256: sum.sha256 }
    }
}

/// The folder of all parts.
pub(crate) const FILES: &str = "files";

/// How many of the parts of a file stay when it has grown to `length` bytes. The others are stored again within the next part, if
/// they are not longer than what is behind them: so there are few parts, and a byte is sent again only when the part that has
/// it at least doubles (STORE-5).
pub(crate) fn parts_that_stay(parts: &[Part], length: u64) -> usize {
    let mut start: u64 = parts.iter().map(|part| part.bytes).sum();
    let mut stay = parts.len();
    while let Some(last) = parts[..stay].last() {
        let behind = length.saturating_sub(start);
        if last.bytes > behind || last.bytes + behind > PART_BYTES {
            break;
        }
        start -= last.bytes;
        stay -= 1;
    }
    stay
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: u64) -> Part {
        Part { object: String::new(), bytes, sha256: String::new() }
    }

    #[test]
    fn a_part_is_stored_again_only_within_one_that_is_twice_as_long() {
        // STORE-5. 8 + 4 bytes are stored, and 3 are new: 4 > 3.
        assert_eq!(parts_that_stay(&[part(8), part(4)], 15), 2);
        // With 4 new bytes, 4 + 4 are one part, and then 8 + 8.
        assert_eq!(parts_that_stay(&[part(8), part(4)], 16), 0);
        assert_eq!(parts_that_stay(&[part(9), part(4)], 17), 1);
        assert_eq!(parts_that_stay(&[part(4)], 4), 1, "nothing is new");
        assert_eq!(parts_that_stay(&[part(PART_BYTES)], 2 * PART_BYTES), 1, "a full part stays");
    }

    #[test]
    fn a_file_that_grows_by_lines_is_sent_few_times() {
        // STORE-5: 1,000 uploads of 100 further bytes each.
        let (mut parts, mut sent, lines) = (Vec::new(), 0, 1000);
        for line in 1..=lines {
            let length = line * 100;
            parts.truncate(parts_that_stay(&parts, length));
            let start: u64 = parts.iter().map(|part: &Part| part.bytes).sum();
            sent += length - start;
            parts.push(part(length - start));
        }
        // log2(1000) < 10.
        assert!(sent <= 10 * lines * 100, "{sent}");
        assert!(parts.len() <= 10, "{}", parts.len());
    }
}
