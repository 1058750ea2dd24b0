//! Weights files: `model.safetensors`, alone or sharded with an index.
//!
//! `Policy::open` opens them memory-mapped. A tensor's bytes are copied from the file to the model's device when it is
//! loaded, so a large model is never in memory twice. [`write_tensors`] and [`read_tensors`] are for any other named
//! tensors, such as the moments of the optimizer.
//!
//! - `NAME-1` Tensors have the names of the Hugging Face hub (`names.rs`). Other conventions are translated on opening.

mod names;
mod shards;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::Mmap;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::config::Architecture;
use crate::error::{CheckpointError, ModelError};
use shards::{INDEX, SINGLE};

pub(crate) use shards::write_sharded;
pub(crate) use writer::Entry;
pub use writer::write_tensors;

/// A checkpoint whose files are mapped into memory and whose headers have been read.
pub(crate) struct Checkpoint {
    dir: PathBuf,
    files: Vec<Mapped>,
    /// The place of each tensor, by its hub name.
    tensors: BTreeMap<String, Place>,
}

struct Mapped {
    path: PathBuf,
    bytes: Mmap,
    /// Offset in the file at which the bytes of the tensors begin.
    start: usize,
}

struct Place {
    /// Index of its file in `Checkpoint::files`.
    file: usize,
    /// The tensor's name in the file.
    stored: String,
    info: TensorInfo,
}

impl Checkpoint {
    /// Opens the checkpoint of a Hugging Face directory and reads its headers.
    pub(crate) fn open(dir: &Path, architecture: Architecture) -> Result<Checkpoint, ModelError> {
        let single = dir.join(SINGLE);
        let index = dir.join(INDEX);
        let paths = if single.exists() {
            vec![single]
        } else if index.exists() {
            shards::paths(dir, &index)?
        } else {
            let problem = match dir.join("pytorch_model.bin").exists() {
                true => CheckpointError::OnlyPickledWeights,
                false => CheckpointError::NoWeights,
            };
            return Err(ModelError::checkpoint(dir, problem));
        };
        let mut checkpoint = Checkpoint::empty(dir);
        for path in paths {
            checkpoint.add(path, |name| names::hub_name(name, architecture))?;
        }
        Ok(checkpoint)
    }

    /// Opens one file without translating its names.
    pub(crate) fn open_file(path: &Path) -> Result<Checkpoint, ModelError> {
        let mut checkpoint = Checkpoint::empty(path);
        checkpoint.add(path.to_path_buf(), str::to_owned)?;
        Ok(checkpoint)
    }

    fn empty(dir: &Path) -> Checkpoint {
        Checkpoint { dir: dir.to_path_buf(), files: Vec::new(), tensors: BTreeMap::new() }
    }

