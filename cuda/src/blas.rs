//! Matrix products by cuBLAS.
#![expect(unsafe_code, reason = "cuBLAS's functions take pointers; their validity is argued at each call")]

use std::ffi::{c_int, c_void};
use std::path::PathBuf;

use crate::driver::Handle;
use crate::error::GpuError;
use crate::library::{Library, folder_of_loaded, functions};
use crate::op::{Address, Format, Gemm};

functions! {
    /// As in `cublas_v2.h`.
    Functions {
        cublasCreate_v2(*mut Handle);
        cublasDestroy_v2(Handle);
        cublasGetVersion_v2(Handle, *mut c_int);
        cublasSetStream_v2(Handle, Handle);
        cublasSetWorkspace_v2(Handle, *mut c_void, usize);
        cublasGemmEx(
            Handle, c_int, c_int, c_int, c_int, c_int, *const c_void, *const c_void, c_int, c_int, *const c_void, c_int,
            c_int, *const c_void, *mut c_void, c_int, c_int, c_int, c_int,
        );
    }
}

/// The oldest cuBLAS that sums in f32 as its interface says.
const OLDEST: c_int = 110000;

/// What cuBLAS may use beside the operands: as NVIDIA recommends for sm_90. Without it, each captured graph would get its own.
pub(crate) const WORKSPACE: usize = 32 << 20;

/// cuBLAS on one stream. It must be destroyed before its context is.
pub(crate) struct Blas {
    c: Functions,
    handle: Handle,
}

/// cuBLAS as libtorch has loaded it; else by its name; else from where libtorch's packages have it.
pub(crate) fn open() -> Result<Library, GpuError> {
    let name = "cuBLAS";
    if let Some(library) = Library::loaded(name, "cublasGemmEx") {
        return Ok(library);
    }
    let mut places: Vec<PathBuf> = vec!["libcublas.so.13".into(), "libcublas.so.12".into()];
    if let Some(torch) = folder_of_loaded("libtorch_cuda.so") {
        places.push(torch.join("../../nvidia/cu13/lib/libcublas.so.13"));
        places.push(torch.join("../../nvidia/cublas/lib/libcublas.so.12"));
    }
    Library::open(name, &places)
}

impl Blas {
    /// Creates a handle in the current context.
    pub(crate) fn new(library: &Library, stream: Handle, workspace: Address) -> Result<Blas, GpuError> {
        let mut blas = Blas { c: Functions::of(library)?, handle: std::ptr::null_mut() };
        let mut version = 0;
        // SAFETY: places for the results; the stream and the workspace live as long as the handle.
        unsafe {
            check("cublasCreate_v2", (blas.c.cublasCreate_v2)(&mut blas.handle))?;
            check("cublasGetVersion_v2", (blas.c.cublasGetVersion_v2)(blas.handle, &mut version))?;
            if version < OLDEST {
                return Err(GpuError::Version {
                    library: library.name(),
                    found: dotted(version),
                    needed: "11.0",
                });
            }
            check("cublasSetStream_v2", (blas.c.cublasSetStream_v2)(blas.handle, stream))?;
            let place = workspace.0 as *mut c_void;
            check("cublasSetWorkspace_v2", (blas.c.cublasSetWorkspace_v2)(blas.handle, place, WORKSPACE))?;
        }
        Ok(blas)
    }

    /// Gives a product to the stream.
    ///
    /// # Safety
    /// The addresses are valid for the shapes until the stream has finished.
    pub(crate) unsafe fn gemm(&self, gemm: &Gemm, format: Format) -> Result<(), GpuError> {
        let kind = |format| match format {
            Format::F32 => 0,
            Format::Bf16 => 14,
        };
        let (factor, keep) = (1f32, f32::from(u8::from(gemm.accumulate)));
        let pointer = |address: Address| address.0 as *mut c_void;
        let [rows, input, output] = [gemm.rows, gemm.input, gemm.output].map(|size| size as c_int);
        const TRANSPOSED: c_int = 1;
        const PLAIN: c_int = 0;
        const SUM_IN_F32: c_int = 68;
        const ANY_ALGORITHM: c_int = -1;
        // SAFETY: cuBLAS's matrices are column-major, so y (output × rows) = weightᵀ (output × input) · x (input × rows).
        // The factors are read before the call returns.
        let status = unsafe {
            (self.c.cublasGemmEx)(
                self.handle,
                TRANSPOSED,
                PLAIN,
                output,
                rows,
                input,
                (&raw const factor).cast(),
                pointer(gemm.weight),
                kind(format),
                input,
                pointer(gemm.x),
                kind(format),
                input,
                (&raw const keep).cast(),
                pointer(gemm.y),
                kind(gemm.format),
                output,
                SUM_IN_F32,
                ANY_ALGORITHM,
            )
        };
        check("cublasGemmEx", status)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: its own handle. A failure at the end has no consequence.
            unsafe { (self.c.cublasDestroy_v2)(self.handle) };
        }
    }
}

fn check(call: &'static str, status: c_int) -> Result<(), GpuError> {
    let reason = match status {
        0 => return Ok(()),
        1 => "cuBLAS is not initialised",
        3 => "cuBLAS finds no memory",
        7 => "cuBLAS refuses an argument",
        8 => "cuBLAS does not know this architecture",
        13 => "the product failed on the GPU",
        15 => "cuBLAS does not support these types",
        _ => return Err(GpuError::Call { call, reason: format!("cuBLAS's status {status}") }),
    };
    Err(GpuError::Call { call, reason: format!("{reason} (status {status})") })
}

/// 130100 is 13.1.
fn dotted(version: c_int) -> String {
    format!("{}.{}", version / 10000, version / 100 % 100)
}
