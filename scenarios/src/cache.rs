//! The cache folder, for files that are made once per machine and kept outside the checkout.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::ScenarioError;

/// The cache folder: `$AUDIO_THINKER_CACHE`, else `$XDG_CACHE_HOME/audio-thinker`, else `~/.cache/audio-thinker`, else
/// `audio-thinker` in the system's temporary folder. It need not exist yet.
pub fn cache_dir() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("AUDIO_THINKER_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("audio-thinker")))
        .or_else(|| Some(variable("HOME")?.join(".cache/audio-thinker")))
        .unwrap_or_else(|| std::env::temp_dir().join("audio-thinker"))
}

/// The 64-bit FNV-1a hash. It is the same on every machine and with every compiler, so it can name cache folders.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Makes the folder `target` completely or not at all: `fill` writes into a temporary folder, which is then renamed. An
/// existing folder is left unchanged. If two processes make it at the same time, the first to finish wins.
///
/// Errors: the error of `fill`, or what `failed` makes of a path that cannot be made or renamed.
pub(crate) fn make_once<E>(
    target: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
    failed: impl Fn(&Path, io::Error) -> E,
) -> Result<(), E> {
    if target.is_dir() {
        return Ok(());
    }
    let parent = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
    let unfinished = tempfile::Builder::new()
        .prefix("unfinished-")
        .tempdir_in(parent)
        .map_err(|error| failed(parent, error))?;
    fill(unfinished.path())?;
    match std::fs::rename(unfinished.path(), target) {
        Err(error) if !target.is_dir() => Err(failed(target, error)),
        _ => Ok(()),
    }
}

/// Writes a clip to the cache folder `cache`, unless it is there already, and returns its path. The name is the SHA-256 of
/// the content, so that clips with the same content share a file.
///
/// Errors: [`ScenarioError::Write`].
pub(crate) fn keep_clip(cache: &Path, content: &[u8]) -> Result<PathBuf, ScenarioError> {
    let folder = cache.join("clips");
    let name: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let target = folder.join(name);
    // A file that a crash left without its content is written again.
    if target.metadata().is_ok_and(|found| found.len() == content.len() as u64) {
        return Ok(target);
    }
    let write = || {
        std::fs::create_dir_all(&folder)?;
        let mut file = tempfile::Builder::new().prefix("unfinished-").tempfile_in(&folder)?;
        file.write_all(content)?;
        file.persist(&target)?;
        Ok(())
    };
    write().map_err(|source: io::Error| ScenarioError::Write { path: target.clone(), source })?;
    Ok(target)
}

/// The file in the cache folder `cache` for the clip at a URL.
pub(crate) fn fetched_clip(cache: &Path, url: &str) -> PathBuf {
    let name: String = Sha256::digest(url).iter().map(|byte| format!("{byte:02x}")).collect();
    cache.join("fetched").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // The published test vectors for the empty string, "a" and "foobar".
        assert_eq!(stable_hash(b""), 0xcbf29ce484222325);
        assert_eq!(stable_hash(b"a"), 0xaf63dc4c8601ec8c);
        assert_eq!(stable_hash(b"foobar"), 0x85944171f73967e8);
    }

    #[test]
    fn a_clip_is_kept_once_under_the_hash_of_its_content() {
        let cache = tempfile::tempdir().unwrap();
        let path = keep_clip(cache.path(), b"abc").unwrap();
        // SHA-256 of "abc", from FIPS 180-2.
        let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(path, cache.path().join("clips").join(name));
        std::fs::write(&path, "ab").unwrap();
        assert_eq!(keep_clip(cache.path(), b"abc").unwrap(), path);
        assert_eq!(std::fs::read(&path).unwrap(), b"abc", "a file that was cut off is written again");
        assert_eq!(std::fs::read_dir(cache.path().join("clips")).unwrap().count(), 1);

        let file = cache.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = keep_clip(&file, b"abc").unwrap_err().to_string();
        assert!(message.contains("set AUDIO_THINKER_CACHE to a folder that can"), "{message}");
    }

    #[test]
    fn a_folder_is_made_completely_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("deep/folder");
        let failed = |_: &Path, error: io::Error| error;
        let broken = make_once(&target, |_| Err(io::Error::other("half way")), failed);
        assert!(broken.is_err() && !target.exists());
        assert_eq!(std::fs::read_dir(home.path().join("deep")).unwrap().count(), 0);

        make_once(&target, |folder| std::fs::write(folder.join("a"), "1"), failed).unwrap();
        make_once(&target, |_| panic!("it exists already"), failed).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("a")).unwrap(), "1");
    }

    #[test]
    fn the_slower_of_two_processes_accepts_the_other_s_folder() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("folder");
        let failed = |_: &Path, error: io::Error| error;
        let slow = |folder: &Path| {
            std::fs::write(folder.join("a"), "slow")?;
            make_once(&target, |folder| std::fs::write(folder.join("a"), "quick"), failed)
        };
        make_once(&target, slow, failed).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("a")).unwrap(), "quick");
    }
}
