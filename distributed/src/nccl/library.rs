//! NCCL's functions. `tests/nccl/signatures.cc` compares what is declared here with NCCL's own header.

#![expect(unsafe_code, reason = "NCCL has an interface in C, and is opened while the program runs")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};

use crate::error::Problem;
use libloading::os::unix::{Library as Shared, RTLD_LOCAL, RTLD_NOW};

/// The file name of NCCL 2.
const NAME: &str = "libnccl.so.2";

/// The oldest version whose communicators need not block, as NCCL writes versions.
pub(super) const OLDEST: c_int = 21_400;

const SUCCESS: c_int = 0;
const IN_PROGRESS: c_int = 7;
const SUM: c_int = 0;
const INT8: c_int = 0;
const FLOAT32: c_int = 7;

/// What the ranks of a group know each other by.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct UniqueId(pub(crate) [u8; 128]);

/// The configuration of a communicator, as of NCCL 2.14. Later versions read its size, and so that the rest is not set.
#[repr(C)]
struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
}

/// A communicator, a stream or an event.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Handle(pub(super) *mut c_void);

// SAFETY: NCCL and CUDA let any thread use them, one at a time.
unsafe impl Send for Handle {}

impl Handle {
    pub(super) fn none() -> Handle {
        Handle(std::ptr::null_mut())
    }
}

type Transfer =
    unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Handle, Handle) -> c_int;

/// The functions of an open NCCL, which stays open until the process ends.
pub(crate) struct Library {
    get_version: unsafe extern "C" fn(*mut c_int) -> c_int,
    get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    init_rank: unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int, *const Config) -> c_int,
    /// Its last two numbers are the dtype and the operation.
    all_reduce: Transfer,
    /// Its last two numbers are the dtype and the rank that sends.
    broadcast: Transfer,
    get_async_error: unsafe extern "C" fn(Handle, *mut c_int) -> c_int,
    abort: unsafe extern "C" fn(Handle) -> c_int,
    destroy: unsafe extern "C" fn(Handle) -> c_int,
    get_error_string: unsafe extern "C" fn(c_int) -> *const c_char,
}

impl Library {
    /// Opens NCCL: by its name, which finds the one that libtorch has loaded, or beside libtorch as PyPI's packages lie.
    pub(crate) fn open(stand_in: Option<&Path>) -> Result<Library, Problem> {
        let library = match stand_in {
            Some(path) => shared(path)?,
            None => shared(Path::new(NAME))
                .or_else(|problem| beside_libtorch().and_then(|path| shared(&path).ok()).ok_or(problem))?,
        };
        // SAFETY: these are the signatures of NCCL's functions of these names.
        let found = unsafe {
            Library {
                get_version: function(&library, "ncclGetVersion")?,
                get_unique_id: function(&library, "ncclGetUniqueId")?,
                init_rank: function(&library, "ncclCommInitRankConfig")?,
                all_reduce: function(&library, "ncclAllReduce")?,
                broadcast: function(&library, "ncclBroadcast")?,
                get_async_error: function(&library, "ncclCommGetAsyncError")?,
                abort: function(&library, "ncclCommAbort")?,
                destroy: function(&library, "ncclCommDestroy")?,
                get_error_string: function(&library, "ncclGetErrorString")?,
            }
        };
        // It has threads of its own, and the functions must stay where they are.
        std::mem::forget(library);
        Ok(found)
    }

    pub(crate) fn version(&self) -> Result<i32, Problem> {
        let mut version = 0;
        // SAFETY: the pointer is valid during the call.
        self.checked("ncclGetVersion", unsafe { (self.get_version)(&raw mut version) })?;
        Ok(version)
    }

    pub(crate) fn unique_id(&self) -> Result<UniqueId, Problem> {
        let mut id = UniqueId([0; 128]);
        // SAFETY: as above.
        self.checked("ncclGetUniqueId", unsafe { (self.get_unique_id)(&raw mut id) })?;
        Ok(id)
    }

