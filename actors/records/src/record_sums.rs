//! The checksums of the files that grow while a run goes on, as they were at one moment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::arm_file::ArmFile;
use crate::checksum::{FileSum, RunningSum};
use crate::damage::{Damage, Finding};

/// What an arm's records were when a checkpoint or a status was written, by file name; a file without rows is absent.
/// The files may have grown since; their beginning must be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordSums(pub BTreeMap<String, FileSum>);

impl RecordSums {
    /// The sum of one of the arm's files.
    pub fn of(&self, file: ArmFile) -> FileSum {
        self.0.get(file.name()).cloned().unwrap_or_else(|| FileSum::of(b""))
    }
}

/// How many of `sums`, which rise in length, fit the beginning of a file, and what does not fit.
///
/// Errors: the operating system's, if an existing file can't be read.
pub(crate) fn fitting(path: &Path, sums: &[FileSum]) -> io::Result<(usize, Option<Finding>)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        file => Some(BufReader::with_capacity(1 << 16, file?)),
    };
    let mut running = RunningSum::default();
    let mut lines = 0;
    for (fitting, sum) in sums.iter().enumerate() {
        let first = lines + 1;
        while let Some(reader) = &mut file
            && running.bytes() < sum.bytes
        {
            let block = reader.fill_buf()?;
            let wanted = block.len().min((sum.bytes - running.bytes()) as usize);
            if wanted == 0 {
                break;
            }
            lines += block[..wanted].iter().filter(|byte| **byte == b'\n').count() as u64;
            running.add(&block[..wanted]);
            reader.consume(wanted);
        }
        if running.sum() == *sum {
            continue;
        }
        let damage = match (&file, running.bytes() < sum.bytes) {
            (None, _) => Damage::Missing,
            (Some(_), true) => Damage::Length { expected: sum.bytes, found: running.bytes() },
            (Some(_), false) => Damage::Content,
        };
        let finding = match damage {
            Damage::Missing => Finding::in_file(path, damage),
            Damage::Length { .. } => Finding::in_lines(path, lines + 1, lines + 1, damage),
            damage => Finding::in_lines(path, first, lines.max(first), damage),
        };
        return Ok((fitting, Some(finding)));
    }
    Ok((sums.len(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_changed_byte_is_found_between_the_sums_around_it() {
        let sums = [FileSum::of(b"1\n2\n"), FileSum::of(b"1\n2\n3\n4\n")];
        let (_folder, path) = file("1\n2\n3\n4\n5\n");
        assert_eq!(fitting(&path, &sums).unwrap(), (2, None), "a file may grow");
        let (_folder, path) = file("1\n2\n3\n9\n5\n");
        let (fit, finding) = fitting(&path, &sums).unwrap();
        assert_eq!((fit, finding), (1, Some(Finding::in_lines(&path, 3, 4, Damage::Content))));
    }

    #[test]
    fn a_file_that_was_cut_is_damaged_behind_its_last_line() {
        let (_folder, path) = file("1\n2\n");
        let damage = Damage::Length { expected: 8, found: 4 };
        let finding = Finding::in_lines(&path, 3, 3, damage);
        assert_eq!(fitting(&path, &[FileSum::of(b"1\n2\n3\n4\n")]).unwrap(), (0, Some(finding)));
    }
}
