//! Kernels from their text, by NVRTC. It needs neither a GPU nor a driver.
#![expect(unsafe_code, reason = "NVRTC's functions take pointers; their validity is argued at each call")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::PathBuf;

use crate::error::GpuError;
use crate::library::{Library, folder_of_loaded, functions};

type Program = *mut c_void;

functions! {
    /// As in `nvrtc.h`.
    Functions {
        nvrtcVersion(*mut c_int, *mut c_int);
        nvrtcCreateProgram(
            *mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char,
        );
        nvrtcDestroyProgram(*mut Program);
        nvrtcCompileProgram(Program, c_int, *const *const c_char);
        nvrtcGetCUBINSize(Program, *mut usize);
        nvrtcGetCUBIN(Program, *mut c_char);
        nvrtcGetProgramLogSize(Program, *mut usize);
        nvrtcGetProgramLog(Program, *mut c_char);
    }
}

/// NVRTC.
pub struct Nvrtc {
    c: Functions,
    version: (i32, i32),
}

/// Where NVRTC may be: where `AUDIO_THINKER_NVRTC` says; by its name; beside the CUDA runtime that libtorch has loaded;
/// where the packages of CUDA 12 have it.
fn places() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("AUDIO_THINKER_NVRTC").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let names = ["libnvrtc.so.13", "libnvrtc.so.12"];
    let mut places: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
    if let Some(runtime) = folder_of_loaded("libcudart.so") {
        places.extend(names.iter().map(|name| runtime.join(name)));
        places.push(runtime.join("../../cuda_nvrtc/lib/libnvrtc.so.12"));
    }
    places
}

/// Opens the library that NVRTC opens by its bare name when it compiles: where NVRTC has been found by a path, the loader does
/// not know that folder, but it knows what is open already.
fn open_builtins(library: &Library) {
    let Some(folder) = library.place().parent() else { return };
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so") {
            // If this fails, NVRTC says what it lacks.
            let _ = Library::open("NVRTC's built-ins", &[file.path()]);
        }
    }
}

/// A compiled text.
pub struct Compiled {
    /// What the driver loads.
    pub cubin: Vec<u8>,
    /// What the compiler said.
    pub log: String,
}

impl Nvrtc {
    /// Opens NVRTC.
    ///
    /// Errors: [`GpuError::Library`], [`GpuError::Symbol`], [`GpuError::Version`].
    pub fn open() -> Result<Nvrtc, GpuError> {
        Nvrtc::open_at(&places())
    }

    /// Opens the first of these that can be opened.
    pub fn open_at(places: &[PathBuf]) -> Result<Nvrtc, GpuError> {
        let library = Library::open("NVRTC", places)?;
        open_builtins(&library);
        let c = Functions::of(&library)?;
        let mut version = (0, 0);
        // SAFETY: places for the two numbers.
        check("nvrtcVersion", unsafe { (c.nvrtcVersion)(&mut version.0, &mut version.1) })?;
        if version.0 < 12 {
            let found = format!("{}.{}", version.0, version.1);
            return Err(GpuError::Version { library: library.name(), found, needed: "12.0" });
        }
        Ok(Nvrtc { c, version })
    }

    /// Its version, such as 13.0.
    pub fn version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// Compiles a text for an architecture such as `sm_90`.
    ///
    /// Errors: [`GpuError::Compiler`] with the log.
    pub fn compile(&self, text: &str, architecture: &str, options: &[String]) -> Result<Compiled, GpuError> {
        let refused = |log: String| GpuError::Compiler { compiler: format!("NVRTC {}", self.version()), log };
        let c_string = |text: &str| CString::new(text).map_err(|error| refused(error.to_string()));
        let source = c_string(text)?;
        let mut all: Vec<CString> =
            options.iter().map(|option| c_string(option)).collect::<Result<_, _>>()?;
        all.push(c_string(&format!("--gpu-architecture={architecture}"))?);
        let pointers: Vec<*const c_char> = all.iter().map(|option| option.as_ptr()).collect();
        let none = std::ptr::null();
        let mut program = std::ptr::null_mut();
        // SAFETY: the strings outlive the calls; no header is passed; `output` is given matching pairs of functions.
        unsafe {
            let name = c"kernels.cu".as_ptr();
            let status = (self.c.nvrtcCreateProgram)(&mut program, source.as_ptr(), name, 0, none, none);
            check("nvrtcCreateProgram", status)?;
            let status = (self.c.nvrtcCompileProgram)(program, pointers.len() as c_int, pointers.as_ptr());
            let log = output(program, self.c.nvrtcGetProgramLogSize, self.c.nvrtcGetProgramLog);
            let cubin = match status {
                0 => output(program, self.c.nvrtcGetCUBINSize, self.c.nvrtcGetCUBIN),
                status => {
                    Err(GpuError::Call { call: "nvrtcCompileProgram", reason: format!("status {status}") })
                }
            };
            (self.c.nvrtcDestroyProgram)(&mut program);
            let log = log.map(|log| String::from_utf8_lossy(&log).trim_matches(['\0', '\n']).to_owned())?;
            match cubin {
                Ok(cubin) => Ok(Compiled { cubin, log }),
                Err(error) if log.is_empty() => Err(refused(error.to_string())),
                Err(_) => Err(refused(log)),
            }
        }
    }
}

/// # Safety
/// The functions belong together: one says how long an output is, the other copies it.
unsafe fn output(
    program: Program,
    size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    copy: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
) -> Result<Vec<u8>, GpuError> {
    let mut bytes = 0;
    // SAFETY: the buffer has the size that NVRTC asked for.
    unsafe {
        check("nvrtcGet…Size", size(program, &mut bytes))?;
        let mut buffer = vec![0u8; bytes];
        check("nvrtcGet…", copy(program, buffer.as_mut_ptr().cast()))?;
        Ok(buffer)
    }
}

fn check(call: &'static str, status: c_int) -> Result<(), GpuError> {
    match status {
        0 => Ok(()),
        status => Err(GpuError::Call { call, reason: format!("NVRTC's status {status}") }),
    }
}
