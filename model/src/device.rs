//! Which device to run on: `auto`, `cpu`, `cuda` or `cuda:N`.
//!
//! One executable serves CPU and GPU: it links the CPU part of libtorch only, and the CUDA part is loaded when a GPU may
//! be wanted.
//!
//! - DEVICE-1 the CUDA part is loaded before the process asks libtorch anything about CUDA: libtorch remembers a first
//!   "no" for good. So [`resolve`] comes before any other call of this crate in a process that may want a GPU.

use std::sync::OnceLock;

use tch::{Cuda, Device};

use crate::error::ModelError;

/// A device, and what there is to say about how it was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedDevice {
    /// The device.
    pub device: Device,
    /// Why `auto` settled for the CPU, one line each; empty if there is nothing to say.
    pub notes: Vec<String>,
}

/// Turns `auto`, `cpu`, `cuda` or `cuda:N` into a device.
///
/// `auto` takes the first GPU if one can be had and the CPU otherwise, with the reason in the notes.
///
/// # Errors
/// The text is none of these; or it asks for a GPU that cannot be had, and the message says what is missing.
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
            let count =
                cuda_devices().map_err(|reason| ModelError::Device(format!("`{other}`: {reason}")))?;
            if index >= count {
                return Err(ModelError::Device(format!(
                    "`{other}`: this machine has {count} GPU(s), counted from 0"
                )));
            }
            Ok(ResolvedDevice { device: Device::Cuda(index), notes: Vec::new() })
        }
    }
}

fn cuda_index(text: &str) -> Result<usize, ModelError> {
    let index = match text.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|index| index.parse().ok()),
        None => None,
    };
    index.ok_or_else(|| ModelError::Device(format!("`{text}` is none of `auto`, `cpu`, `cuda`, `cuda:N`")))
}

/// How many GPUs libtorch sees, or why it sees none. Asked once per process.
fn cuda_devices() -> Result<usize, String> {
    static DEVICES: OnceLock<Result<usize, String>> = OnceLock::new();
    DEVICES
        .get_or_init(|| {
            load_cuda_part()?;
            match Cuda::device_count() {
                count if count > 0 => Ok(count as usize),
                _ => Err("libtorch_cuda.so is loaded but sees no GPU; is the NVIDIA driver installed (nvidia-smi)?".into()),
            }
        })
        .clone()
}

#[expect(unsafe_code, reason = "loading a shared library runs its initialisers; this one is libtorch's own")]
fn load_cuda_part() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // Global, because libtorch_cpu finds the CUDA kernels through the process's symbols.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    match library {
        // It registers kernels with libtorch and must never be unloaded.
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(format!(
            "{error}; for a GPU, put the lib folder of PyTorch 2.11 with CUDA on LD_LIBRARY_PATH"
        )),
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
    fn auto_always_resolves_and_says_why_it_is_the_cpu() {
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
