//! A fork's folder: a copy of another arm's, as that was when one of its checkpoints was written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::checkpoint::CheckpointState;
use crate::error::RecordsError;
use crate::files::link_or_copy;
use crate::manifest::sync;
use crate::run_dir::ArmDir;

impl ArmDir {
    /// Makes `fork` a copy of this arm as of its checkpoint after `step` steps: that checkpoint, and the records that
    /// belong to it. The folder appears when all of it is on the disk; one that is there already stays as it is.
    ///
    /// The files of the checkpoint are hard links where the file system has them, since nobody writes to them again.
    ///
    /// Errors: [`RecordsError`]: the checkpoint is not there, or a file can't be read or written.
    pub fn fork_to(&self, step: u64, fork: &ArmDir) -> Result<(), RecordsError> {
        if fork.path().is_dir() {
            return Ok(());
        }
        let checkpoint = self.checkpoint(step);
        let state = CheckpointState::read(&checkpoint)?;
        let draft = ArmDir::new(fork.path().with_extension("draft"));
        let write = |path: &Path, result: io::Result<()>| result.map_err(RecordsError::writing(path));
        if draft.path().exists() {
            write(draft.path(), fs::remove_dir_all(draft.path()))?;
        }
        let copied = draft.checkpoint(step);
        write(&copied, fs::create_dir_all(&copied))?;
        let files = fs::read_dir(&checkpoint).map_err(RecordsError::reading(&checkpoint))?;
        for file in files {
            let file = file.map_err(RecordsError::reading(&checkpoint))?;
            let to = copied.join(file.file_name());
            write(&to, link_or_copy(&file.path(), &to))?;
        }
        for (file, bytes) in self.lengths_at(&state)? {
            write(&draft.file(file), copy_beginning(&self.file(file), &draft.file(file), bytes))?;
        }
        if self.replay().exists() {
            write(&draft.replay(), fs::copy(self.replay(), draft.replay()).map(drop))?;
        }
        for folder in [&copied, &draft.checkpoints(), draft.path()] {
            write(folder, sync(folder))?;
        }
        write(fork.path(), fs::rename(draft.path(), fork.path()))?;
        let around = fork.path().parent().unwrap_or(fork.path());
        write(around, sync(around))
    }
}

/// Copies the first `bytes` of a file that may be missing.
fn copy_beginning(from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let file = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && bytes == 0 => return Ok(()),
        file => file?,
    };
    let mut copy = File::create(to)?;
    let copied = io::copy(&mut file.take(bytes), &mut copy)?;
    if copied < bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the records that are copied were cut"));
    }
    copy.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm_file::ArmFile;
    use crate::checkpoint::Progress;
    use crate::checksum::FileSum;
    use crate::format::FormatVersion;
    use crate::record_sums::RecordSums;

    #[test]
    fn a_fork_has_the_checkpoint_and_the_records_up_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (arm, fork) = (ArmDir::new(folder.path().join("a/seed-7")), folder.path().join("b/seed-7"));
        fs::create_dir_all(arm.path()).unwrap();
        let rows = "{\"step\":1}\n{\"step\":2}\n";
        fs::write(arm.metrics(), format!("{rows}{{\"step\":3}}\n")).unwrap();
        let sum = (ArmFile::Metrics.name().to_owned(), FileSum::of(rows.as_bytes()));
        let state = CheckpointState {
            format_version: FormatVersion::CURRENT,
            policy_version: 2,
            progress: Progress { step: 2, ..Progress::default() },
            conditions: None,
            records: Some(RecordSums([sum].into())),
        };
        let weights =
            |draft: &Path| fs::write(draft.join("weights"), "w").map_err(RecordsError::writing(draft));
        state.write(&arm.checkpoint(2), weights).unwrap();
        let fork = ArmDir::new(fork);
        arm.fork_to(2, &fork).unwrap();
        assert_eq!(fs::read_to_string(fork.metrics()).unwrap(), rows);
        assert_eq!(fork.checkpoint_steps(), [2]);
        assert!(fork.newest_written().unwrap().is_still_there().is_ok(), "with its manifest");
        assert!(!fork.rollouts().exists());
        fs::write(fork.metrics(), "later").unwrap();
        arm.fork_to(2, &fork).unwrap();
        assert_eq!(fs::read_to_string(fork.metrics()).unwrap(), "later", "what the fork did since stays");
        let none = arm.fork_to(3, &ArmDir::new(folder.path().join("c"))).unwrap_err().to_string();
        assert!(none.contains("step-000003"), "{none}");
    }
}
