//! The features of clips on the disk (`loader.cache_dir`), so that the next run or another arm need not decode them again.
//!
//! An entry is a file whose name is the SHA-256 of all that the features depend on: the bytes of the clip and how they are
//! heard ([`Recipe`]). It is written under another name and renamed, and ends with its own checksum, so that several
//! processes can share the folder and a damaged file is only a clip that is decoded again.
//!
//! - `FEATURES-1` what is read is bit for bit what was written.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, SystemTime};

use audio::{FEATURES_VERSION, LogMel, Warning};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use workers::HeardClip;

/// What files begin with.
const MAGIC: &[u8; 8] = b"features";

/// Extension of whole files.
const WHOLE: &str = "features";

/// Extension of files that are being written.
const UNFINISHED: &str = "unfinished";

/// Age from which an unfinished file is that of a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Bytes of a clip that are read at a time.
const BLOCK: usize = 1 << 16;

/// Share of the room that may be written before the folder is measured again, since other processes write to it too.
const MEASURED_AFTER: u64 = 16;

/// How clips are heard, as text; clips of the same bytes and recipe have the same features.
#[derive(Clone, Debug)]
pub(crate) struct Recipe(pub(crate) String);

/// The name of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// The key of the clip at `path`, which is read to its end; `None` if it can't be read.
    pub(crate) fn of(path: &Path, recipe: &Recipe) -> Option<Self> {
        let clip = audio::open(path).ok()?;
        let mut hash = Sha256::new();
        // The decoder compares a file's extension with its content.
        let extension = path.extension().unwrap_or_default().as_encoded_bytes();
        for part in [&FEATURES_VERSION.to_le_bytes()[..], extension, recipe.0.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let (mut block, mut position) = (vec![0; BLOCK], 0);
        loop {
            let count = clip.read_at(position, &mut block).ok()?;
            if count == 0 {
                return Some(Key(hex(&hash.finalize())));
            }
            hash.update(&block[..count]);
            position += count as u64;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning of an entry; the values follow.
#[derive(Serialize, Deserialize)]
struct Header {
    /// The bits of [`HeardClip::start`].
    start: u64,
    goes_on: bool,
    warnings: Vec<(String, String)>,
    windows: Vec<WindowHeader>,
}

#[derive(Serialize, Deserialize)]
struct WindowHeader {
    n_mels: usize,
    frames: usize,
    valid_frames: usize,
    truncated: bool,
    /// Frames whose values follow; all later values are equal.
    kept: usize,
    /// The bits of the later values.
    rest: u32,
}

/// The folder of the features.
pub(crate) struct FeatureCache {
    folder: PathBuf,
    most_bytes: u64,
    used: Mutex<Used>,
    written: AtomicU64,
    /// A number of this process, so that two machines that share the folder do not write the same unfinished file.
    process: u64,
    warned: Once,
}

/// Bytes in the folder when it was last measured, and written since.
struct Used {
    measured: u64,
    since: u64,
}

impl FeatureCache {
    /// Opens a folder, which is made if it does not exist.
    ///
    /// Errors: it can't be made or read.
    pub(crate) fn open(folder: &Path, most_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let cache = FeatureCache {
            folder: folder.to_owned(),
            most_bytes,
            used: Mutex::new(Used { measured: 0, since: 0 }),
            written: AtomicU64::new(0),
            process: RandomState::new().hash_one(std::process::id()),
            warned: Once::new(),
        };
        let measured = cache.make_room(0)?;
        cache.lock().measured = measured;
        Ok(cache)
    }

    /// The clip of a key; `None` if it is not there or damaged.
    pub(crate) fn get(&self, key: &Key) -> Option<HeardClip> {
        let bytes = fs::read(self.path(key)).ok()?;
        let clip = decode(&bytes);
        if clip.is_none() {
            tracing::debug!(file = %self.path(key).display(), "damaged features are made again");
        }
        clip
    }

    /// Keeps a clip. A folder that can't be written is a warning.
    pub(crate) fn put(&self, key: &Key, clip: &HeardClip) {
        if let Err(error) = self.write(key, clip) {
            self.warned.call_once(|| {
                let folder = self.folder.display();
                tracing::warn!(
                    "{folder}: features cannot be written: {error}; set loader.cache_dir to a folder that can"
                );
            });
        }
    }

    fn write(&self, key: &Key, clip: &HeardClip) -> io::Result<()> {
        let bytes = encode(clip)?;
        let length = bytes.len() as u64;
        if length > self.most_bytes {
            return Ok(());
        }
        let path = self.path(key);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("{:016x}-{number}.{UNFINISHED}", self.process));
        let written = fs::write(&unfinished, &bytes).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // What is left of it is removed with the abandoned ones.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        let mut used = self.lock();
        used.since += length;
        if used.measured + used.since > self.most_bytes || used.since > self.most_bytes / MEASURED_AFTER {
            *used = Used { measured: self.make_room(0)?, since: 0 };
        }
        Ok(())
    }

    /// Measures the folder, removes the oldest files until `needed` more bytes fit, and returns what is left.
    fn make_room(&self, needed: u64) -> io::Result<u64> {
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.folder)?.flatten() {
            let Ok(entries) = fs::read_dir(folder.path()) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                let extension = path.extension().unwrap_or_default();
                let Some(found) = entry.metadata().ok().filter(fs::Metadata::is_file) else { continue };
                let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                if extension == WHOLE {
                    files.push((modified, path, found.len()));
                } else if extension == UNFINISHED && modified.elapsed().is_ok_and(|age| age > ABANDONED) {
                    let _ = fs::remove_file(path);
                }
            }
        }
        files.sort();
        let mut used: u64 = files.iter().map(|(.., length)| length).sum();
        for (_, path, length) in &files {
            if used + needed <= self.most_bytes {
                break;
            }
            // Another process may have removed it.
            let _ = fs::remove_file(path);
            used -= length;
        }
        Ok(used)
    }

    fn path(&self, Key(name): &Key) -> PathBuf {
        self.folder.join(&name[..2]).join(format!("{name}.{WHOLE}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of frames after which all values of all bands are equal, bit for bit, and those bits.
fn padding(window: &LogMel) -> (usize, u32) {
    let rest = window.values.last().map_or(0, |value| value.to_bits());
    let frames = window.frames.max(1);
    let sounding = |row: &[f32]| row.iter().rposition(|value| value.to_bits() != rest).map_or(0, |at| at + 1);
    (window.values.chunks_exact(frames).map(sounding).max().unwrap_or(0), rest)
}

fn encode(clip: &HeardClip) -> io::Result<Vec<u8>> {
    let mut windows = Vec::new();
    for window in &clip.windows {
        let (kept, rest) = padding(window);
        let LogMel { n_mels, frames, valid_frames, truncated, .. } = **window;
        windows.push(WindowHeader { n_mels, frames, valid_frames, truncated, kept, rest });
    }
    let warnings = clip.warnings.iter().map(|warning| (warning.kind.to_owned(), warning.text.clone()));
    let header =
        Header { start: clip.start.to_bits(), goes_on: clip.goes_on, warnings: warnings.collect(), windows };
    let head = serde_json::to_vec(&header)?;
    let mut bytes = [MAGIC, &(head.len() as u64).to_le_bytes()[..], &head].concat();
    for (window, WindowHeader { kept, .. }) in clip.windows.iter().zip(&header.windows) {
        for row in window.values.chunks_exact(window.frames.max(1)) {
            bytes.extend(row[..*kept].iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    Ok(bytes)
}

/// The clip of an entry; `None` if it is not whole.
fn decode(bytes: &[u8]) -> Option<HeardClip> {
    let (bytes, sum) = bytes.split_last_chunk::<32>()?;
    if Sha256::digest(bytes)[..] != sum[..] {
        return None;
    }
    let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (head, mut values) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Header = serde_json::from_slice(head).ok()?;
    let mut windows = Vec::with_capacity(header.windows.len());
    for window in header.windows {
        let WindowHeader { n_mels, frames, valid_frames, truncated, kept, rest } = window;
        let (own, others) = values.split_at_checked(n_mels.checked_mul(kept)?.checked_mul(4)?)?;
        values = others;
        let mut filled = vec![f32::from_bits(rest); n_mels.checked_mul(frames)?];
        let rows = filled.chunks_exact_mut(frames.max(1)).zip(own.chunks_exact((4 * kept).max(1)));
        for (row, own) in rows {
            let (own, _) = own.as_chunks::<4>();
            for (value, bytes) in row.iter_mut().zip(own) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        windows.push(Arc::new(LogMel {
            values: filled,
            n_mels,
            frames,
            valid_frames,
            truncated,
            samples: None,
        }));
    }
    let warnings = header.warnings.into_iter().map(|(kind, text)| Warning::known(&kind, text));
    Some(HeardClip {
        windows,
        goes_on: header.goes_on,
        start: f64::from_bits(header.start),
        warnings: warnings.collect::<Option<Vec<_>>>()?.into(),
    })
}

#[cfg(test)]
mod tests;
