//! The functions of `c10d/shim.cc` as safe types.

#![expect(
    unsafe_code,
    reason = "libtorch's c10d has an interface in C++ only, which c10d/shim.cc offers as C functions"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::TcpListener;
use std::os::fd::IntoRawFd as _;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use crate::error::{Problem, first_line};

#[repr(C)]
struct RawStore {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawGloo {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn sandbox_c10d_error() -> *const c_char;
    fn sandbox_store_open(
        host: *const c_char,
        port: u16,
        serves: c_int,
        listener: c_int,
        timeout_ms: i64,
        prefix: *const c_char,
    ) -> *mut RawStore;
    fn sandbox_store_close(store: *mut RawStore);
    fn sandbox_store_set(store: *mut RawStore, key: *const c_char, bytes: *const u8, length: usize) -> c_int;
    fn sandbox_store_has(store: *mut RawStore, key: *const c_char) -> c_int;
    fn sandbox_store_get(
        store: *mut RawStore,
        key: *const c_char,
        bytes: *mut *mut u8,
        length: *mut usize,
    ) -> c_int;
    fn sandbox_bytes_free(bytes: *mut u8);
    fn sandbox_store_delete(store: *mut RawStore, key: *const c_char) -> c_int;
    fn sandbox_gloo_open(
        store: *mut RawStore,
        rank: c_int,
        size: c_int,
        timeout_ms: i64,
        address: *const c_char,
    ) -> *mut RawGloo;
    fn sandbox_gloo_close(gloo: *mut RawGloo);
    fn sandbox_gloo_sum(gloo: *mut RawGloo, tensor: *mut c_void) -> c_int;
    fn sandbox_gloo_broadcast(gloo: *mut RawGloo, tensor: *mut c_void, root: c_int) -> c_int;
    fn sandbox_gloo_send(gloo: *mut RawGloo, tensor: *mut c_void, to: c_int) -> c_int;
    fn sandbox_gloo_receive(gloo: *mut RawGloo, tensor: *mut c_void, from: c_int) -> c_int;
    fn sandbox_gloo_barrier(gloo: *mut RawGloo) -> c_int;
    fn sandbox_current_stream(device: c_int, stream: *mut *mut c_void) -> c_int;
}

/// The reason of the last failure on this thread.
fn problem() -> Problem {
    // SAFETY: the function returns a NUL-terminated string that lives until the next call on this thread.
    let message = unsafe { CStr::from_ptr(sandbox_c10d_error()) };
    Problem(first_line(&message.to_string_lossy()))
}

/// A text without NUL, which no key and no host has.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1)
}

fn number(rank: usize) -> c_int {
    c_int::try_from(rank).unwrap_or(c_int::MAX)
}

/// Whether a process serves the store to which it connects.
pub(crate) enum Serves {
    No,
    /// On all interfaces of the machine.
    Everywhere,
    /// On a socket that listens already.
    On(TcpListener),
}

/// A connection to the keys that all ranks share. One thread at a time uses it; each thread opens its own.
pub(crate) struct Store(*mut RawStore);

// SAFETY: libtorch's store is guarded by a lock of its own, and nothing in it belongs to a thread.
unsafe impl Send for Store {}

impl Store {
    /// Connects to the store, or serves it too.
    pub(crate) fn open(
        host: &str,
        port: u16,
        serves: Serves,
        timeout: Duration,
        prefix: &str,
    ) -> Result<Store, Problem> {
        let (host, prefix) = (c_text(host), c_text(prefix));
        let (serves, listener) = match serves {
            Serves::No => (0, -1),
            Serves::Everywhere => (1, -1),
            Serves::On(listener) => (1, listener.into_raw_fd()),
        };
        // SAFETY: both texts live during the call; nobody else has the descriptor of the listener.
        let store = unsafe {
            sandbox_store_open(host.as_ptr(), port, serves, listener, milliseconds(timeout), prefix.as_ptr())
        };
        if store.is_null() { Err(problem()) } else { Ok(Store(store)) }
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), Problem> {
        let key = c_text(key);
        // SAFETY: the store is open, and key and value live during the call.
        let code = unsafe { sandbox_store_set(self.0, key.as_ptr(), value.as_ptr(), value.len()) };
        if code == 0 { Ok(()) } else { Err(problem()) }
    }

    /// Whether the key is there within about this time. The store itself can wait, too, but warns each time that it did so in
    /// vain.
    pub(crate) fn wait(&self, key: &str, time: Duration) -> Result<bool, Problem> {
        let began = Instant::now();
        while !self.has(key)? {
            let waited = began.elapsed();
            if waited >= time {
                return Ok(false);
            }
            // A key that comes soon is found soon; one that takes long costs little.
            std::thread::sleep((waited / 16).clamp(Duration::from_micros(100), Duration::from_millis(10)));
        }
        Ok(true)
    }

