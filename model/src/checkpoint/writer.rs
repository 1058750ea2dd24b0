//! Writing safetensors files, one tensor in memory at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, View};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// A tensor to be written.
pub(crate) struct Entry<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: usize,
    content: Content<'a>,
}

enum Content<'a> {
    /// Made when its turn comes, so that no second copy of a model stands in memory.
    Made(Box<dyn Fn() -> Tensor + 'a>),
    /// As another file holds them.
    Bytes(&'a [u8]),
}

impl<'a> Entry<'a> {
    /// A tensor on any device; `path` names the file in the error.
    ///
    /// # Errors
    /// It has a number format that safetensors files of models do not use.
    pub(crate) fn tensor(name: &str, tensor: &'a Tensor, path: &Path) -> Result<Entry<'a>, ModelError> {
        Entry::made(name, tensor, path, || tensor.detach())
    }

    /// What `make` returns: a tensor of the same shape and number format as `like`.
    ///
    /// # Errors
    /// As [`Entry::tensor`].
    pub(crate) fn made(
        name: &str,
        like: &Tensor,
        path: &Path,
        make: impl Fn() -> Tensor + 'a,
    ) -> Result<Entry<'a>, ModelError> {
        let dtype = match like.kind() {
            Kind::Float => Dtype::F32,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            Kind::Double => Dtype::F64,
            Kind::Int64 => Dtype::I64,
            other => {
                let message = format!("tensor `{name}` is {other:?}, not a float");
                return Err(ModelError::checkpoint(path, message));
            }
        };
        let shape = like.size().iter().map(|&size| size as usize).collect();
        let bytes = like.numel() * like.kind().elt_size_in_bytes();
        Ok(Entry { name: name.to_owned(), dtype, shape, bytes, content: Content::Made(Box::new(make)) })
    }

    /// A tensor as another file stores it.
    pub(super) fn stored(name: &str, dtype: Dtype, shape: Vec<usize>, bytes: &'a [u8]) -> Entry<'a> {
        let content = Content::Bytes(bytes);
        Entry { name: name.to_owned(), dtype, shape, bytes: bytes.len(), content }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }
}

impl View for &Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.content {
            Content::Bytes(bytes) => Cow::Borrowed(bytes),
            Content::Made(make) => {
                let mut bytes = vec![0; self.len()];
                let tensor = make().to_device(Device::Cpu).contiguous();
                tensor.copy_data_u8(&mut bytes, tensor.numel());
                Cow::Owned(bytes)
            }
        }
    }

    fn data_len(&self) -> usize {
        self.len()
    }
}

/// Writes named tensors to a safetensors file, and the file to the disk.
///
/// # Errors
/// The file cannot be written, or a tensor has a number format that safetensors files of models do not use.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let entries: Result<Vec<_>, _> =
        tensors.iter().map(|(name, tensor)| Entry::tensor(name, tensor, path)).collect();
    write_entries(path, &entries?)
}

pub(super) fn write_entries(path: &Path, entries: &[Entry<'_>]) -> Result<(), ModelError> {
    // transformers refuses files that do not say which framework's layout they have.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // safetensors writes files that only their owner may read; an ordinary file has the permissions the user wants.
    let ordinary = std::fs::File::create(path).and_then(|file| file.metadata());
    let permissions = ordinary.map_err(|source| ModelError::io(path, source))?.permissions();
    let views = entries.iter().map(|entry| (entry.name.as_str(), entry));
    safetensors::serialize_to_file(views, Some(metadata), path)
        .map_err(|error| ModelError::checkpoint(path, format!("could not be written: {error}")))?;
    std::fs::set_permissions(path, permissions).map_err(|source| ModelError::io(path, source))?;
    let file = std::fs::File::open(path).map_err(|source| ModelError::io(path, source))?;
    file.sync_all().map_err(|source| ModelError::io(path, source))
}
