//! The kernels on the emulation, and compiled by NVRTC; the driver, cuBLAS and NVRTC where they are missing or old.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]
#![expect(unsafe_code, reason = "steps work on addresses, here those of the tests' own tensors")]

mod barriers;
mod common;
mod decoder;
mod kernels;
mod nvrtc;
mod opening;
mod sample;
