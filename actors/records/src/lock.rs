//! The lock that makes one process the owner of a run directory.
//!
//! - `LOCK-1` a run directory has at most one process that writes records to it. The lock is a `flock` on `lock`, which
//!   the kernel releases when its owner ends, however it ends. Readers (`report`, `verify`, the page) take none;
//!   [`is_owned`] takes a shared one for a moment.
//!
//! On NFS, Linux turns `flock` into a lock of the server, so it also excludes other machines. Where the file system has no
//! locks, the owner named in the file decides: it is taken over if it was on this machine and is dead.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::RecordsError;
use crate::journal::now;
use crate::owner::Owner;
use crate::run_dir::RunDir;

/// Most time from taking the lock to having the owner's name in it, also on a busy machine.
const OWNER_IS_NAMED: Duration = Duration::from_secs(2);

/// A run directory that this process may write to. The lock is released when the value is dropped.
#[derive(Debug)]
pub struct OwnedRunDir {
    run_dir: RunDir,
    file: File,
}

/// Finds out whether the lock is still where it was taken. It is not if the run directory was moved or removed.
#[derive(Clone, Debug)]
pub struct LockCheck {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnedRunDir {
    /// Takes the lock of a run directory, which must exist.
    ///
    /// Errors: [`RecordsError::Owned`] names the process that holds it; [`RecordsError::Write`].
    pub fn claim(run_dir: RunDir) -> Result<Self, RecordsError> {
        let path = run_dir.lock();
        let deadline = Instant::now() + OWNER_IS_NAMED;
        loop {
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
            let mut file = file.map_err(RecordsError::writing(&path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let owner = read_owner(&mut file).filter(may_live);
                    if owner.is_some() || Instant::now() > deadline {
                        return Err(owned(&run_dir, owner));
                    }
                    // The owner has the lock and has not written its name yet, or has just gone.
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                    if let Some(owner) = read_owner(&mut file).filter(may_live) {
                        return Err(owned(&run_dir, Some(owner)));
                    }
                }
                Err(TryLockError::Error(error)) => return Err(RecordsError::writing(&path)(error)),
            }
            // The owner before may have removed the file between the opening and the locking.
            if is_at(&file, &path) {
                write_owner(&mut file).map_err(RecordsError::writing(&path))?;
                return Ok(OwnedRunDir { run_dir, file });
            }
        }
    }

    /// The directory.
    pub fn run_dir(&self) -> &RunDir {
        &self.run_dir
    }

    /// Finds out whether anything can still be written to the directory.
    ///
    /// Errors: [`RecordsError::Gone`] or [`RecordsError::Write`].
    pub fn is_usable(&self) -> Result<(), RecordsError> {
        self.check()?.confirm()?;
        let write = || {
            let mut draft = tempfile::NamedTempFile::new_in(self.run_dir.path())?;
            draft.write_all(&[0; 4096])?;
            draft.as_file().sync_all()
        };
        write().map_err(RecordsError::writing(self.run_dir.path()))
    }

