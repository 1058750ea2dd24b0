//! Making a run directory of what a store has of it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use object_store::{Error as ObjectError, ObjectStoreExt as _};
use records::{FileSum, FormatVersion, RecordsError, RunDir, StorageRecord, verify};

use crate::error::StorageError;
use crate::parts::Part;
use crate::pointer;
use crate::stored_run::{StoredFile, StoredRun};
use crate::target::Target;

/// Most parts that are fetched at the same time.
const AT_ONCE: usize = 4;
/// How often the run is read anew after a part was replaced while it was fetched.
const ATTEMPTS: usize = 5;

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The run directory.
    pub run_dir: RunDir,
    /// Number of files.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

/// What a store has of a run.
///
/// Errors: [`StorageError::NoRun`], or the store's.
pub async fn look(target: &Target) -> Result<StoredRun, StorageError> {
    let mut attempt = 0;
    loop {
        match pointer::read(target).await {
            Ok(Some((run, _))) => return Ok(run),
            Ok(None) => return Err(StorageError::NoRun { url: target.url().to_owned() }),
            Err(StorageError::Store { .. }) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(pause(attempt)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Fetches a run into the folder `dir`, which must not exist or be empty. It gets its name when all of it is there and fits its
/// checksums; until then it is `dir` with `.part` behind it, and what is there is not fetched again (STORE-4).
///
/// Errors: [`StorageError`].
pub async fn fetch(target: &Target, dir: &Path) -> Result<Fetched, StorageError> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StorageError::Setting(format!(
            "{}: exists already; name another folder, or go on in this one with --resume",
            dir.display()
        )));
    }
    let mut draft = dir.as_os_str().to_owned();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    let mut attempt = 1;
    let run = loop {
        let run = look(target).await?;
        if run.files.is_empty() {
            return Err(StorageError::Nothing { url: target.url().to_owned() });
        }
        match fetch_files(target, &run, &draft).await {
            // The run goes on and has replaced a part: `run.json` names the one in its place.
            Err(StorageError::Refused { .. }) if attempt < ATTEMPTS && has_changed(target, &run).await => {
                attempt += 1
            }
            fetched => break fetched.map(|()| run)?,
        }
    };
    let run_dir = RunDir::new(&draft);
    remove_others(&draft, &draft, &run)?;
    let found = verify(&run_dir)?.findings;
    if let Some(first) = found.first() {
        let (url, first) = (target.url().to_owned(), Box::new(first.clone()));
        return Err(StorageError::Unverified { url, first, count: found.len(), dir: draft });
    }
    let url = target.url().to_owned();
    let record = StorageRecord { format_version: FormatVersion::CURRENT, run: run.run.clone(), url };
    record.write(&run_dir)?;
    if dir.exists() {
        fs::remove_dir(dir).map_err(RecordsError::writing(dir))?;
    }
    fs::rename(&draft, dir).map_err(RecordsError::writing(dir))?;
    let bytes = run.files.values().map(StoredFile::bytes).sum();
    Ok(Fetched { run_dir: RunDir::new(dir), files: run.files.len(), bytes })
}

/// The pause before an attempt: 0.4 s, 0.8 s, ….
fn pause(attempt: usize) -> Duration {
    Duration::from_millis(200 << attempt)
}

async fn has_changed(target: &Target, run: &StoredRun) -> bool {
    look(target).await.is_ok_and(|now| now.generation != run.generation)
}

async fn fetch_files(target: &Target, run: &StoredRun, draft: &Path) -> Result<(), StorageError> {
    for (path, file) in &run.files {
        let full = draft.join(safe(path, target)?);
        fetch_file(target, path, file, &full).await?;
    }
    Ok(())
}

/// A path of `run.json` that stays below the run directory.
fn safe<'a>(path: &'a str, target: &Target) -> Result<&'a Path, StorageError> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    // These are of a process on this machine.
    let run_dir = RunDir::new("");
    let of_a_process = [run_dir.lock(), run_dir.control(), run_dir.storage()];
    if inside && !path.is_empty() && !of_a_process.contains(&PathBuf::from(path)) {
        return Ok(Path::new(path));
    }
    let problem = "is no path of a file that a run stores".to_owned();
    Err(StorageError::Damaged { url: target.url().to_owned(), path: format!("{path:?}"), problem })
}

/// Fetches the parts of a file that are not there already.
async fn fetch_file(target: &Target, path: &str, file: &StoredFile, full: &Path) -> Result<(), StorageError> {
    let failed = || RecordsError::writing(full);
    fs::create_dir_all(full.parent().unwrap_or(full)).map_err(failed())?;
    let options = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(full);
    let written = options.map_err(failed())?;
    let (mut offset, mut lacking) = (0, Vec::new());
    for part in &file.parts {
        let mut found = vec![0; part.bytes as usize];
        let is_there =
            written.read_exact_at(&mut found, offset).is_ok() && FileSum::of(&found).sha256 == part.sha256;
        if !is_there {
            lacking.push((offset, part));
        }
        offset += part.bytes;
    }
    let fetching =
        lacking.into_iter().map(|(at, part)| async move { (at, fetch_part(target, path, part).await) });
    let mut fetching = stream::iter(fetching).buffer_unordered(AT_ONCE);
    while let Some((at, bytes)) = fetching.next().await {
        written.write_all_at(&bytes?, at).map_err(failed())?;
    }
    written.set_len(offset).and_then(|()| written.sync_all()).map_err(failed())?;
    Ok(())
}

async fn fetch_part(target: &Target, path: &str, part: &Part) -> Result<Vec<u8>, StorageError> {
    let url = target.url().to_owned();
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(pause(attempt)).await;
        }
        let got = match target.store.get(&target.object(&part.object)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(bytes)
                if FileSum::of(&bytes) == (FileSum { bytes: part.bytes, sha256: part.sha256.clone() }) =>
            {
                return Ok(bytes.to_vec());
            }
            Ok(_) => {
                let (path, problem) =
                    (path.to_owned(), format!("does not fit its checksum in {}", part.object));
                last = Some(StorageError::Damaged { url: url.clone(), path, problem });
            }
            Err(error @ ObjectError::NotFound { .. }) => return Err(StorageError::of(&url, error)),
            // The connection was lost, perhaps within the answer.
            Err(error) => last = Some(StorageError::of(&url, error)),
        }
    }
    Err(last.unwrap_or(StorageError::NoRun { url }))
}

/// Removes what an earlier attempt fetched of a run that has changed since.
fn remove_others(draft: &Path, folder: &Path, run: &StoredRun) -> Result<(), StorageError> {
    let entries = fs::read_dir(folder).map_err(RecordsError::writing(folder))?;
    for entry in entries {
        let path = entry.map_err(RecordsError::writing(folder))?.path();
        if path.is_dir() {
            remove_others(draft, &path, run)?;
            // Only an empty folder is removed.
            let _ = fs::remove_dir(&path);
        } else {
            let below = path.strip_prefix(draft).unwrap_or(&path).to_string_lossy();
            if !run.files.contains_key(below.as_ref()) {
                fs::remove_file(&path).map_err(RecordsError::writing(&path))?;
            }
        }
    }
    Ok(())
}
