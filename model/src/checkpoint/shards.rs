//! Checkpoints of several files and the index that says which tensor is where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::writer::{Entry, write_entries};
use super::{INDEX, SINGLE};
use crate::error::ModelError;

/// Bytes of tensors in one file; a single larger tensor has a file to itself.
const SHARD_BYTES: usize = 5_000_000_000;

#[derive(Serialize, Deserialize)]
struct Index {
    /// `total_size` in bytes, and whatever else its writer put there.
    #[serde(default)]
    metadata: Value,
    /// File by tensor.
    weight_map: BTreeMap<String, String>,
}

/// The shard files an index names, each once.
pub(super) fn named_by(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let text = std::fs::read_to_string(index).map_err(|source| ModelError::io(index, source))?;
    let Index { weight_map, .. } = serde_json::from_str(&text).map_err(|error| {
        ModelError::checkpoint(index, format!("is no index of shards ({error}); fetch it again"))
    })?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    for name in &names {
        if !dir.join(name).exists() {
            let message = format!(
                "names the shard `{name}`, which is not beside it; fetch it from the model's hub page"
            );
            return Err(ModelError::checkpoint(index, message));
        }
    }
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Writes a checkpoint into a directory: one file, or several and an index if the tensors are more than one may hold.
pub(crate) fn write_sharded(dir: &Path, entries: Vec<Entry<'_>>) -> Result<(), ModelError> {
    write_shards(dir, entries, SHARD_BYTES)
}

fn write_shards(dir: &Path, entries: Vec<Entry<'_>>, most: usize) -> Result<(), ModelError> {
    let total_size: usize = entries.iter().map(Entry::len).sum();
    let shards = split(entries, most);
    if let [only] = &shards[..] {
        return write_entries(&dir.join(SINGLE), only);
    }
    let mut weight_map = BTreeMap::new();
    for (number, shard) in (1..).zip(&shards) {
        let file = format!("model-{number:05}-of-{:05}.safetensors", shards.len());
        write_entries(&dir.join(&file), shard)?;
        weight_map.extend(shard.iter().map(|entry| (entry.name().to_owned(), file.clone())));
    }
    let index = Index { metadata: json!({ "total_size": total_size }), weight_map };
    let path = dir.join(INDEX);
    let text = serde_json::to_string_pretty(&index).expect("strings and numbers");
    std::fs::write(&path, text).map_err(|source| ModelError::io(&path, source))
}

/// In order, each shard filled as far as it goes.
fn split(entries: Vec<Entry<'_>>, most: usize) -> Vec<Vec<Entry<'_>>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for entry in entries {
        if filled > 0 && filled + entry.len() > most {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += entry.len();
        shards.last_mut().expect("one at least").push(entry);
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::config::Architecture;
    use tch::{Device, Tensor};

    fn floats(name: &str, count: i64) -> (String, Tensor) {
        (name.to_owned(), Tensor::arange(count, (tch::Kind::Float, Device::Cpu)))
    }

    #[test]
    fn large_checkpoints_are_split_and_come_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        // 8, 8, 20 and 4 bytes of at most 16 a file: a and b; c alone, though larger; d.
        let tensors = [floats("a", 2), floats("b", 2), floats("c", 5), floats("d", 1)];
        let entries =
            tensors.iter().map(|(name, tensor)| Entry::tensor(name, tensor, dir.path()).unwrap()).collect();
        write_shards(dir.path(), entries, 16).unwrap();
        let index: Index = serde_json::from_slice(&std::fs::read(dir.path().join(INDEX)).unwrap()).unwrap();
        assert_eq!(index.metadata["total_size"], 40);
        let file = |name: &str| index.weight_map[name].as_str();
        assert_eq!([file("a"), file("b")], ["model-00001-of-00003.safetensors"; 2]);
        assert_eq!(
            [file("c"), file("d")],
            ["model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]
        );
        let read = Checkpoint::open(dir.path(), Architecture::Qwen3).unwrap();
        for (name, tensor) in &tensors {
            assert_eq!(read.load(name, &tensor.size(), Device::Cpu, None).unwrap(), *tensor);
        }
    }
}
