//! File names of a checkpoint, and checkpoints of several files (shards) with an index of which
//! file holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::writer::{Entry, write_entries};
use crate::error::{CheckpointError, ModelError};

/// File name of a checkpoint that is not sharded.
pub(super) const SINGLE: &str = "model.safetensors";

/// File name of the index of a sharded checkpoint.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Most bytes of tensors in one file. A single tensor that is larger gets a file of its own.
const SHARD_BYTES: usize = 5_000_000_000;

#[derive(Serialize, Deserialize)]
pub(super) struct Index {
    /// `total_size` in bytes, and other keys of the program that wrote the index.
    #[serde(default)]
    pub(super) metadata: Value,
    /// The name of the file that holds each tensor, by tensor name.
    pub(super) weight_map: BTreeMap<String, String>,
}

/// The paths of the shards that an index names, without duplicates. Fails if one of them does not exist.
pub(super) fn paths(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let text = std::fs::read_to_string(index).map_err(|source| ModelError::io(index, source))?;
    let Index { weight_map, .. } = serde_json::from_str(&text).map_err(|error| {
        ModelError::checkpoint(index, CheckpointError::Index { error: error.to_string() })
    })?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    if let Some(missing) = names.iter().find(|name| !dir.join(name).exists()) {
        let problem = CheckpointError::MissingShard { shard: missing.clone() };
        return Err(ModelError::checkpoint(index, problem));
    }
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Writes a checkpoint into a directory: one file, or several files and an index if the tensors exceed [`SHARD_BYTES`].
pub(crate) fn write_sharded(dir: &Path, entries: Vec<Entry<'_>>) -> Result<(), ModelError> {
    write_shards(dir, entries, SHARD_BYTES)
}

/// As [`write_sharded`], with at most `most` bytes of tensors in a file.
pub(super) fn write_shards(dir: &Path, entries: Vec<Entry<'_>>, most: usize) -> Result<(), ModelError> {
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
    let text = serde_json::to_string_pretty(&index).expect("an index of strings and numbers");
    std::fs::write(&path, text).map_err(|source| ModelError::io(&path, source))
}

/// Distributes the entries to shards in order. A new shard begins when the next entry would exceed `most` bytes.
fn split(entries: Vec<Entry<'_>>, most: usize) -> Vec<Vec<Entry<'_>>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for entry in entries {
        if filled > 0 && filled + entry.len() > most {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += entry.len();
        shards.last_mut().expect("there is at least one shard").push(entry);
    }
    shards
}
