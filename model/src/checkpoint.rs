//! Weights files: `model.safetensors`, alone or sharded with an index.
//!
//! Opened by [`crate::Policy::open`], memory-mapped, so that a tensor's bytes are read when it is asked for and no second
//! copy of a large model stands in memory. [`write_tensors`] and [`read_tensors`] serve any other named tensors, such as an
//! optimizer's moments.
//!
//! - NAME-1 names are those of the Hugging Face hub. What transformers 5 writes (`language_model.model.model.`) is
//!   translated on the way in.

mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use crate::error::ModelError;

pub use writer::write_tensors;

/// File name of an unsharded checkpoint.
pub(crate) const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// An open checkpoint.
pub(crate) struct Checkpoint {
    dir: PathBuf,
    files: Vec<Mapped>,
    /// Where each tensor is, by its hub name.
    tensors: BTreeMap<String, Place>,
}

struct Mapped {
    path: PathBuf,
    bytes: Mmap,
    /// Offset of the tensors' bytes in the file.
    start: usize,
}

struct Place {
    file: usize,
    info: TensorInfo,
}

impl Checkpoint {
    /// Opens one file and reads its header.
    pub(crate) fn open_file(path: &Path) -> Result<Checkpoint, ModelError> {
        let mut checkpoint =
            Checkpoint { dir: path.to_path_buf(), files: Vec::new(), tensors: BTreeMap::new() };
        checkpoint.add(path.to_path_buf())?;
        Ok(checkpoint)
    }

    /// Opens the checkpoint of a Hugging Face directory and reads its headers.
    pub(crate) fn open(dir: &Path) -> Result<Checkpoint, ModelError> {
        let single = dir.join(SINGLE);
        let index = dir.join(INDEX);
        let paths = if single.exists() {
            vec![single]
        } else if index.exists() {
            shards(dir, &index)?
        } else {
            return Err(ModelError::checkpoint(dir, format!("found neither {SINGLE} nor {INDEX}")));
        };
        let mut checkpoint =
            Checkpoint { dir: dir.to_path_buf(), files: Vec::new(), tensors: BTreeMap::new() };
        for path in paths {
            checkpoint.add(path)?;
        }
        Ok(checkpoint)
    }

    #[expect(
        unsafe_code,
        reason = "a mapped file must not shrink while in use; checkpoints are replaced, never edited"
    )]
    fn add(&mut self, path: PathBuf) -> Result<(), ModelError> {
        let file = File::open(&path).map_err(|source| ModelError::io(&path, source))?;
        let bytes = unsafe { Mmap::map(&file) }.map_err(|source| ModelError::io(&path, source))?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
            let message =
                format!("not a whole safetensors file ({error}; {} bytes); fetch it again", bytes.len());
            ModelError::checkpoint(&path, message)
        })?;
        let index = self.files.len();
        for (name, info) in metadata.tensors() {
            self.tensors.insert(hub_name(&name), Place { file: index, info: info.clone() });
        }
        self.files.push(Mapped { path, bytes, start: header + size_of::<u64>() });
        Ok(())
    }

    /// Reads one tensor, as stored, onto the CPU.
    ///
    /// # Errors
    /// It is not there, has another shape, or a number format that is not a float.
    pub(crate) fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let Some(place) = self.tensors.get(name) else {
            let path = if let [only] = self.files.as_slice() { &only.path } else { &self.dir };
            return Err(ModelError::checkpoint(
                path,
                format!("tensor `{name}` is missing; expected shape {shape:?}"),
            ));
        };
        let file = &self.files[place.file];
        let found: Vec<i64> = place.info.shape.iter().map(|&size| size as i64).collect();
        if found != shape {
            let message = format!("tensor `{name}` has shape {found:?}; config.json asks for {shape:?}");
            return Err(ModelError::checkpoint(&file.path, message));
        }
        let Some(kind) = float_kind(place.info.dtype) else {
            let message =
                format!("tensor `{name}` is stored as {:?}; expected F32, BF16 or F16", place.info.dtype);
            return Err(ModelError::checkpoint(&file.path, message));
        };
        self.read(place, kind)
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    /// A tensor's shape.
    pub(crate) fn size(&self, name: &str) -> Option<Vec<i64>> {
        self.tensors.get(name).map(|place| place.info.shape.iter().map(|&size| size as i64).collect())
    }

    fn read(&self, place: &Place, kind: Kind) -> Result<Tensor, ModelError> {
        let file = &self.files[place.file];
        let shape: Vec<i64> = place.info.shape.iter().map(|&size| size as i64).collect();
        let (from, to) = place.info.data_offsets;
        Ok(Tensor::f_from_data_size(&file.bytes[file.start + from..file.start + to], &shape, kind)?)
    }

    /// The 16-bit format most large checkpoints are stored in, if this is one of them.
    pub(crate) fn half_kind(&self) -> Option<Kind> {
        let mut halves =
            self.tensors.values().filter(|place| matches!(place.info.dtype, Dtype::BF16 | Dtype::F16));
        halves.next().map(|_| Kind::BFloat16)
    }
}

/// Reads every tensor of a safetensors file onto the CPU, sorted by name.
///
/// # Errors
/// The file is absent, damaged, or holds other numbers than floats and 64-bit integers.
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Tensor)>, ModelError> {
    let file = Checkpoint::open_file(path)?;
    let read = |(name, place): (&String, &Place)| {
        let kind = match place.info.dtype {
            Dtype::I64 => Some(Kind::Int64),
            dtype => float_kind(dtype),
        };
        let message =
            || format!("tensor `{name}` is stored as {:?}; expected a float or I64", place.info.dtype);
        let kind = kind.ok_or_else(|| ModelError::checkpoint(path, message()))?;
        Ok((name.clone(), file.read(place, kind)?))
    };
    file.tensors.iter().map(read).collect()
}

