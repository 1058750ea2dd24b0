//! Libraries that are opened at run time.
#![expect(
    unsafe_code,
    reason = "opening a library runs its initialisers; these are NVIDIA's, or our own emulation"
)]

use std::ffi::CString;
use std::path::{Path, PathBuf};

use libloading::os::unix::Library as Handle;

use crate::error::GpuError;

/// An open library. It stays open for good: CUDA's libraries don't survive being closed.
#[derive(Clone, Copy)]
pub(crate) struct Library {
    name: &'static str,
    place: &'static Path,
    handle: &'static Handle,
}

impl Library {
    /// The first of these names and paths that can be opened. `name` is that of the library in messages.
    ///
    /// Errors: [`GpuError::Library`] with what the loader says of the first.
    pub(crate) fn open(name: &'static str, places: &[PathBuf]) -> Result<Library, GpuError> {
        let mut reason = None;
        for place in places {
            // SAFETY: see the reason above.
            match unsafe { Handle::new(place) } {
                Ok(handle) => {
                    let place = Box::leak(place.clone().into_boxed_path());
                    return Ok(Library { name, place, handle: Box::leak(Box::new(handle)) });
                }
                Err(error) => reason = reason.or(Some(error.to_string())),
            }
        }
        let reason = reason.unwrap_or_else(|| "there is no such file".to_owned());
        Err(GpuError::Library { library: name.to_owned(), reason })
    }

    /// What the program has loaded globally, if it has this function.
    pub(crate) fn loaded(name: &'static str, function: &'static str) -> Option<Library> {
        let library = Library { name, place: Path::new(""), handle: Box::leak(Box::new(Handle::this())) };
        // SAFETY: the symbol is only looked up.
        unsafe { library.function::<*const ()>(function) }.ok().map(|_| library)
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        self.name.to_owned()
    }

    /// The name or path by which it was opened; empty for what was loaded before.
    pub(crate) fn place(&self) -> &'static Path {
        self.place
    }

    /// One of its functions.
    ///
    /// # Safety
    /// `T` is the function's type, as a pointer.
    pub(crate) unsafe fn function<T: Copy>(&self, name: &'static str) -> Result<T, GpuError> {
        let missing = || GpuError::Symbol { library: self.name.to_owned(), name };
        let symbol = CString::new(name).map_err(|_| missing())?;
        // SAFETY: as the caller promises.
        let found = unsafe { self.handle.get::<T>(symbol.as_bytes_with_nul()) };
        found.map(|found| *found).map_err(|_| missing())
    }
}

/// The folder of the first loaded library whose file name starts so, such as `libcudart.so`.
pub(crate) fn folder_of_loaded(file: &str) -> Option<PathBuf> {
    folder_in(&std::fs::read_to_string("/proc/self/maps").ok()?, file)
}

fn folder_in(maps: &str, file: &str) -> Option<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let is_it = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(file));
    paths.filter(|path| is_it(path)).find_map(|path| Some(path.parent()?.to_owned()))
}

/// Declares a table of C functions, each of which returns a status.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident { $($name:ident($($argument:ty),* $(,)?);)* }) => {
        $(#[$doc])*
        #[expect(non_snake_case, reason = "the names of the C functions")]
        #[derive(Clone, Copy)]
        pub(crate) struct $table {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) -> std::ffi::c_int,)*
        }

        impl $table {
            /// Looks all functions up.
            pub(crate) fn of(library: &crate::library::Library) -> Result<$table, crate::error::GpuError> {
                // SAFETY: the types are those of NVIDIA's headers.
                unsafe { Ok($table { $($name: library.function(stringify!($name))?,)* }) }
            }
        }
    };
}
pub(crate) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_found_beside_one_that_is_loaded() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 12 /a b/nvidia/cu13/lib/libcudart.so.13\n\
                    7f02-7f03 rw-p 00000000 00:00 0 \n\
                    7f04-7f05 r--p 00000000 08:01 13 /usr/lib/libc.so.6\n";
        assert_eq!(folder_in(maps, "libcudart.so"), Some(PathBuf::from("/a b/nvidia/cu13/lib")));
        assert_eq!(folder_in(maps, "libcublas.so"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Library::open("libnone.so", &[PathBuf::from("libnone.so.1")]).err().unwrap().to_string();
        assert!(error.starts_with("libnone.so can't be opened: libnone.so.1"), "{error}");
        let library = Library::loaded("libc", "malloc").unwrap();
        assert!(Library::loaded("libc", "no_such_function").is_none());
        // SAFETY: it is not called.
        let error = unsafe { library.function::<*const ()>("cuInit") }.unwrap_err().to_string();
        assert!(error.starts_with("libc has no function `cuInit`"), "{error}");
    }
}
