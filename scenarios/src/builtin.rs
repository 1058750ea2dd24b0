//! The tiny policy that comes with the program: a Qwen2-Audio of half a million parameters in the Hugging Face layout,
//! embedded in the binary and unpacked into the cache on first use.

use std::path::{Path, PathBuf};

use crate::cache::{cache_dir, make_once, stable_hash};
use crate::dataset::DataError;

/// The files of the directory. `model.safetensors` is made by `make base`, from `scenarios/pretrain.toml`.
const TINY: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../tiny/config.json")),
    ("generation_config.json", include_bytes!("../tiny/generation_config.json")),
    ("preprocessor_config.json", include_bytes!("../tiny/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../tiny/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../tiny/tokenizer_config.json")),
    ("chat_template.jinja", include_bytes!("../tiny/chat_template.jinja")),
    ("model.safetensors", include_bytes!("../tiny/model.safetensors")),
];

/// The directory of the tiny policy, unpacked now if it is not in the cache. Its name changes with its content, so a
/// new version of the program does not meet an old policy.
///
/// # Errors
/// When the cache cannot be written.
pub fn builtin_tiny_policy() -> Result<PathBuf, DataError> {
    unpack(&cache_dir())
}

fn unpack(cache: &Path) -> Result<PathBuf, DataError> {
    let hashes: Vec<u8> = TINY
        .iter()
        .flat_map(|(name, content)| [stable_hash(name.as_bytes()), stable_hash(content)])
        .flat_map(u64::to_le_bytes)
        .collect();
    let folder = cache.join("tiny").join(format!("{:016x}", stable_hash(&hashes)));
    let failed = |path: &Path, source| DataError::Write { path: path.into(), source };
    let write = |unfinished: &Path| {
        TINY.iter().try_for_each(|(name, content)| {
            let path = unfinished.join(name);
            std::fs::write(&path, content).map_err(|source| failed(&path, source))
        })
    };
    make_once(&folder, write, failed)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unpacked_directory_is_the_committed_one() {
        let cache = tempfile::tempdir().unwrap();
        let folder = unpack(cache.path()).unwrap();
        assert_eq!(unpack(cache.path()).unwrap(), folder, "unpacked once");
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tiny");
        for (name, _) in TINY {
            assert_eq!(
                std::fs::read(folder.join(name)).unwrap(),
                std::fs::read(committed.join(name)).unwrap()
            );
        }
    }
}
