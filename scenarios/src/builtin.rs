//! Files that are embedded in the binary and unpacked into the cache on first use: the tiny policy, a Qwen2-Audio with
//! half a million parameters in the Hugging Face layout, and the Python module that turns a function into a reward.

use std::path::{Path, PathBuf};

use crate::cache::{cache_dir, make_once, stable_hash};
use crate::error::ScenarioError;

/// The files of the tiny policy. `make base` makes `model.safetensors` by running `scenarios/pretrain.toml`.
const TINY: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../tiny/config.json")),
    ("generation_config.json", include_bytes!("../tiny/generation_config.json")),
    ("preprocessor_config.json", include_bytes!("../tiny/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../tiny/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../tiny/tokenizer_config.json")),
    ("chat_template.jinja", include_bytes!("../tiny/chat_template.jinja")),
    ("model.safetensors", include_bytes!("../tiny/model.safetensors")),
];

/// The modules that run Python rewards.
const PYTHON: &[(&str, &[u8])] = &[
    ("audio_thinker_reward.py", include_bytes!("../../python/audio_thinker_reward.py")),
    ("audio_thinker_batch.py", include_bytes!("../../python/audio_thinker_batch.py")),
    ("audio_thinker_conventions.py", include_bytes!("../../python/audio_thinker_conventions.py")),
    ("audio_thinker_find.py", include_bytes!("../../python/audio_thinker_find.py")),
    ("audio_thinker_shape.py", include_bytes!("../../python/audio_thinker_shape.py")),
    ("audio_thinker_stand_ins.py", include_bytes!("../../python/audio_thinker_stand_ins.py")),
];

/// The folder of the tiny policy; unpacks it if it is not in the cache. The folder's name depends on its content, so
/// that another version of the program does not use an old policy.
///
/// Errors: The cache cannot be written.
pub fn builtin_tiny_policy() -> Result<PathBuf, ScenarioError> {
    unpack(TINY, &cache_dir().join("tiny"))
}

/// The folder with `audio_thinker_reward.py` and the modules that it imports, for `PYTHONPATH`; unpacks it if it is not in
/// the cache.
///
/// Errors: The cache cannot be written.
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
