//! Weights files: `model.safetensors`, alone or sharded with an index.
//!
//! Opened by [`crate::Policy::open`], memory-mapped: a tensor's bytes go from the file to the model's device when it is asked
//! for, and no second copy of a large model stands in memory. [`write_tensors`] and [`read_tensors`] serve any other
//! named tensors, such as an optimizer's moments.
//!
//! - NAME-1 names are those of the Hugging Face hub (`names.rs`); other conventions are translated on the way in.

mod names;
mod shards;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::config::Architecture;
use crate::error::ModelError;

pub(crate) use shards::write_sharded;
pub(crate) use writer::Entry;
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
    /// Its name in the file.
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
            shards::named_by(dir, &index)?
        } else {
            let pickled = match dir.join("pytorch_model.bin").exists() {
                true => " (pytorch_model.bin is not read; save the model again with save_pretrained)",
                false => "",
            };
            let message = format!("found neither {SINGLE} nor {INDEX}{pickled}");
            return Err(ModelError::checkpoint(dir, message));
        };
        let mut checkpoint = Checkpoint::empty(dir);
        for path in paths {
            checkpoint.add(path, |name| names::hub_name(name, architecture))?;
        }
        Ok(checkpoint)
    }

    /// Opens one file, whose names stay what they are.
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
            let message = match bytes.starts_with(b"version https://git-lfs") {
                true => "is a Git LFS pointer and not the weights; run `git lfs pull` there".to_owned(),
                false => {
                    let size = bytes.len();
                    format!("not a whole safetensors file ({error}; {size} bytes); fetch it again")
                }
            };
            ModelError::checkpoint(&path, message)
        })?;
        let index = self.files.len();
        for (name, info) in metadata.tensors() {
            let place = Place { file: index, stored: name.clone(), info: info.clone() };
            self.tensors.insert(rename(&name), place);
        }
        self.files.push(Mapped { path, bytes, start: header + size_of::<u64>() });
        Ok(())
    }

    /// Brings one tensor onto a device, as stored or in another number format.
    ///
    /// # Errors
    /// It is not there, has another shape, or holds no floats.
    pub(crate) fn load(
        &self,
        name: &str,
        shape: &[i64],
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Tensor, ModelError> {
        let Some(place) = self.tensors.get(name) else {
            let path = if let [only] = self.files.as_slice() { &only.path } else { &self.dir };
            return Err(ModelError::checkpoint(
                path,
                format!("tensor `{name}` is missing; config.json asks for it with shape {shape:?}"),
            ));
        };
        let path = &self.files[place.file].path;
        let found = place.shape();
        if found != shape {
            let message = format!(
                "tensor `{name}` has shape {found:?}; config.json asks for {shape:?}: take both from the same model"
            );
            return Err(ModelError::checkpoint(path, message));
        }
        let Some(stored) = float_kind(place.info.dtype) else {
            let message =
                format!("tensor `{name}` is stored as {:?}; expected F32, BF16 or F16", place.info.dtype);
            return Err(ModelError::checkpoint(path, message));
        };
        self.read(place, stored, device, kind.unwrap_or(stored))
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    /// A tensor's shape.
    pub(crate) fn size(&self, name: &str) -> Option<Vec<i64>> {
        self.tensors.get(name).map(Place::shape)
    }

    /// One tensor as stored, on the CPU.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub(crate) fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        self.load(name, shape, Device::Cpu, None)
    }

    #[expect(
        unsafe_code,
        reason = "the view of the mapped bytes has their size, their alignment is checked, and it ends before they do"
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
        // One of these copies: the device is another or the format is.
        Ok(view.f_to_device(device)?.f_to_kind(kind)?)
    }

    fn bytes(&self, place: &Place) -> &[u8] {
        let file = &self.files[place.file];
        let (from, to) = place.info.data_offsets;
        &file.bytes[file.start + from..file.start + to]
    }

    /// The 16-bit format most large checkpoints are stored in, if this is one of them.
    pub(crate) fn half_kind(&self) -> Option<Kind> {
        let mut halves =
            self.tensors.values().filter(|place| matches!(place.info.dtype, Dtype::BF16 | Dtype::F16));
        halves.next().map(|_| Kind::BFloat16)
    }

    /// The tensors of other names than these, as they are stored.
    pub(crate) fn others<F: Fn(&str) -> bool>(
        &self,
        known: F,
    ) -> impl Iterator<Item = Entry<'_>> + use<'_, F> {
        self.tensors.iter().filter(move |(name, _)| !known(name)).map(|(_, place)| {
            Entry::stored(&place.stored, place.info.dtype, place.info.shape.clone(), self.bytes(place))
        })
    }
}

impl Place {
    fn shape(&self) -> Vec<i64> {
        self.info.shape.iter().map(|&size| size as i64).collect()
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
