//! One decoding step of a Llama, Qwen2 or Qwen3 decoder as few kernels, run one by one or as a CUDA graph.
//!
//! - A [`Gpu`] is a device with the C libraries that drive it: the driver, cuBLAS, and NVRTC, which compiles the kernels.
//!   None of them is linked: they are opened when a GPU is asked for, so the same program starts on a machine without one.
//! - A [`Step`] is a list of launches and matrix products ([`op`]) over memory that stays in place. It can be run, or
//!   captured once as a [`Graph`] and replayed.
//! - A [`Decoder`] records the step of a whole decoder: it owns the state of a generation and what lies between the
//!   kernels; weights and caches are the caller's.
//! - [`emulated`] builds the same kernels as host code behind the driver's and cuBLAS's names, so that all of this can
//!   be run on a CPU.
//!
//! Everything that differs from one step to the next is in device memory: a graph is replayed as it is, while the kernels
//! advance ids, positions and lengths.
//!
//! - `CUDA-1` A value is rounded to the model's dtype where the plain path rounds it, in the same order; only attention
//!   keeps its scores and weights in f32 (docs/gpu.md).
//! - `CUDA-2` A token is drawn as the plain path draws it (SAMPLE-1, SAMPLE-2): same random number, same law.
//! - `CUDA-3` No result depends on the order in which threads and blocks run.
//! - `CUDA-4` A layer takes 9 launches, and one more for each of its four groups of projections that has an adapter.
#![warn(missing_docs)]

mod blas;
mod buffer;
mod cubin;
pub mod decoder;
mod device;
mod driver;
pub mod emulated;
mod error;
mod gpu;
pub mod kernels;
mod library;
pub mod nvrtc;
pub mod op;
mod step;

pub use buffer::{Buffer, Number};
pub use decoder::Decoder;
pub use device::Libraries;
pub use error::GpuError;
pub use gpu::{Gpu, Graph, RawStream};
pub use op::{Address, Format, Settings};
pub use step::Step;
