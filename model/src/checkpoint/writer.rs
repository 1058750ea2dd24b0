//! Writing safetensors files, one tensor in memory at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, View};
use tch::{Kind, Tensor};

use crate::error::ModelError;

struct Stored {
    tensor: Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl View for &Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        let tensor = self.tensor.to_device(tch::Device::Cpu).contiguous();
        tensor.copy_data_u8(&mut bytes, self.tensor.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

/// Writes named tensors to a safetensors file, and the file to the disk.
///
/// # Errors
/// The file cannot be written, or a tensor has a number format that safetensors files of models do not use.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let mut stored = Vec::new();
    for (name, tensor) in tensors {
        let dtype = match tensor.kind() {
            Kind::Float => Dtype::F32,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            Kind::Double => Dtype::F64,
            Kind::Int64 => Dtype::I64,
            other => {
                return Err(ModelError::checkpoint(
                    path,
                    format!("tensor `{name}` is {other:?}, not a float"),
                ));
            }
        };
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        stored.push((name.as_str(), Stored { tensor: tensor.detach(), dtype, shape }));
    }
    // transformers refuses files that do not say which framework's layout they have.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // safetensors writes files that only their owner may read; an ordinary file has the permissions the user wants.
    let ordinary = std::fs::File::create(path).and_then(|file| file.metadata());
    let permissions = ordinary.map_err(|source| ModelError::io(path, source))?.permissions();
    let views = stored.iter().map(|(name, stored)| (*name, stored));
    safetensors::serialize_to_file(views, Some(metadata), path)
        .map_err(|error| ModelError::checkpoint(path, format!("could not be written: {error}")))?;
    std::fs::set_permissions(path, permissions).map_err(|source| ModelError::io(path, source))?;
    let file = std::fs::File::open(path).map_err(|source| ModelError::io(path, source))?;
    file.sync_all().map_err(|source| ModelError::io(path, source))
}