    /// Begins to join the other ranks of this group on the thread's current GPU. It is done when the communicator is
    /// [idle](Self::idle).
    pub(super) fn join(&self, id: UniqueId, rank: usize, size: usize) -> Result<Handle, Problem> {
        let mut communicator = Handle::none();
        let size_of_config = size_of::<Config>();
        let config =
            Config { size: size_of_config, magic: 0xcafe_beef, version: OLDEST.cast_unsigned(), blocking: 0 };
        // SAFETY: the pointers are valid during the call, which copies what they point to.
        let code = unsafe {
            (self.init_rank)(&raw mut communicator, number(size), id, number(rank), &raw const config)
        };
        self.checked("ncclCommInitRankConfig", code)?;
        Ok(communicator)
    }

    /// Begins to replace `count` f32 numbers by their sums over all ranks.
    ///
    /// Safety: `values` are so many numbers in the memory of the communicator's GPU, and stay there until the stream is done.
    pub(super) unsafe fn sum(
        &self,
        communicator: Handle,
        stream: Handle,
        values: *mut c_void,
        count: usize,
    ) -> Result<(), Problem> {
        // SAFETY: as the caller says.
        let code = unsafe { (self.all_reduce)(values, values, count, FLOAT32, SUM, communicator, stream) };
        self.checked("ncclAllReduce", code)
    }

    /// Begins to replace so many bytes by those of rank 0.
    ///
    /// Safety: as for [`sum`](Self::sum).
    pub(super) unsafe fn broadcast(
        &self,
        communicator: Handle,
        stream: Handle,
        bytes: *mut c_void,
        count: usize,
    ) -> Result<(), Problem> {
        // SAFETY: as the caller says.
        let code = unsafe { (self.broadcast)(bytes, bytes, count, INT8, 0, communicator, stream) };
        self.checked("ncclBroadcast", code)
    }

    /// Whether the communicator has begun all that it was asked for; an error if something failed meanwhile.
    pub(super) fn idle(&self, communicator: Handle) -> Result<bool, Problem> {
        let mut state = SUCCESS;
        // SAFETY: the communicator was not closed, and the pointer is valid during the call.
        let code = unsafe { (self.get_async_error)(communicator, &raw mut state) };
        self.checked("ncclCommGetAsyncError", code)?;
        match state {
            SUCCESS => Ok(true),
            IN_PROGRESS => Ok(false),
            failed => Err(Problem(self.text(failed))),
        }
    }

    /// Closes a communicator, which nobody uses from here on: after all work is done, or in the middle of it.
    pub(super) fn close(&self, communicator: Handle, done: bool) {
        // SAFETY: the communicator was not closed. There is nothing to be done about an error.
        let _ = unsafe { if done { (self.destroy)(communicator) } else { (self.abort)(communicator) } };
    }

    fn checked(&self, what: &str, code: c_int) -> Result<(), Problem> {
        match code {
            SUCCESS | IN_PROGRESS => Ok(()),
            failed => Err(Problem(format!("{what}: {}", self.text(failed)))),
        }
    }

    fn text(&self, code: c_int) -> String {
        // SAFETY: NCCL returns a constant text.
        unsafe { text((self.get_error_string)(code)) }
    }
}

/// Opens a shared library.
pub(super) fn shared(path: &Path) -> Result<Shared, Problem> {
    // SAFETY: NCCL's and CUDA's initialisers may run at any time.
    unsafe { Shared::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| Problem(format!("{} can't be opened: {error}", path.display())))
}

/// A function of a library.
///
/// Safety: `F` is the type of a pointer to the function of this name.
pub(super) unsafe fn function<F: Copy>(library: &Shared, name: &str) -> Result<F, Problem> {
    // SAFETY: as the caller says.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found.map(|function| *function).map_err(|_| Problem(format!("{name} is missing in it")))
}

/// Safety: `text` ends with NUL, or is null.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return "an unknown error".into();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Where NCCL's package from PyPI lies, from where libtorch was loaded: `torch/lib` and `nvidia/nccl/lib` are side by side.
fn beside_libtorch() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let libtorch = maps.lines().find(|line| line.ends_with("/libtorch_cuda.so"))?;
    let path = Path::new(&libtorch[libtorch.find('/')?..]);
    Some(path.ancestors().nth(3)?.join("nvidia/nccl/lib").join(NAME))
}

fn number(rank: usize) -> c_int {
    c_int::try_from(rank).unwrap_or(c_int::MAX)
}
