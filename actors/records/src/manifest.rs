//! `manifest.json`: the length and SHA-256 of every other file of a checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checksum::FileSum;
use crate::damage::{Damage, Finding};
use crate::error::RecordsError;
use crate::format::FormatVersion;
use crate::sealed;

/// The content of a checkpoint's `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format_version: FormatVersion,
    /// By path relative to the folder.
    files: BTreeMap<String, FileSum>,
}

impl Manifest {
    /// The name of the file in the checkpoint's folder.
    pub const FILE: &str = "manifest.json";

    /// Writes the manifest of a folder into it, and makes sure that all files of the folder are on the disk. The operating
    /// system writes the files out, a thread for each, while they are hashed and while the manifest is written.
    ///
    /// Errors: [`RecordsError::Write`].
    pub(crate) fn write(folder: &Path) -> Result<Self, RecordsError> {
        let paths = files_below(folder).map_err(RecordsError::writing(folder))?;
        let manifest = std::thread::scope(|scope| {
            let start = |path: &PathBuf, work: fn(&Path) -> io::Result<Option<FileSum>>| {
                let path = path.clone();
                scope.spawn(move || work(&path).map_err(RecordsError::writing(&path)))
            };
            let synced: Vec<_> =
                paths.iter().map(|path| start(path, |path| sync(path).map(|()| None))).collect();
            let hashed: Vec<_> =
                paths.iter().map(|path| start(path, |path| FileSum::of_file(path).map(Some))).collect();
            let mut files = BTreeMap::new();
            for (path, sum) in paths.iter().zip(hashed) {
                let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
                files.extend(sum.join().expect("hashing does not panic")?.map(|sum| (name, sum)));
            }
            let manifest = Manifest { format_version: FormatVersion::CURRENT, files };
            let path = folder.join(Self::FILE);
            let written = std::fs::write(&path, sealed::seal(&manifest)).and_then(|()| sync(&path));
            written.map_err(RecordsError::writing(&path))?;
            for synced in synced {
                synced.join().expect("fsync does not panic")?;
            }
            Ok(manifest)
        })?;
        sync(folder).map_err(RecordsError::writing(folder))?;
        Ok(manifest)
    }

    /// Reads the manifest of a folder; `None` if there is none.
    ///
    /// Errors: a [`Finding`] that says how the manifest is damaged.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Finding> {
        let path = folder.join(Self::FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Finding::in_file(&path, Damage::Unreadable(error.to_string()))),
        };
        if sealed::is_whole(&text) != Some(true) {
            return Err(Finding::in_file(&path, Damage::Edited));
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Finding::in_file(&path, Damage::Unreadable(error.to_string())))
    }

    /// The files with their sums, by path relative to the folder.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &FileSum)> {
        self.files.iter().map(|(name, sum)| (name.as_str(), sum))
    }

    /// What of a folder is not as the manifest says. The cheap check compares only lengths.
    pub(crate) fn differences(&self, folder: &Path, with_content: bool) -> Vec<Finding> {
        let difference = |(name, sum): (&String, &FileSum)| {
            let path = folder.join(name);
            let damage = if with_content { content(&path, sum) } else { length(&path, sum) };
            damage.map(|damage| Finding::in_file(&path, damage))
        };
        self.files.iter().filter_map(difference).collect()
    }
}

/// How the length of a file differs.
fn length(path: &Path, sum: &FileSum) -> Option<Damage> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() == sum.bytes => None,
        Ok(found) => Some(Damage::Length { expected: sum.bytes, found: found.len() }),
        Err(error) => Some(Damage::of_reading(&error)),
    }
}

fn content(path: &Path, sum: &FileSum) -> Option<Damage> {
    length(path, sum).or_else(|| match FileSum::of_file(path) {
        Ok(found) if found == *sum => None,
        Ok(_) => Some(Damage::Content),
        Err(error) => Some(Damage::of_reading(&error)),
    })
}

/// All files below a folder, sorted.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

/// Makes sure that a file, or the names in a folder, are on the disk.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