    #[expect(
        unsafe_code,
        reason = "a mapped file must not shrink while in use; checkpoints are replaced, never edited"
    )]
    fn add(&mut self, path: PathBuf, rename: impl Fn(&str) -> String) -> Result<(), ModelError> {
        let file = File::open(&path).map_err(|source| ModelError::io(&path, source))?;
        let bytes = unsafe { Mmap::map(&file) }.map_err(|source| ModelError::io(&path, source))?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
            let problem = match bytes.starts_with(b"version https://git-lfs") {
                true => CheckpointError::GitLfsPointer,
                false => CheckpointError::Damaged { error: error.to_string(), bytes: bytes.len() },
            };
            ModelError::checkpoint(&path, problem)
        })?;
        let index = self.files.len();
        for (name, info) in metadata.tensors() {
            let place = Place { file: index, stored: name.clone(), info: info.clone() };
            self.tensors.insert(rename(&name), place);
        }
        self.files.push(Mapped { path, bytes, start: header + size_of::<u64>() });
        Ok(())
    }

    /// Loads one tensor onto a device, in the stored dtype or converted to `kind`. Fails if the tensor is missing, has
    /// another shape, or is not floating-point.
    pub(crate) fn load(
        &self,
        name: &str,
        shape: &[i64],
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Tensor, ModelError> {
        let Some(place) = self.tensors.get(name) else {
            let path = if let [only] = self.files.as_slice() { &only.path } else { &self.dir };
            let problem = CheckpointError::MissingTensor { name: name.to_owned(), shape: shape.to_vec() };
            return Err(ModelError::checkpoint(path, problem));
        };
        let path = &self.files[place.file].path;
        let found = place.shape();
        if found != shape {
            let problem = CheckpointError::Shape { name: name.to_owned(), found, expected: shape.to_vec() };
            return Err(ModelError::checkpoint(path, problem));
        }
        let Some(stored) = float_kind(place.info.dtype) else {
            return Err(ModelError::checkpoint(path, place.wrong_dtype(name, "F32, BF16 or F16")));
        };
        self.read(place, stored, device, kind.unwrap_or(stored))
    }

    /// Its files with their sizes in bytes and the times of their last change; `None` if one is gone.
    pub(crate) fn files(&self) -> Option<Vec<(PathBuf, u64, Option<SystemTime>)>> {
        let describe = |file: &Mapped| {
            let found = std::fs::metadata(&file.path).ok()?;
            Some((file.path.canonicalize().ok()?, found.len(), found.modified().ok()))
        };
        self.files.iter().map(describe).collect()
    }

    /// The names of all tensors, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    /// The shape of a tensor, if the checkpoint has it.
    pub(crate) fn size(&self, name: &str) -> Option<Vec<i64>> {
        self.tensors.get(name).map(Place::shape)
    }

    /// Loads one tensor onto the CPU in its stored dtype. Fails as [`Checkpoint::load`] does.
    pub(crate) fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        self.load(name, shape, Device::Cpu, None)
    }

    #[expect(
        unsafe_code,
        reason = "the view has the size of the mapped bytes, is aligned, and is dropped before they are unmapped"
    )]
    fn read(&self, place: &Place, stored: Kind, device: Device, kind: Kind) -> Result<Tensor, ModelError> {
        let (bytes, shape) = (self.bytes(place), place.shape());
        let aligned = (bytes.as_ptr() as usize).is_multiple_of(stored.elt_size_in_bytes());
        if !aligned || (device == Device::Cpu && kind == stored) {
            let copy = Tensor::f_from_data_size(bytes, &shape, stored)?;
            return Ok(copy.f_to_device(device)?.f_to_kind(kind)?);
        }
        let mut strides = vec![1; shape.len()];
        for dim in (1..shape.len()).rev() {
            strides[dim - 1] = strides[dim] * shape[dim];
        }
        let view = unsafe { Tensor::f_from_blob(bytes.as_ptr(), &shape, &strides, stored, Device::Cpu) }?;
        // One of the two conversions copies, because the device or the dtype differs.
        Ok(view.f_to_device(device)?.f_to_kind(kind)?)
    }

    fn bytes(&self, place: &Place) -> &[u8] {
        let file = &self.files[place.file];
        let (from, to) = place.info.data_offsets;
        &file.bytes[file.start + from..file.start + to]
    }

    /// BF16 if any tensor is stored in 16 bits, as in most large checkpoints.
    pub(crate) fn half_kind(&self) -> Option<Kind> {
        let mut halves =
            self.tensors.values().filter(|place| matches!(place.info.dtype, Dtype::BF16 | Dtype::F16));
        halves.next().map(|_| Kind::BFloat16)
    }

    /// The tensors for whose names `is_read` is false, as they are stored: a saved directory contains them unchanged.
    pub(crate) fn unread<F: Fn(&str) -> bool>(
        &self,
        is_read: F,
    ) -> impl Iterator<Item = Entry<'_>> + use<'_, F> {
        self.tensors.iter().filter(move |(name, _)| !is_read(name)).map(|(_, place)| {
            Entry::stored(&place.stored, place.info.dtype, place.info.shape.clone(), self.bytes(place))
        })
    }
}

impl Place {
    fn shape(&self) -> Vec<i64> {
        self.info.shape.iter().map(|&size| size as i64).collect()
    }

    fn wrong_dtype(&self, name: &str, expected: &'static str) -> CheckpointError {
        CheckpointError::StoredDtype {
            name: name.to_owned(),
            stored: format!("{:?}", self.info.dtype),
            expected,
        }
    }
}

/// Reads every tensor of a safetensors file onto the CPU, sorted by name.
///
/// Errors: The file does not exist, is damaged, or holds a tensor that is neither floating-point
/// nor of 64-bit integers.
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Tensor)>, ModelError> {
    let file = Checkpoint::open_file(path)?;
    let read = |(name, place): (&String, &Place)| {
        let kind = match place.info.dtype {
            Dtype::I64 => Some(Kind::Int64),
            dtype => float_kind(dtype),
        };
        let kind =
            kind.ok_or_else(|| ModelError::checkpoint(path, place.wrong_dtype(name, "a float or I64")))?;
        Ok((name.clone(), file.read(place, kind, Device::Cpu, kind)?))
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

#[cfg(test)]
mod tests;
