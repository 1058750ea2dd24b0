//! An open device: its context, stream and kernels, and what is asked of them.
#![expect(
    unsafe_code,
    reason = "the driver's functions take pointers; their validity is argued at each call"
)]

use std::ffi::{CString, c_int, c_void};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::blas::{self, Blas, WORKSPACE};
use crate::cubin;
use crate::driver::{Driver, Handle, call};
use crate::error::GpuError;
use crate::kernels;
use crate::library::Library;
use crate::nvrtc::Nvrtc;
use crate::op::{Address, Format, Op};

/// Where the C libraries come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Libraries {
    /// The driver's and CUDA's, as they are installed or as libtorch has loaded them.
    Installed,
    /// One library that stands in for all: see [`mod@crate::emulated`].
    Emulated(PathBuf),
}

/// What all clones of a [`crate::Gpu`], its buffers and its graphs share.
pub(crate) struct Device {
    pub(crate) driver: Driver,
    device: c_int,
    pub(crate) architecture: String,
    pub(crate) format: Format,
    pub(crate) head_width: u32,
    context: Handle,
    pub(crate) stream: Handle,
    /// For the order between streams.
    pub(crate) event: Handle,
    module: Handle,
    functions: Vec<Handle>,
    blas: Option<Blas>,
    workspace: Address,
    busy: Mutex<()>,
}

// SAFETY: the handles may be used by any thread that has made the context current, which `enter` does, one at a time.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// The device's context is current in this thread, and no other thread uses the device's handles. Dropping it restores the
/// context that was current before.
pub(crate) struct Entered<'a> {
    device: &'a Device,
    _alone: MutexGuard<'a, ()>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut context = null_mut();
        // SAFETY: `enter` has pushed it.
        unsafe { (self.device.driver.c.cuCtxPopCurrent_v2)(&mut context) };
    }
}

/// The driver, the library that has cuBLAS (`None`: wherever it is), and whether they are emulated.
fn open_driver(libraries: &Libraries) -> Result<(Driver, Option<Library>), GpuError> {
    match libraries {
        Libraries::Installed => {
            let library = Library::open("libcuda.so.1", &["libcuda.so.1".into()])?;
            Ok((Driver::of(&library)?, None))
        }
        Libraries::Emulated(path) => {
            let library = Library::open("the emulated driver", std::slice::from_ref(path))?;
            Ok((Driver::of(&library)?, Some(library)))
        }
    }
}

/// What the driver loads: compiled now or before.
fn cubin(architecture: &str, format: Format, head_width: u32) -> Result<Vec<u8>, GpuError> {
    let nvrtc = Nvrtc::open()?;
    let (source, options) = (kernels::source(), kernels::options(format, head_width)?);
    let (all, version) = (options.join(" "), nvrtc.version());
    let key = cubin::key(&[&source, &all, architecture, &version]);
    let compile = || nvrtc.compile(&source, architecture, &options).map(|compiled| compiled.cubin);
    cubin::cached(&cubin::folder(), &key, compile)
}

impl Device {
    pub(crate) fn open(
        libraries: &Libraries,
        ordinal: u32,
        format: Format,
        head_width: u32,
    ) -> Result<Device, GpuError> {
        kernels::options(format, head_width)?;
        let (driver, emulated) = open_driver(libraries)?;
        let (device, number) = driver.device(ordinal)?;
        let (architecture, image, blas) = match emulated {
            Some(library) => ("emulated".to_owned(), vec![0], library),
            None => {
                let blas = blas::open()?;
                let architecture = format!("sm_{number}");
                (architecture.clone(), cubin(&architecture, format, head_width)?, blas)
            }
        };
        let mut context = null_mut();
        // SAFETY: a place for the result; released when the device is dropped.
        unsafe { call!(driver, cuDevicePrimaryCtxRetain(&mut context, device)) }?;
        let mut opened = Device {
            driver,
            device,
            architecture,
            format,
            head_width,
            context,
            stream: null_mut(),
            event: null_mut(),
            module: null_mut(),
            functions: Vec::new(),
            blas: None,
            workspace: Address::NULL,
            busy: Mutex::new(()),
        };
        opened.fill(&image, &blas)?;
        Ok(opened)
    }

