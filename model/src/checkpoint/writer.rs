//! Writing safetensors files, with one tensor in memory at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, View};
use tch::{Device, Kind, Tensor};

use crate::error::{CheckpointError, ModelError};

/// A tensor that will be written, with its name in the file.
pub(crate) struct Entry<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: usize,
    content: Content<'a>,
}

enum Content<'a> {
    /// Computed just before it is written, so that a merged model is never in memory a second time.
    Made(Box<dyn Fn() -> Tensor + 'a>),
    /// The bytes of another safetensors file.
    Bytes(&'a [u8]),
}

impl<'a> Entry<'a> {
    /// An entry for a tensor on any device. Fails if its dtype cannot be written; the error names `path` as the file.
    pub(crate) fn tensor(name: &str, tensor: &'a Tensor, path: &Path) -> Result<Entry<'a>, ModelError> {
        Entry::made(name, tensor, path, || tensor.detach())
    }

    /// An entry for the tensor that `make` returns, which has the shape and dtype of `like`.
    /// Fails as [`Entry::tensor`] does.
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
            kind => {
                let problem = CheckpointError::UnwritableDtype { name: name.to_owned(), kind };
                return Err(ModelError::checkpoint(path, problem));
            }
        };
        let shape = like.size().iter().map(|&size| size as usize).collect();
        let bytes = like.numel() * like.kind().elt_size_in_bytes();
        Ok(Entry { name: name.to_owned(), dtype, shape, bytes, content: Content::Made(Box::new(make)) })
    }

    /// An entry that copies the bytes of another safetensors file.
    pub(super) fn stored(name: &str, dtype: Dtype, shape: Vec<usize>, bytes: &'a [u8]) -> Entry<'a> {
        let content = Content::Bytes(bytes);
        Entry { name: name.to_owned(), dtype, shape, bytes: bytes.len(), content }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Size of the tensor in bytes.
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

/// Writes named tensors to a safetensors file, without waiting for the disk.
///
/// Errors: The file cannot be written, or a tensor has a dtype other than f32, bf16, f16, f64 and i64.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let entries: Result<Vec<_>, _> =
        tensors.iter().map(|(name, tensor)| Entry::tensor(name, tensor, path)).collect();
    write_entries(path, &entries?)
}

pub(super) fn write_entries(path: &Path, entries: &[Entry<'_>]) -> Result<(), ModelError> {
    // transformers refuses files without this entry, which names the framework that wrote the tensors.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // safetensors creates files that only their owner may read. Use the permissions of a normally created file instead.
    let ordinary = std::fs::File::create(path).and_then(|file| file.metadata());
    let permissions = ordinary.map_err(|source| ModelError::io(path, source))?.permissions();
    let views = entries.iter().map(|entry| (entry.name.as_str(), entry));
    safetensors::serialize_to_file(views, Some(metadata), path)
        .map_err(|error| ModelError::checkpoint(path, CheckpointError::Write { error: error.to_string() }))?;
    std::fs::set_permissions(path, permissions).map_err(|source| ModelError::io(path, source))
}
