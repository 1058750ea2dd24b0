//! The few functions of CUDA's runtime that order NCCL's work with libtorch's: a stream, and events.

#![expect(unsafe_code, reason = "CUDA has an interface in C, and is loaded while the program runs")]

use std::ffi::{c_char, c_int, c_uint};
use std::path::Path;

use libloading::os::unix::Library as Shared;

use super::library::{Handle, function, shared, text};
use crate::error::Problem;

const SUCCESS: c_int = 0;
const NOT_READY: c_int = 600;
/// A stream that does not wait for the default stream, and an event without a time.
const NON_BLOCKING: c_uint = 1;
const NO_TIMING: c_uint = 2;

type Make = unsafe extern "C" fn(*mut Handle, c_uint) -> c_int;

/// CUDA's runtime, and a GPU.
pub(crate) struct Cuda {
    index: c_int,
    set_device: unsafe extern "C" fn(c_int) -> c_int,
    bus_id: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int,
    make_stream: Make,
    drop_stream: unsafe extern "C" fn(Handle) -> c_int,
    stream_waits: unsafe extern "C" fn(Handle, Handle, c_uint) -> c_int,
    make_event: Make,
    drop_event: unsafe extern "C" fn(Handle) -> c_int,
    record: unsafe extern "C" fn(Handle, Handle) -> c_int,
    query: unsafe extern "C" fn(Handle) -> c_int,
    last_error: unsafe extern "C" fn() -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
}

impl Cuda {
    /// The runtime that libtorch's CUDA part has brought into this process, or the library that stands in for it.
    pub(super) fn find(index: c_int, stand_in: Option<&Path>) -> Result<Cuda, Problem> {
        let library = match stand_in {
            Some(path) => shared(path)?,
            None => Shared::this(),
        };
        // SAFETY: these are the signatures of the runtime's functions of these names.
        let found = unsafe {
            Cuda {
                index,
                set_device: function(&library, "cudaSetDevice")?,
                bus_id: function(&library, "cudaDeviceGetPCIBusId")?,
                make_stream: function(&library, "cudaStreamCreateWithFlags")?,
                drop_stream: function(&library, "cudaStreamDestroy")?,
                stream_waits: function(&library, "cudaStreamWaitEvent")?,
                make_event: function(&library, "cudaEventCreateWithFlags")?,
                drop_event: function(&library, "cudaEventDestroy")?,
                record: function(&library, "cudaEventRecord")?,
                query: function(&library, "cudaEventQuery")?,
                last_error: function(&library, "cudaGetLastError")?,
                error_string: function(&library, "cudaGetErrorString")?,
            }
        };
        std::mem::forget(library);
        Ok(found)
    }

    /// Makes the GPU that of the calling thread.
    pub(super) fn enter(&self) -> Result<(), Problem> {
        // SAFETY: it takes a number.
        self.checked("cudaSetDevice", unsafe { (self.set_device)(self.index) })
    }

    /// Where the GPU is in its machine, which does not depend on the GPUs that the process sees.
    pub(super) fn bus_id(&self) -> Result<String, Problem> {
        let mut id = [0 as c_char; 64];
        // SAFETY: it writes a text of at most 64 bytes, the last of which is NUL.
        unsafe {
            let code = (self.bus_id)(id.as_mut_ptr(), id.len() as c_int, self.index);
            self.checked("cudaDeviceGetPCIBusId", code)?;
            Ok(text(id.as_ptr()))
        }
    }

    pub(super) fn stream(&self) -> Result<Handle, Problem> {
        self.made("cudaStreamCreateWithFlags", self.make_stream, NON_BLOCKING)
    }

    pub(super) fn event(&self) -> Result<Handle, Problem> {
        self.made("cudaEventCreateWithFlags", self.make_event, NO_TIMING)
    }

    fn made(&self, what: &str, make: Make, flags: c_uint) -> Result<Handle, Problem> {
        let mut handle = Handle::none();
        // SAFETY: the pointer is valid during the call.
        self.checked(what, unsafe { make(&raw mut handle, flags) })?;
        Ok(handle)
    }

    /// Has the event mark what the stream has been given so far.
    pub(super) fn record(&self, event: Handle, stream: Handle) -> Result<(), Problem> {
        // SAFETY: both are open, here and below.
        self.checked("cudaEventRecord", unsafe { (self.record)(event, stream) })
    }

    /// Has the stream wait until the event is reached.
    pub(super) fn hold(&self, stream: Handle, event: Handle) -> Result<(), Problem> {
        // SAFETY: see above.
        self.checked("cudaStreamWaitEvent", unsafe { (self.stream_waits)(stream, event, 0) })
    }

    /// Whether the event has been reached.
    pub(super) fn is_reached(&self, event: Handle) -> Result<bool, Problem> {
        // SAFETY: see above.
        match unsafe { (self.query)(event) } {
            NOT_READY => {
                // The runtime remembers it as an error, which libtorch would report of its next kernel.
                // SAFETY: it takes nothing.
                unsafe { (self.last_error)() };
                Ok(false)
            }
            code => self.checked("cudaEventQuery", code).map(|()| true),
        }
    }

    /// Drops a stream and events that nobody uses any more.
    pub(super) fn drop(&self, stream: Handle, events: [Handle; 2]) {
        // SAFETY: see above. There is nothing to be done about an error.
        unsafe {
            for event in events {
                (self.drop_event)(event);
            }
            (self.drop_stream)(stream);
        }
    }

    fn checked(&self, what: &str, code: c_int) -> Result<(), Problem> {
        if code == SUCCESS {
            return Ok(());
        }
        // SAFETY: the runtime returns a constant text.
        let reason = unsafe { text((self.error_string)(code)) };
        Err(Problem(format!("{what}: {reason}")))
    }
}
