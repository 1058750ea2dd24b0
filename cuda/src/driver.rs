//! The functions of the CUDA driver.
#![expect(
    unsafe_code,
    reason = "the driver's functions take pointers; their validity is argued at each call"
)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use crate::error::GpuError;
use crate::library::{Library, functions};

/// A context, stream, event, module, function or graph.
pub(crate) type Handle = *mut c_void;

/// The oldest driver that has all functions and loads what NVRTC makes: that of CUDA 12.
const OLDEST: c_int = 12000;

functions! {
    /// As in `cuda.h`.
    Functions {
        cuInit(c_uint);
        cuDriverGetVersion(*mut c_int);
        cuDeviceGetCount(*mut c_int);
        cuDeviceGet(*mut c_int, c_int);
        cuDeviceGetAttribute(*mut c_int, c_int, c_int);
        cuDevicePrimaryCtxRetain(*mut Handle, c_int);
        cuDevicePrimaryCtxRelease_v2(c_int);
        cuCtxPushCurrent_v2(Handle);
        cuCtxPopCurrent_v2(*mut Handle);
        cuGetErrorString(c_int, *mut *const c_char);
        cuModuleLoadData(*mut Handle, *const c_void);
        cuModuleUnload(Handle);
        cuModuleGetFunction(*mut Handle, Handle, *const c_char);
        cuLaunchKernel(
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void,
        );
        cuMemAlloc_v2(*mut u64, usize);
        cuMemFree_v2(u64);
        cuMemsetD8Async(u64, u8, usize, Handle);
        cuMemcpyHtoDAsync_v2(u64, *const c_void, usize, Handle);
        cuMemcpyDtoHAsync_v2(*mut c_void, u64, usize, Handle);
        cuStreamCreate(*mut Handle, c_uint);
        cuStreamDestroy_v2(Handle);
        cuStreamSynchronize(Handle);
        cuStreamWaitEvent(Handle, Handle, c_uint);
        cuStreamBeginCapture_v2(Handle, c_int);
        cuStreamEndCapture(Handle, *mut Handle);
        cuEventCreate(*mut Handle, c_uint);
        cuEventRecord(Handle, Handle);
        cuEventDestroy_v2(Handle);
        cuGraphGetNodes(Handle, *mut Handle, *mut usize);
        cuGraphInstantiateWithFlags(*mut Handle, Handle, u64);
        cuGraphLaunch(Handle, Handle);
        cuGraphDestroy(Handle);
        cuGraphExecDestroy(Handle);
    }
}

/// The initialised driver.
#[derive(Clone, Copy)]
pub(crate) struct Driver {
    pub(crate) c: Functions,
}

/// Calls a function of the driver, and makes an error of its status.
macro_rules! call {
    ($driver:expr, $name:ident($($argument:expr),* $(,)?)) => {
        $driver.check(stringify!($name), ($driver.c.$name)($($argument),*))
    };
}
pub(crate) use call;

impl Driver {
    /// Initialises the driver.
    ///
    /// Errors: a missing function, a driver that is too old, no device.
    pub(crate) fn of(library: &Library) -> Result<Driver, GpuError> {
        let driver = Driver { c: Functions::of(library)? };
        let mut version = 0;
        // SAFETY: these take flags, and a place for the version.
        unsafe {
            call!(driver, cuDriverGetVersion(&mut version))?;
            if version < OLDEST {
                let found = format!("{}.{}", version / 1000, version % 1000 / 10);
                return Err(GpuError::Version { library: library.name(), found, needed: "12.0" });
            }
            let status = (driver.c.cuInit)(0);
            if status != 0 {
                return Err(GpuError::NoDevice { reason: driver.reason(status) });
            }
        }
        Ok(driver)
    }

    /// The device with this number, and its architecture, such as 90.
    pub(crate) fn device(&self, ordinal: u32) -> Result<(c_int, u32), GpuError> {
        let (mut count, mut device, mut major, mut minor) = (0, 0, 0, 0);
        // SAFETY: each takes a place for its result; 75 and 76 are the two parts of the compute capability.
        unsafe {
            call!(self, cuDeviceGetCount(&mut count))?;
            if ordinal >= count as u32 {
                return Err(GpuError::Ordinal { ordinal, count: count as u32 });
            }
            call!(self, cuDeviceGet(&mut device, ordinal as c_int))?;
            call!(self, cuDeviceGetAttribute(&mut major, 75, device))?;
            call!(self, cuDeviceGetAttribute(&mut minor, 76, device))?;
        }
        let architecture = (10 * major + minor) as u32;
        if architecture < 80 {
            return Err(GpuError::Architecture { ordinal, architecture: format!("sm_{architecture}") });
        }
        Ok((device, architecture))
    }

    /// An error, unless the status is 0.
    pub(crate) fn check(&self, call: &'static str, status: c_int) -> Result<(), GpuError> {
        match status {
            0 => Ok(()),
            status => Err(GpuError::Call { call, reason: self.reason(status) }),
        }
    }

    fn reason(&self, status: c_int) -> String {
        let mut text = std::ptr::null();
        // SAFETY: the text is the driver's own and stays.
        unsafe {
            match (self.c.cuGetErrorString)(status, &mut text) {
                0 if !text.is_null() => format!("{} ({status})", CStr::from_ptr(text).to_string_lossy()),
                _ => format!("status {status}"),
            }
        }
    }
}
