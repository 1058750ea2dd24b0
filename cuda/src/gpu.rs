//! A device with its libraries: memory, streams, launches, graphs.

use std::path::PathBuf;

use crate::error::GpuError;
use crate::op::{Address, Format};
use crate::step::Step;

/// Where the C libraries come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Libraries {
    /// The driver's and CUDA's, as they are installed or as libtorch has loaded them.
    Installed,
    /// One library that stands in for all: see [`crate::emulated`].
    Emulated(PathBuf),
}

/// Another stream of the same device: a `cudaStream_t` or `CUstream`; null is the legacy default stream, on which libtorch
/// works unless it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStream(pub *mut std::ffi::c_void);

/// A device, the kernels for one dtype and head width, and a stream of its own. Clones share it; one operation runs at a
/// time. It uses the device's primary context, so addresses of libtorch's tensors are valid.
#[derive(Clone)]
pub struct Gpu;

impl Gpu {
    /// Opens a device. The first time on a machine this compiles the kernels, which takes some seconds.
    ///
    /// Errors: what is missing or too old ([`GpuError`]), in one line.
    pub fn open(libraries: &Libraries, ordinal: u32, format: Format, head_width: u32) -> Result<Gpu, GpuError> {
        todo!()
    }

    /// The type of elements.
    pub fn format(&self) -> Format {
        todo!()
    }

    /// Width of the heads that the kernels are compiled for.
    pub fn head_width(&self) -> u32 {
        todo!()
    }

    /// `sm_90` and the like; `emulated`.
    pub fn architecture(&self) -> &str {
        todo!()
    }

    /// Memory of the device, zeroed.
    pub fn alloc(&self, bytes: usize) -> Result<Buffer, GpuError> {
        todo!()
    }

    /// Work given to this device's stream from now on waits for what `other` has been given so far.
    ///
    /// # Safety
    /// `other` is a stream of this device, or null.
    pub unsafe fn wait_for(&self, other: RawStream) -> Result<(), GpuError> {
        todo!()
    }

    /// The reverse: `other` waits for what this device's stream has been given so far.
    ///
    /// # Safety
    /// `other` is a stream of this device, or null.
    pub unsafe fn let_wait(&self, other: RawStream) -> Result<(), GpuError> {
        todo!()
    }

    /// Waits until the stream has nothing left to do.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        todo!()
    }

    /// Gives a step to the stream, launch by launch.
    ///
    /// # Safety
    /// Every address of the step is valid for the shape that its op documents until the stream has finished, and nothing
    /// else writes there meanwhile.
    pub unsafe fn run(&self, step: &Step) -> Result<(), GpuError> {
        todo!()
    }

    /// Captures a step as a graph, without running it. Run it once before: what cuBLAS loads on first use can't be captured.
    ///
    /// # Safety
    /// As [`Gpu::run`], for as long as the graph is replayed.
    pub unsafe fn capture(&self, step: &Step) -> Result<Graph, GpuError> {
        todo!()
    }
}

/// A captured step.
pub struct Graph;

impl Graph {
    /// Number of nodes: as many as launches, unless cuBLAS splits a product.
    pub fn nodes(&self) -> usize {
        todo!()
    }

    /// Gives the step to the stream.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    pub unsafe fn replay(&self) -> Result<(), GpuError> {
        todo!()
    }
}

/// Numbers that a [`Buffer`] can hold.
pub trait Number: Copy + Default {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for i32 {}
impl Number for i64 {}
impl Number for f32 {}
impl Number for f64 {}

/// Device memory, freed when it is dropped.
pub struct Buffer;

impl Buffer {
    /// Its address.
    pub fn address(&self) -> Address {
        todo!()
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// Copies numbers to its start, after what the stream has been given so far.
    ///
    /// Errors: [`GpuError::Shape`] if they don't fit.
    pub fn upload<T: Number>(&self, numbers: &[T]) -> Result<(), GpuError> {
        todo!()
    }

    /// Waits for the stream, and returns the first `count` numbers.
    ///
    /// Errors: [`GpuError::Shape`] if there are fewer.
    pub fn download<T: Number>(&self, count: usize) -> Result<Vec<T>, GpuError> {
        todo!()
    }
}
