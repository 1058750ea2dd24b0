//! Checksums of files: of whole ones, and of the beginning of files that grow.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Length and SHA-256 of a file, or of its first `bytes` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSum {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
}

impl FileSum {
    /// The sum of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = RunningSum::default();
        sum.add(bytes);
        sum.sum()
    }

    /// The sum of a whole file.
    ///
    /// Errors: the operating system's, if the file can't be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Ok(RunningSum::of_beginning(path, u64::MAX)?.sum())
    }
}

/// A checksum that grows with a file.
#[derive(Clone, Debug, Default)]
pub struct RunningSum {
    bytes: u64,
    hasher: Sha256,
}

impl RunningSum {
    /// The sum of the first `length` bytes of a file, or of all if it is shorter.
    ///
    /// Errors: the operating system's, if the file can't be read.
    pub fn of_beginning(path: &Path, length: u64) -> io::Result<Self> {
        let mut file = File::open(path)?.take(length);
        let mut sum = Self::default();
        let mut block = vec![0; 1 << 20];
        loop {
            match file.read(&mut block)? {
                0 => return Ok(sum),
                read => sum.add(&block[..read]),
            }
        }
    }

    /// Adds bytes that were appended.
    pub fn add(&mut self, appended: &[u8]) {
        self.bytes += appended.len() as u64;
        self.hasher.update(appended);
    }

    /// Number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The sum of all bytes so far.
    pub fn sum(&self) -> FileSum {
        let digest = self.hasher.clone().finalize();
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        FileSum { bytes: self.bytes, sha256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1: SHA-256 of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_sum_of_parts_is_the_sum_of_the_whole() {
        let mut running = RunningSum::default();
        running.add(b"a");
        running.add(b"bc");
        assert_eq!(running.sum(), FileSum { bytes: 3, sha256: ABC.into() });
        assert_eq!(running.sum(), FileSum::of(b"abc"));
    }

    #[test]
    fn the_beginning_of_a_file_has_a_sum_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "abcdef").unwrap();
        assert_eq!(RunningSum::of_beginning(&path, 3).unwrap().sum(), FileSum::of(b"abc"));
        assert_eq!(RunningSum::of_beginning(&path, 99).unwrap().bytes(), 6);
    }
}