    /// A check that can be made after the lock was taken, from anywhere.
    ///
    /// Errors: [`RecordsError::Read`].
    pub fn check(&self) -> Result<LockCheck, RecordsError> {
        let path = self.run_dir.lock();
        let found = self.file.metadata().map_err(RecordsError::reading(&path))?;
        Ok(LockCheck { identity: (found.dev(), found.ino()), path })
    }
}

impl Drop for OwnedRunDir {
    fn drop(&mut self) {
        let path = self.run_dir.lock();
        // Another file of that name belongs to somebody else, as when the directory was removed and made again.
        if is_at(&self.file, &path) {
            // What stays behind is taken over by the next owner.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl LockCheck {
    /// Errors: [`RecordsError::Gone`] if the run directory is no longer there, or no longer this process's.
    pub fn confirm(&self) -> Result<(), RecordsError> {
        if identity(&self.path).ok() == Some(self.identity) {
            return Ok(());
        }
        let run_dir = self.path.parent().unwrap_or(&self.path);
        Err(RecordsError::Gone { path: run_dir.to_owned() })
    }
}

/// Whether a process writes to a run directory at present. A lock file that a killed process or a copy has left behind
/// does not count.
pub fn is_owned(run_dir: &RunDir) -> bool {
    let Ok(mut file) = File::open(run_dir.lock()) else { return false };
    match file.try_lock_shared() {
        // Released with the file. An owner that begins in this moment tries again.
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => read_owner(&mut file).is_some_and(|owner| may_live(&owner)),
    }
}

fn this_process() -> Owner {
    let process_id = std::process::id();
    Owner { host: host(), process_id, since: now(), process_began: began(process_id) }
}

/// Whether an owner may still run: it is on another machine, or it is alive.
fn may_live(owner: &Owner) -> bool {
    owner.host != host() || began(owner.process_id).is_some_and(|began| Some(began) == owner.process_began)
}

fn owned(run_dir: &RunDir, owner: Option<Owner>) -> RecordsError {
    RecordsError::Owned { path: run_dir.path().to_owned(), owner: owner.map(Box::new) }
}

fn read_owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_owner(file: &mut File) -> io::Result<()> {
    let owner = serde_json::to_string(&this_process()).expect("text and numbers");
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{owner}\n").as_bytes())
}

fn has_no_locks(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::Unsupported || code == Some(rustix::io::Errno::NOLCK)
}

/// Whether an open file is the one that has this path now.
fn is_at(file: &File, path: &Path) -> bool {
    identity(path).ok() == file.metadata().ok().map(|found| (found.dev(), found.ino()))
}

/// Device and inode: two files with the same ones are the same file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// The name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// When a process began: field 22 of `/proc/PID/stat`. The fields after the name in parentheses are counted from 3.
fn began(process_id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_dir() -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        (folder, run_dir)
    }

    /// LOCK-1
    #[test]
    fn a_second_owner_waits_for_the_first_to_write_its_name() {
        let (_folder, run_dir) = run_dir();
        // The lock is held, and the name is written a little later.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(run_dir.lock())
            .unwrap();
        file.try_lock().unwrap();
        let second = std::thread::spawn({
            let run_dir = run_dir.clone();
            move || OwnedRunDir::claim(run_dir).unwrap_err()
        });
        std::thread::sleep(Duration::from_millis(100));
        write_owner(&mut file).unwrap();
        let RecordsError::Owned { owner: Some(owner), .. } = second.join().unwrap() else {
            panic!("no owner")
        };
        assert_eq!(owner.process_id, std::process::id());
    }

    #[test]
    fn a_second_owner_is_refused_by_name_until_the_first_ends() {
        let (_folder, run_dir) = run_dir();
        let first = OwnedRunDir::claim(run_dir.clone()).unwrap();
        let refused = OwnedRunDir::claim(run_dir.clone()).unwrap_err().to_string();
        let me = format!("process {} on {}", std::process::id(), host());
        assert!(refused.contains(&me), "{refused}");
        drop(first);
        OwnedRunDir::claim(run_dir).unwrap();
    }

    #[test]
    fn a_directory_is_owned_while_its_owner_lives_whatever_the_file_says() {
        let (_folder, run_dir) = run_dir();
        assert!(!is_owned(&run_dir));
        let owner = OwnedRunDir::claim(run_dir.clone()).unwrap();
        assert!(is_owned(&run_dir));
        let left_behind = std::fs::read(run_dir.lock()).unwrap();
        drop(owner);
        std::fs::write(run_dir.lock(), left_behind).unwrap();
        assert!(!is_owned(&run_dir), "the file names a process that lives, but nobody holds the lock");
    }

    /// LOCK-1
    #[test]
    fn a_lock_file_without_an_owner_is_taken_over() {
        let (_folder, run_dir) = run_dir();
        std::fs::write(run_dir.lock(), r#"{"host":"gone","process_id":1,"since":"","process_began":null}"#)
            .unwrap();
        let owner = OwnedRunDir::claim(run_dir.clone()).unwrap();
        let named: Owner = serde_json::from_slice(&std::fs::read(run_dir.lock()).unwrap()).unwrap();
        assert_eq!(named.process_id, std::process::id());
        drop(owner);
        assert!(!run_dir.lock().exists());
    }

    #[test]
    fn an_owner_may_live_if_it_does_or_if_nobody_here_can_tell() {
        assert!(may_live(&this_process()));
        let earlier = Owner { process_began: Some(1), ..this_process() };
        assert!(!may_live(&earlier), "the id was given away again");
        assert!(may_live(&Owner { host: "elsewhere".into(), process_id: u32::MAX, ..this_process() }));
    }

    #[test]
    fn a_directory_that_was_removed_and_made_again_is_not_ours() {
        let (folder, run_dir) = run_dir();
        let check = OwnedRunDir::claim(run_dir.clone()).unwrap().check();
        let owner = OwnedRunDir::claim(run_dir.clone()).unwrap();
        let check = check.and(owner.check()).unwrap();
        check.confirm().unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(matches!(check.confirm(), Err(RecordsError::Gone { .. })));
        std::fs::create_dir(folder.path()).unwrap();
        std::fs::write(run_dir.lock(), "").unwrap();
        assert!(matches!(check.confirm(), Err(RecordsError::Gone { .. })));
    }
}
