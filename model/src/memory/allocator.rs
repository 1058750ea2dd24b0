//! libtorch's allocator for GPUs, by the C functions of `shim.cc`.

#![expect(unsafe_code, reason = "calls C functions, which take no pointers but to a number of this file")]

use std::ffi::c_int;

unsafe extern "C" {
    fn sandbox_memory_release() -> c_int;
    fn sandbox_memory_take_peak(device: i32, bytes: *mut u64) -> c_int;
}

/// Returns the memory to the driver that the allocator keeps for later.
pub(super) fn release() {
    // That it fails, without a GPU, changes nothing: the memory that is asked for next is then not there either.
    let _ = unsafe { sandbox_memory_release() };
}

/// The most bytes of tensors at the same time since the last call; `None` if the GPU was not used yet.
pub(super) fn take_peak(device: usize) -> Option<u64> {
    let mut bytes = 0;
    let done = unsafe { sandbox_memory_take_peak(i32::try_from(device).ok()?, &mut bytes) };
    (done == 0).then_some(bytes)
}
