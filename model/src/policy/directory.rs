//! Model directories: the files beside the weights, and writing a directory as a whole.

use std::path::{Path, PathBuf};

use crate::error::{InputError, ModelError};

/// The files beside the weights that make up a complete Hugging Face directory.
const SIDE_FILES: [&str; 14] = [
    "README.md",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    // The voices of a whole Qwen2.5-Omni. transformers does not open the model without them.
    "spk_dict.pt",
];

/// Writes a directory atomically: `fill` writes it under a temporary name, and then it replaces `dir`. An
/// existing directory is replaced.
pub(crate) fn write_directory(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let draft = beside(dir, "new")?;
    remove_if_present(&draft)?;
    std::fs::create_dir_all(&draft).map_err(|source| ModelError::io(&draft, source))?;
    fill(&draft)?;
    put_in_place(&draft, dir)
}

/// Waits until all files of a directory are on the disk.
pub(crate) fn sync_files(dir: &Path) -> Result<(), ModelError> {
    let sync = |path: &Path| {
        for entry in std::fs::read_dir(path)? {
            std::fs::File::open(entry?.path())?.sync_all()?;
        }
        Ok(())
    };
    sync(dir).map_err(|source| ModelError::io(dir, source))
}

/// Reads the files that `Policy::save` will write beside the weights. They are read on opening, because the directory
/// may have been removed when the policy is saved.
pub(super) fn side_files(dir: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
    let mut files = Vec::new();
    for name in SIDE_FILES {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => files.push((name, bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
            Err(source) => return Err(ModelError::io(&path, source)),
        }
    }
    Ok(files)
}

/// The path of a hidden directory next to `dir`, and therefore on the same file system.
fn beside(dir: &Path, what: &str) -> Result<PathBuf, InputError> {
    let name =
        dir.file_name().ok_or_else(|| InputError::NotADirectoryName { path: dir.display().to_string() })?;
    Ok(dir.with_file_name(format!(".{}.{what}", name.to_string_lossy())))
}

/// Renames `new` to `dir`. An existing directory is moved away first and removed afterwards.
fn put_in_place(new: &Path, dir: &Path) -> Result<(), ModelError> {
    let rename =
        |from: &Path, to: &Path| std::fs::rename(from, to).map_err(|source| ModelError::io(to, source));
    let old = beside(dir, "old")?;
    remove_if_present(&old)?;
    if dir.exists() {
        rename(dir, &old)?;
    }
    rename(new, dir)?;
    remove_if_present(&old)
}

fn remove_if_present(dir: &Path) -> Result<(), ModelError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ModelError::io(dir, error)),
        _ => Ok(()),
    }
}
