//! A folder in memory for parsers that read files by path, one per process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Writes a file into the folder and returns its path.
pub fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, content).expect("the scratch folder is writable");
    path
}

/// The folder. The process that created it does not remove it; [`remove_of`] does, from its parent.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = root().join(name_of(std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        folder
    })
}

/// Removes the folder of another process, which has ended.
pub fn remove_of(process: u32) {
    let _ = std::fs::remove_dir_all(root().join(name_of(process)));
}

fn name_of(process: u32) -> String {
    format!("fuzz-runner-{process}")
}

/// The file system in memory if there is one, because some targets write a file per input.
fn root() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if TempDir::new_in(memory).is_ok() { memory.to_owned() } else { std::env::temp_dir() }
}