fn float_kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F16 => Some(Kind::Half),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}

/// The shard files an index names, each once.
fn shards(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(|source| ModelError::io(index, source))?;
    let Index { weight_map } =
        serde_json::from_str(&text).map_err(|error| ModelError::checkpoint(index, error.to_string()))?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    for name in &names {
        if !dir.join(name).exists() {
            return Err(ModelError::checkpoint(
                index,
                format!("names the shard `{name}`, which is not beside it"),
            ));
        }
    }
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// The name a tensor goes by here: the hub's, without the `thinker.` of a larger model, and without what transformers 5
/// doubles.
fn hub_name(name: &str) -> String {
    let name = name.strip_prefix("thinker.").unwrap_or(name);
    match name.strip_prefix("language_model.model.") {
        Some(rest) if rest.starts_with("model.") => format!("language_model.{rest}"),
        Some(rest) if rest.starts_with("lm_head.") => format!("language_model.{rest}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, file: &str, tensors: &[(&str, Tensor)]) {
        let named = |(name, tensor): &(&str, Tensor)| ((*name).to_owned(), tensor.shallow_clone());
        write_tensors(&dir.join(file), &tensors.iter().map(named).collect::<Vec<_>>()).unwrap();
    }

    fn opening_fails_with(dir: &Path) -> String {
        match Checkpoint::open(dir) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tensors_come_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let weight = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape([2, 3]);
        write(dir.path(), SINGLE, &[("a", weight.shallow_clone()), ("b", weight.to_kind(Kind::BFloat16))]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor("a", &[2, 3]).unwrap(), weight);
        assert_eq!(checkpoint.tensor("b", &[2, 3]).unwrap().kind(), Kind::BFloat16);
        assert_eq!(checkpoint.half_kind(), Some(Kind::BFloat16));
    }

    #[test]
    fn all_tensors_of_a_file_come_back_by_name() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            "moments",
            &[("b", Tensor::from_slice(&[1.5f32])), ("a", Tensor::from_slice(&[7i64, 8]))],
        );
        let read = read_tensors(&dir.path().join("moments")).unwrap();
        assert_eq!(read[0], ("a".to_owned(), Tensor::from_slice(&[7i64, 8])));
        assert_eq!(read[1], ("b".to_owned(), Tensor::from_slice(&[1.5f32])));
        let absent = dir.path().join("absent");
        assert!(read_tensors(&absent).unwrap_err().to_string().starts_with(&absent.display().to_string()));
    }

    #[test]
    fn doubled_names_of_transformers_5_are_translated() {
        assert_eq!(hub_name("language_model.model.model.norm.weight"), "language_model.model.norm.weight");
        assert_eq!(hub_name("language_model.model.norm.weight"), "language_model.model.norm.weight");
        assert_eq!(hub_name("language_model.model.lm_head.weight"), "language_model.lm_head.weight");
        assert_eq!(hub_name("audio_tower.conv1.bias"), "audio_tower.conv1.bias");
        assert_eq!(hub_name("thinker.model.norm.weight"), "model.norm.weight");
    }

    #[test]
    fn wrong_shapes_and_missing_tensors_name_file_tensor_and_shapes() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), SINGLE, &[("a", Tensor::from_slice(&[1.0f32, 2.0]))]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let path = dir.path().join(SINGLE);
        assert_eq!(
            checkpoint.tensor("a", &[3]).unwrap_err().to_string(),
            format!("{}: tensor `a` has shape [2]; config.json asks for [3]", path.display())
        );
        assert_eq!(
            checkpoint.tensor("c", &[3]).unwrap_err().to_string(),
            format!("{}: tensor `c` is missing; expected shape [3]", path.display())
        );
    }

    #[test]
    fn integer_tensors_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), SINGLE, &[("a", Tensor::from_slice(&[1i64, 2]))]);
        let message = Checkpoint::open(dir.path()).unwrap().tensor("a", &[2]).unwrap_err().to_string();
        assert!(message.ends_with("tensor `a` is stored as I64; expected F32, BF16 or F16"), "{message}");
    }

    #[test]
    fn truncated_empty_and_absent_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(opening_fails_with(dir.path()).contains("found neither model.safetensors nor"));
        write(dir.path(), SINGLE, &[("a", Tensor::from_slice(&[1.0f32, 2.0]))]);
        let path = dir.path().join(SINGLE);
        let bytes = std::fs::read(&path).unwrap();
        for length in [bytes.len() - 1, 20, 4, 0] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let message = opening_fails_with(dir.path());
            assert!(
                message.starts_with(&format!("{}: not a whole safetensors file", path.display())),
                "{message}"
            );
        }
    }

    #[test]
    fn shards_are_joined_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let index = r#"{"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
        std::fs::write(dir.path().join(INDEX), index).unwrap();
        write(dir.path(), "one.safetensors", &[("a", Tensor::from_slice(&[1.0f32]))]);
        let message = opening_fails_with(dir.path());
        assert!(message.ends_with("names the shard `two.safetensors`, which is not beside it"), "{message}");
        write(dir.path(), "two.safetensors", &[("b", Tensor::from_slice(&[2.0f32]))]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor("a", &[1]).unwrap().double_value(&[0]), 1.0);
        assert_eq!(checkpoint.tensor("b", &[1]).unwrap().double_value(&[0]), 2.0);
    }
}