    fn has(&self, key: &str) -> Result<bool, Problem> {
        let key = c_text(key);
        // SAFETY: the store is open, and the key lives during the call.
        match unsafe { sandbox_store_has(self.0, key.as_ptr()) } {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(problem()),
        }
    }

    /// The value of a key; `None` if it is not there.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        if !self.has(key)? {
            return Ok(None);
        }
        let key = c_text(key);
        let (mut bytes, mut length) = (std::ptr::null_mut(), 0);
        // SAFETY: as above; on success `bytes` is an allocation of `length` bytes at least, which is returned below.
        let code = unsafe { sandbox_store_get(self.0, key.as_ptr(), &raw mut bytes, &raw mut length) };
        if code != 0 {
            return Err(problem());
        }
        // SAFETY: see above.
        let value = unsafe {
            let value = std::slice::from_raw_parts(bytes, length).to_vec();
            sandbox_bytes_free(bytes);
            value
        };
        Ok(Some(value))
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), Problem> {
        let key = c_text(key);
        // SAFETY: the store is open, and the key lives during the call.
        let code = unsafe { sandbox_store_delete(self.0, key.as_ptr()) };
        if code == 0 { Ok(()) } else { Err(problem()) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this.
        unsafe { sandbox_store_close(self.0) }
    }
}

/// The connections of this rank to all others.
pub(crate) struct Gloo(*mut RawGloo);

// SAFETY: a process group may be used by any thread, one at a time.
unsafe impl Send for Gloo {}

impl Gloo {
    /// Connects with the other ranks, which do the same. `address` is where this one listens; `None` leaves that to
    /// `GLOO_SOCKET_IFNAME`, or to the name of the machine.
    pub(crate) fn open(
        store: &Store,
        rank: usize,
        size: usize,
        timeout: Duration,
        address: Option<&str>,
    ) -> Result<Gloo, Problem> {
        let address = c_text(address.unwrap_or_default());
        // SAFETY: the store is open, and libtorch keeps a reference of its own to it.
        let gloo = unsafe {
            sandbox_gloo_open(store.0, number(rank), number(size), milliseconds(timeout), address.as_ptr())
        };
        if gloo.is_null() { Err(problem()) } else { Ok(Gloo(gloo)) }
    }

    /// Replaces the tensor by the sum over all ranks.
    pub(crate) fn sum(&self, tensor: &Tensor) -> Result<(), Problem> {
        // SAFETY: see `on_tensor`.
        on_tensor(tensor, |tensor| unsafe { sandbox_gloo_sum(self.0, tensor) })
    }

    /// Replaces the tensor by that of rank 0.
    pub(crate) fn broadcast(&self, tensor: &Tensor) -> Result<(), Problem> {
        // SAFETY: see `on_tensor`.
        on_tensor(tensor, |tensor| unsafe { sandbox_gloo_broadcast(self.0, tensor, 0) })
    }

    pub(crate) fn send(&self, tensor: &Tensor, to: usize) -> Result<(), Problem> {
        // SAFETY: see `on_tensor`.
        on_tensor(tensor, |tensor| unsafe { sandbox_gloo_send(self.0, tensor, number(to)) })
    }

    pub(crate) fn receive(&self, tensor: &Tensor, from: usize) -> Result<(), Problem> {
        // SAFETY: see `on_tensor`.
        on_tensor(tensor, |tensor| unsafe { sandbox_gloo_receive(self.0, tensor, number(from)) })
    }

    pub(crate) fn barrier(&self) -> Result<(), Problem> {
        // SAFETY: the group is open.
        let code = unsafe { sandbox_gloo_barrier(self.0) };
        if code == 0 { Ok(()) } else { Err(problem()) }
    }
}

impl Drop for Gloo {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this.
        unsafe { sandbox_gloo_close(self.0) }
    }
}

/// The CUDA stream on which libtorch computes for this thread; null for the CPU, which computes at once.
pub(crate) fn current_stream(device: Device) -> Result<*mut c_void, Problem> {
    let mut stream = std::ptr::null_mut();
    let Device::Cuda(index) = device else { return Ok(stream) };
    // SAFETY: the pointer is valid during the call.
    match unsafe { sandbox_current_stream(number(index), &raw mut stream) } {
        0 => Ok(stream),
        _ => Err(problem()),
    }
}

/// Calls a function of the shim with a tensor, which must lie in the CPU's memory in one piece. The call returns when the
/// transfer has ended, well or not, so the pointer is used while the tensor lives.
fn on_tensor(tensor: &Tensor, call: impl FnOnce(*mut c_void) -> c_int) -> Result<(), Problem> {
    if tensor.device() != Device::Cpu || !tensor.is_contiguous() {
        return Err(Problem(format!(
            "a tensor on {:?} that is not one piece of the CPU's memory",
            tensor.device()
        )));
    }
    match call(tensor.as_ptr().cast_mut().cast()) {
        0 => Ok(()),
        _ => Err(problem()),
    }
}
