//! The memory that passes take: what happens when it does not suffice, and how much was in use at most.
//!
//! libtorch throws an exception when it can't allocate a tensor. tch returns it as an error from the functions that can
//! fail and turns it into a panic in all others, of which a forward pass is made. [`attempt`] makes one error of both,
//! so that the caller can do the same in smaller parts.
//!
//! - `MEM-1` After an attempt that ran out of memory nothing of it remains but the gradients that it had added up: its
//!   tensors are freed, and autograd records or not, as before.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tch::Device;

use crate::error::ModelError;

mod allocator;

/// How libtorch says that memory does not suffice: its allocators for GPUs and for the CPU, and the libraries that
/// allocate by themselves.
const EXHAUSTED: [&str; 6] = [
    "CUDA out of memory",
    "CUDA error: out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
];

/// Longest part of libtorch's text that is repeated in a message.
const LONGEST_COMPLAINT: usize = 160;

thread_local! {
    /// Attempts that this thread is in, one within the other.
    static ATTEMPTS: Cell<usize> = const { Cell::new(0) };
}

/// Does `work`, which may run out of the memory of `device`.
///
/// Errors: [`ModelError::OutOfMemory`], after which what libtorch keeps of the device's memory for later was given back;
/// and those of `work`. Other panics go on.
pub fn attempt<T>(device: Device, work: impl FnOnce() -> Result<T, ModelError>) -> Result<T, ModelError> {
    let caught = {
        let _under_way = UnderWay::begin();
        catch_unwind(AssertUnwindSafe(work))
    };
    let problem = match caught {
        Ok(Err(ModelError::Torch(error))) => match complaint(&error.to_string()) {
            Some(problem) => problem,
            None => return Err(error.into()),
        },
        Ok(done) => return done,
        Err(panic) => match text_of(&*panic).and_then(complaint) {
            Some(problem) => problem,
            None => resume_unwind(panic),
        },
    };
    if device.is_cuda() {
        allocator::release();
    }
    Err(ModelError::OutOfMemory { problem })
}

/// Whether a panic of this thread, of which this is the text, will be turned into an error by [`attempt`]. For hooks that
/// report panics.
pub fn is_expected(panic: &str) -> bool {
    ATTEMPTS.get() > 0 && complaint(panic).is_some()
}

/// Counts an attempt while it is under way.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        ATTEMPTS.set(ATTEMPTS.get() + 1);
        UnderWay
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        ATTEMPTS.set(ATTEMPTS.get() - 1);
    }
}

/// The text of a panic.
fn text_of(panic: &(dyn Any + Send)) -> Option<&str> {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// What libtorch says if it is that memory does not suffice, without the figures of its allocator that follow.
fn complaint(text: &str) -> Option<String> {
    let start = EXHAUSTED.iter().filter_map(|words| text.find(words)).min()?;
    let said = &text[start..];
    // A panic has the text in quotes, with escapes.
    let line = said.split(['\n', '"', '\\']).next().unwrap_or(said);
    let line = line.split(". Error code").next().unwrap_or(line);
    let sentences: Vec<&str> = line.split(". ").take(2).collect();
    Some(sentences.join(". ").trim_end_matches('.').chars().take(LONGEST_COMPLAINT).collect())
}

/// Does `work` without recording gradients. Unlike that of tch, it also leaves recording as it was if `work` panics.
pub(crate) fn no_grad<T>(work: impl FnOnce() -> T) -> T {
    let _guard = tch::no_grad_guard();
    work()
}

/// Bytes of a GPU's tensors at the same time since the last call, at most, as libtorch's allocator counts them for the whole
/// process. `None` on the CPU, whose allocator counts nothing.
pub fn take_peak(device: Device) -> Option<u64> {
    match device {
        Device::Cuda(index) => allocator::take_peak(index),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    /// More than any machine has: 2^54 bytes.
    const TOO_MANY: i64 = 1 << 52;

    fn too_large() -> Tensor {
        Tensor::empty([TOO_MANY], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn errors_and_panics_of_the_allocator_become_one_error() {
        let by_panic = attempt(Device::Cpu, || Ok(too_large())).unwrap_err();
        let by_error =
            attempt(Device::Cpu, || Ok(Tensor::f_empty([TOO_MANY], (Kind::Float, Device::Cpu)).map(|_| ())?));
        let message = format!(
            "out of memory: DefaultCPUAllocator: can't allocate memory: you tried to allocate {} bytes",
            4 * TOO_MANY
        );
        assert_eq!(by_panic.to_string(), message);
        assert_eq!(by_error.unwrap_err().to_string(), message);
    }

    #[test]
    fn gradients_are_recorded_after_a_pass_that_failed_without_them() {
        let failed = attempt(Device::Cpu, || Ok(no_grad(too_large)));
        assert!(failed.is_err());
        let x = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        assert!((x * 2.0).requires_grad());
    }

    #[test]
    fn other_errors_and_panics_are_left_as_they_are() {
        let other = attempt(Device::Cpu, || Ok(Tensor::from_slice(&[1]).f_view([2]).map(|_| ())?));
        assert!(matches!(other, Err(ModelError::Torch(_))));
        let panic =
            catch_unwind(|| attempt(Device::Cpu, || -> Result<(), ModelError> { panic!("a defect") }));
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"a defect"));
        assert!(!is_expected("CUDA out of memory"), "no attempt is under way");
    }

    #[test]
    fn what_a_gpu_says_is_cut_before_its_allocators_figures() {
        let said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.80 GiB";
        let quoted = format!("called `Result::unwrap()` on an `Err` value: Torch(\"{said}\\nException\")");
        for text in [said, &quoted] {
            assert_eq!(complaint(text).as_deref(), Some("CUDA out of memory. Tried to allocate 2.00 GiB"));
        }
        assert_eq!(complaint("shape '[2]' is invalid for input of size 1"), None);
    }

    #[test]
    fn without_a_gpu_its_allocator_has_no_figures() {
        if !tch::Cuda::is_available() {
            assert_eq!(take_peak(Device::Cuda(0)), None);
        }
    }
}
