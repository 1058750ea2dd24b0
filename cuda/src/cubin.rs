//! Compiled kernels, kept on disk.
//!
//! A file is named by the hash of the text, the options and the architecture. It starts with the hash of what follows; one
//! that is damaged is compiled again. Files are written beside their place and renamed, so a reader never sees half a file.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::GpuError;

const HASH: usize = 32;

/// The folder for compiled kernels in the project's cache: below `$AUDIO_THINKER_CACHE`, else
/// `$XDG_CACHE_HOME/audio-thinker`, else `~/.cache/audio-thinker`.
pub(crate) fn folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("AUDIO_THINKER_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("audio-thinker")))
        .or_else(|| Some(variable("HOME")?.join(".cache/audio-thinker")))
        .unwrap_or_else(|| std::env::temp_dir().join("audio-thinker"))
        .join("kernels")
}

/// The file name for a text, its options and its architecture.
pub(crate) fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..12])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file's content, if it is whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    let (hash, content) = bytes.split_at_checked(HASH)?;
    (Sha256::digest(content).as_slice() == hash).then(|| content.to_owned())
}

fn write(folder: &Path, path: &Path, content: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&Sha256::digest(content))?;
    file.write_all(content)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The compiled kernel `key` from `folder`, or what `compile` makes. If that can't be kept, it is compiled each time.
pub(crate) fn cached(
    folder: &Path,
    key: &str,
    compile: impl FnOnce() -> Result<Vec<u8>, GpuError>,
) -> Result<Vec<u8>, GpuError> {
    let path = folder.join(format!("{key}.cubin"));
    if let Some(content) = read(&path) {
        return Ok(content);
    }
    let content = compile()?;
    // A cache that can't be written must not stop a run.
    let _ = write(folder, &path, &content);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compiled_once_and_again_if_its_file_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let mut compiled = 0;
        let mut get = |text: &str| {
            let make = || {
                compiled += 1;
                Ok(text.as_bytes().to_owned())
            };
            let content = cached(folder.path(), &key(&[text, "sm_90"]), make).unwrap();
            assert_eq!(content, text.as_bytes());
            compiled
        };
        assert_eq!([get("one"), get("one"), get("two"), get("one")], [1, 1, 2, 2]);
        let path = folder.path().join(format!("{}.cubin", key(&["one", "sm_90"])));
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &[0; 40][..], b""] {
            std::fs::write(&path, damaged).unwrap();
            let before = get("two");
            assert_eq!(get("one"), before + 1);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(cached(file.path(), "key", || Ok(vec![7])).unwrap(), [7]);
    }

    #[test]
    fn keys_differ_where_the_parts_do() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]).len(), 24);
    }
}
