//! A device with its libraries: memory, order between streams, steps, graphs.
#![expect(
    unsafe_code,
    reason = "the driver's functions take pointers; their validity is argued at each call"
)]

use std::ptr::null_mut;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::device::{Device, Libraries};
use crate::driver::{Handle, call};
use crate::error::GpuError;
use crate::op::Format;
use crate::step::Step;

/// Another stream of the same device: a `cudaStream_t` or `CUstream`; null is the legacy default stream, on which libtorch
/// works unless it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStream(pub *mut std::ffi::c_void);

impl RawStream {
    /// The legacy default stream.
    pub const LEGACY: RawStream = RawStream(null_mut());
}

/// A device, the kernels for one dtype and head width, and a stream of its own. Clones share it; one operation runs at a
/// time. It uses the device's primary context, so addresses of libtorch's tensors are valid.
#[derive(Clone)]
pub struct Gpu {
    device: Arc<Device>,
}

impl Gpu {
    /// Opens a device. The first time on a machine this compiles the kernels, which takes some seconds.
    ///
    /// Errors: what is missing or too old ([`GpuError`]), in one line.
    pub fn open(
        libraries: &Libraries,
        ordinal: u32,
        format: Format,
        head_width: u32,
    ) -> Result<Gpu, GpuError> {
        Ok(Gpu { device: Arc::new(Device::open(libraries, ordinal, format, head_width)?) })
    }

    /// The type of elements.
    pub fn format(&self) -> Format {
        self.device.format
    }

    /// Width of the heads that the kernels are compiled for.
    pub fn head_width(&self) -> u32 {
        self.device.head_width
    }

    /// `sm_90` and the like; `emulated`.
    pub fn architecture(&self) -> &str {
        &self.device.architecture
    }

    /// Memory of the device, zeroed.
    pub fn alloc(&self, bytes: usize) -> Result<Buffer, GpuError> {
        Buffer::new(&self.device, bytes)
    }

    /// Work given to this device's stream from now on waits for what `other` has been given so far.
    ///
    /// # Safety
    /// `other` is a stream of this device, or null.
    pub unsafe fn wait_for(&self, other: RawStream) -> Result<(), GpuError> {
        // SAFETY: as the caller promises.
        unsafe { self.order(other.0, self.device.stream) }
    }

    /// The reverse: `other` waits for what this device's stream has been given so far.
    ///
    /// # Safety
    /// `other` is a stream of this device, or null.
    pub unsafe fn let_wait(&self, other: RawStream) -> Result<(), GpuError> {
        // SAFETY: as the caller promises.
        unsafe { self.order(self.device.stream, other.0) }
    }

    /// # Safety
    /// Both are streams of this device.
    unsafe fn order(&self, before: Handle, after: Handle) -> Result<(), GpuError> {
        let driver = self.device.driver;
        let _entered = self.device.enter()?;
        // SAFETY: a wait refers to the event as it was recorded last, so the event can be used again.
        unsafe {
            call!(driver, cuEventRecord(self.device.event, before))?;
            call!(driver, cuStreamWaitEvent(after, self.device.event, 0))
        }
    }

    /// Waits until the stream has nothing left to do.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        self.device.enter()?.synchronize()
    }

    /// Gives a step to the stream, launch by launch.
    ///
    /// # Safety
    /// Every address of the step is valid for the shape that its op documents until the stream has finished, and nothing
    /// else writes there meanwhile.
    pub unsafe fn run(&self, step: &Step) -> Result<(), GpuError> {
        // SAFETY: as the caller promises.
        unsafe { self.device.enter()?.give(step.ops()) }
    }

    /// Captures a step as a graph, without running it. Run it once before: what cuBLAS loads on first use can't be captured.
    ///
    /// # Safety
    /// As [`Gpu::run`], for as long as the graph is replayed.
    pub unsafe fn capture(&self, step: &Step) -> Result<Graph, GpuError> {
        const THIS_THREAD_ONLY: i32 = 1;
        let driver = self.device.driver;
        let entered = self.device.enter()?;
        let (mut graph, mut executable, mut nodes) = (null_mut(), null_mut(), 0);
        // SAFETY: places for the results; the graph is destroyed once it has been instantiated.
        unsafe {
            call!(driver, cuStreamBeginCapture_v2(self.device.stream, THIS_THREAD_ONLY))?;
            let given = entered.give(step.ops());
            let ended = call!(driver, cuStreamEndCapture(self.device.stream, &mut graph));
            let made = given.and(ended).and_then(|()| {
                call!(driver, cuGraphGetNodes(graph, null_mut(), &mut nodes))?;
                call!(driver, cuGraphInstantiateWithFlags(&mut executable, graph, 0))
            });
            if !graph.is_null() {
                (driver.c.cuGraphDestroy)(graph);
            }
            made?;
        }
        Ok(Graph { device: self.device.clone(), executable, nodes })
    }
}

/// A captured step.
pub struct Graph {
    device: Arc<Device>,
    executable: Handle,
    nodes: usize,
}

// SAFETY: the handle may be used by any thread that has entered the device.
unsafe impl Send for Graph {}
// SAFETY: as above; entering is exclusive.
unsafe impl Sync for Graph {}

impl Graph {
    /// Number of nodes: as many as launches, unless cuBLAS splits a product.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Gives the step to the stream.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    pub unsafe fn replay(&self) -> Result<(), GpuError> {
        let _entered = self.device.enter()?;
        // SAFETY: as the caller promises.
        unsafe { call!(self.device.driver, cuGraphLaunch(self.executable, self.device.stream)) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Ok(entered) = self.device.enter() {
            // What has been replayed may still run.
            let _ = entered.synchronize();
            // SAFETY: its own handle.
            unsafe { (self.device.driver.c.cuGraphExecDestroy)(self.executable) };
        }
    }
}
