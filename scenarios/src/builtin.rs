//! What comes with the program, embedded in the binary and unpacked into the cache on first use: the tiny policy, a
//! Qwen2-Audio of half a million parameters in the Hugging Face layout, and the Python module that makes a reward of a
//! function.

use std::path::{Path, PathBuf};

use crate::cache::{cache_dir, make_once, stable_hash};
use crate::error::ScenarioError;

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

/// What a Python reward imports, or is run by.
const PYTHON: &[(&str, &[u8])] =
    &[("audio_thinker_reward.py", include_bytes!("../../python/audio_thinker_reward.py"))];

/// The directory of the tiny policy, unpacked now if it is not in the cache. Its name changes with its content, so a
/// new version of the program does not meet an old policy.
///
/// # Errors
/// When the cache cannot be written.
pub fn builtin_tiny_policy() -> Result<PathBuf, ScenarioError> {
    unpack(TINY, &cache_dir().join("tiny"))
}

/// The folder with `audio_thinker_reward.py`, to be put on `PYTHONPATH`; likewise.
///
/// # Errors
/// When the cache cannot be written.
pub fn python_module() -> Result<PathBuf, ScenarioError> {
    unpack(PYTHON, &cache_dir().join("python"))
}

fn unpack(files: &[(&str, &[u8])], parent: &Path) -> Result<PathBuf, ScenarioError> {
    let hashes: Vec<u8> = files
        .iter()
        .flat_map(|(name, content)| [stable_hash(name.as_bytes()), stable_hash(content)])
        .flat_map(u64::to_le_bytes)
        .collect();
    let folder = parent.join(format!("{:016x}", stable_hash(&hashes)));
    let failed = |path: &Path, source| ScenarioError::Write { path: path.into(), source };
    let write = |unfinished: &Path| {
        files.iter().try_for_each(|(name, content)| {
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
        let folder = unpack(TINY, cache.path()).unwrap();
        assert_eq!(unpack(TINY, cache.path()).unwrap(), folder, "unpacked once");
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tiny");
        for (name, _) in TINY {
            assert_eq!(
                std::fs::read(folder.join(name)).unwrap(),
                std::fs::read(committed.join(name)).unwrap()
            );
        }
    }
}
