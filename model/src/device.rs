//! The device to run on: `auto`, `cpu`, `cuda` or `cuda:N`.
//!
//! The same executable runs on CPU and GPU. It links only the CPU part of libtorch, and loads the CUDA part when
//! a GPU is requested.
//!
//! - `DEVICE-1` The CUDA part is loaded before the first question to libtorch about CUDA, because libtorch caches the
//!   answer. In a process that may use a GPU, [`resolve`] must therefore be the first call of this crate.

use std::sync::OnceLock;

use tch::{Cuda, Device};

use crate::error::{CudaError, DeviceError, ModelError};

/// A device, and remarks about how it was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedDevice {
    /// The device to create tensors on.
    pub device: Device,
    /// For `auto`, the reasons for running on the CPU, one line each; else empty.
    pub notes: Vec<String>,
}

/// Parses `auto`, `cpu`, `cuda` or `cuda:N`, and checks that the device can be used.
///
/// `auto` chooses the first GPU if there is one, and otherwise the CPU with the reason in [`ResolvedDevice::notes`].
///
/// Errors: [`ModelError::Device`] if the text is none of these, or if the GPU that it names cannot be used.
pub fn resolve(text: &str) -> Result<ResolvedDevice, ModelError> {
    match text {
        "cpu" => Ok(ResolvedDevice { device: Device::Cpu, notes: Vec::new() }),
        "auto" => Ok(match cuda_devices() {
            Ok(_) => ResolvedDevice { device: Device::Cuda(0), notes: Vec::new() },
            Err(reason) => {
                ResolvedDevice { device: Device::Cpu, notes: vec![format!("running on the CPU: {reason}")] }
            }
        }),
        other => {
            let index = cuda_index(other)?;
            let device = other.to_owned();
            match cuda_devices() {
                Err(reason) => return Err(DeviceError::Unavailable { device, reason }.into()),
                Ok(count) if index >= count => return Err(DeviceError::NoSuchGpu { device, count }.into()),
                Ok(_) => (),
            }
            Ok(ResolvedDevice { device: Device::Cuda(index), notes: Vec::new() })
        }
    }
}

/// The index of the GPU in `cuda` or `cuda:N`.
fn cuda_index(text: &str) -> Result<usize, DeviceError> {
    let index = match text.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|index| index.parse().ok()),
        None => None,
    };
    index.ok_or_else(|| DeviceError::Unknown { text: text.to_owned() })
}

/// The number of GPUs that libtorch finds, above 0. Determined once per process (DEVICE-1).
fn cuda_devices() -> Result<usize, CudaError> {
    static DEVICES: OnceLock<Result<usize, CudaError>> = OnceLock::new();
    DEVICES
        .get_or_init(|| {
            load_cuda_part()?;
            match Cuda::device_count() {
                count if count > 0 => Ok(count as usize),
                _ => Err(CudaError::NoGpu),
            }
        })
        .clone()
}

#[expect(
    unsafe_code,
    reason = "loading a shared library runs its initialisers; this library is libtorch's own"
)]
fn load_cuda_part() -> Result<(), CudaError> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // RTLD_GLOBAL, because libtorch_cpu looks the CUDA kernels up among the symbols of the process.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    match library {
        // The library registers its kernels with libtorch and must never be unloaded.
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(CudaError::NotLoaded { error: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_needs_no_gpu_and_no_note() {
        assert_eq!(resolve("cpu").unwrap(), ResolvedDevice { device: Device::Cpu, notes: Vec::new() });
    }

    #[test]
    fn auto_always_resolves_and_notes_why_it_is_the_cpu() {
        let resolved = resolve("auto").unwrap();
        assert_eq!(resolved.device == Device::Cpu, !resolved.notes.is_empty());
    }

    #[test]
    fn unknown_devices_are_refused_with_the_choices() {
        for text in ["gpu", "cuda:x", "cuda:", "cuda0", ""] {
            let message = resolve(text).unwrap_err().to_string();
            assert!(message.contains("is none of `auto`, `cpu`, `cuda`, `cuda:N`"), "{message}");
        }
    }
}
