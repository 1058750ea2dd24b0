//! Memory of the device.
#![expect(
    unsafe_code,
    reason = "the driver's functions take pointers; their validity is argued at each call"
)]

use std::sync::Arc;

use crate::device::Device;
use crate::driver::call;
use crate::error::GpuError;
use crate::op::Address;
use crate::op::Settings;

/// Numbers that a [`Buffer`] can hold: any bytes are a value, and none has padding.
pub trait Number: Copy + Default + sealed::Sealed {}

mod sealed {
    /// Only this crate knows which types are safe to copy as bytes.
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($number:ty),*) => { $(impl sealed::Sealed for $number {} impl Number for $number {})* };
}
numbers!(u8, u16, u32, i32, i64, f32, f64, Settings);

/// Device memory, freed when it is dropped.
pub struct Buffer {
    device: Arc<Device>,
    address: Address,
    bytes: usize,
}

impl Buffer {
    /// Allocates and zeroes memory.
    pub(crate) fn new(device: &Arc<Device>, bytes: usize) -> Result<Buffer, GpuError> {
        let bytes = bytes.max(1);
        let _entered = device.enter()?;
        let mut address = Address::NULL;
        // SAFETY: a place for the address, which is then valid for these bytes.
        unsafe {
            call!(device.driver, cuMemAlloc_v2(&mut address.0, bytes))?;
            let zeroed = call!(device.driver, cuMemsetD8Async(address.0, 0, bytes, device.stream));
            if zeroed.is_err() {
                (device.driver.c.cuMemFree_v2)(address.0);
            }
            zeroed?;
        }
        Ok(Buffer { device: device.clone(), address, bytes })
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies numbers to its start, after what the stream has been given so far.
    ///
    /// Errors: [`GpuError::Shape`] if they don't fit.
    pub fn upload<T: Number>(&self, numbers: &[T]) -> Result<(), GpuError> {
        let bytes = self.fitting(size_of_val(numbers))?;
        let _entered = self.device.enter()?;
        // SAFETY: the buffer has room; pageable memory has been read when the call returns.
        unsafe {
            call!(
                self.device.driver,
                cuMemcpyHtoDAsync_v2(self.address.0, numbers.as_ptr().cast(), bytes, self.device.stream)
            )
        }
    }

    /// Waits for the stream, and returns the first `count` numbers.
    ///
    /// Errors: [`GpuError::Shape`] if there are fewer.
    pub fn download<T: Number>(&self, count: usize) -> Result<Vec<T>, GpuError> {
        self.download_from(0, count)
    }

    /// Waits for the stream, and returns `count` numbers from number `first` on.
    ///
    /// Errors: [`GpuError::Shape`] if there are fewer.
    pub fn download_from<T: Number>(&self, first: usize, count: usize) -> Result<Vec<T>, GpuError> {
        self.fitting((first + count) * size_of::<T>())?;
        let (address, bytes) = (self.address.offset(first * size_of::<T>()), count * size_of::<T>());
        let mut numbers = vec![T::default(); count];
        let entered = self.device.enter()?;
        // SAFETY: both have room, and `numbers` lives until the stream has finished.
        unsafe {
            call!(
                self.device.driver,
                cuMemcpyDtoHAsync_v2(numbers.as_mut_ptr().cast(), address.0, bytes, self.device.stream)
            )?;
        }
        entered.synchronize()?;
        Ok(numbers)
    }

    fn fitting(&self, bytes: usize) -> Result<usize, GpuError> {
        if bytes > self.bytes {
            let needed = format!("the buffer has {}", self.bytes);
            return Err(GpuError::Shape { what: "the size of a copy in bytes", found: bytes as u64, needed });
        }
        Ok(bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(_entered) = self.device.enter() {
            // SAFETY: its own memory; the driver waits for work that uses it.
            unsafe { (self.device.driver.c.cuMemFree_v2)(self.address.0) };
        }
    }
}