    /// Makes what belongs to the context. What has been made when this fails is freed with the device.
    fn fill(&mut self, image: &[u8], library: &Library) -> Result<(), GpuError> {
        const NON_BLOCKING: u32 = 1;
        const NO_TIMING: u32 = 2;
        let driver = self.driver;
        // SAFETY: places for the results; the image outlives the call that reads it; the context is popped below.
        unsafe {
            call!(driver, cuCtxPushCurrent_v2(self.context))?;
            let filled = (|| {
                call!(driver, cuStreamCreate(&mut self.stream, NON_BLOCKING))?;
                call!(driver, cuEventCreate(&mut self.event, NO_TIMING))?;
                call!(driver, cuModuleLoadData(&mut self.module, image.as_ptr().cast()))?;
                for name in kernels::NAMES {
                    let (mut function, name) = (null_mut(), CString::new(name).unwrap_or_default());
                    call!(driver, cuModuleGetFunction(&mut function, self.module, name.as_ptr()))?;
                    self.functions.push(function);
                }
                call!(driver, cuMemAlloc_v2(&mut self.workspace.0, WORKSPACE))?;
                self.blas = Some(Blas::new(library, self.stream, self.workspace)?);
                Ok(())
            })();
            let mut context = null_mut();
            (driver.c.cuCtxPopCurrent_v2)(&mut context);
            filled
        }
    }

    /// Makes the device's context current in this thread until the result is dropped.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, GpuError> {
        let alone = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the context lives as long as the device.
        unsafe { call!(self.driver, cuCtxPushCurrent_v2(self.context)) }?;
        Ok(Entered { device: self, _alone: alone })
    }
}

impl Entered<'_> {
    /// Gives operations to the stream.
    ///
    /// # Safety
    /// Their addresses are valid for their shapes until the stream has finished.
    pub(crate) unsafe fn give(&self, ops: &[Op]) -> Result<(), GpuError> {
        ops.iter().try_for_each(|op| {
            // SAFETY: as the caller promises.
            unsafe { self.give_one(op) }
        })
    }

    /// # Safety
    /// As [`Entered::give`].
    unsafe fn give_one(&self, op: &Op) -> Result<(), GpuError> {
        let device = self.device;
        let launch = kernels::launch(op, device.format, device.head_width)?;
        match (launch, op, &device.blas) {
            (Some(mut launch), _, _) => {
                let ([x, y, z], threads) = (launch.grid, launch.threads);
                let mut pointers = launch.arguments.pointers();
                let function = device.functions[launch.kernel];
                let (arguments, none) = (pointers.as_mut_ptr(), null_mut::<*mut c_void>());
                // SAFETY: the arguments are those of the kernel, and are read before the call returns.
                unsafe {
                    let driver = device.driver;
                    call!(
                        driver,
                        cuLaunchKernel(function, x, y, z, threads, 1, 1, 0, device.stream, arguments, none)
                    )
                }
            }
            // SAFETY: as the caller promises.
            (None, Op::Gemm(gemm), Some(blas)) => unsafe { blas.gemm(gemm, device.format) },
            (None, _, _) => Ok(()),
        }
    }

    /// Waits until the stream has nothing left to do.
    pub(crate) fn synchronize(&self) -> Result<(), GpuError> {
        // SAFETY: the device's own stream.
        unsafe { call!(self.device.driver, cuStreamSynchronize(self.device.stream)) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let c = self.driver.c;
        let mut context = null_mut();
        // SAFETY: all handles are the device's own, and nothing uses them any more. Failures at the end have no consequence.
        unsafe {
            (c.cuCtxPushCurrent_v2)(self.context);
            if !self.stream.is_null() {
                (c.cuStreamSynchronize)(self.stream);
            }
            self.blas = None;
            if !self.workspace.is_null() {
                (c.cuMemFree_v2)(self.workspace.0);
            }
            if !self.module.is_null() {
                (c.cuModuleUnload)(self.module);
            }
            if !self.event.is_null() {
                (c.cuEventDestroy_v2)(self.event);
            }
            if !self.stream.is_null() {
                (c.cuStreamDestroy_v2)(self.stream);
            }
            (c.cuCtxPopCurrent_v2)(&mut context);
            (c.cuDevicePrimaryCtxRelease_v2)(self.device);
        }
    }
}
