//! What can go wrong between the program and the GPU's libraries.

use std::path::PathBuf;

/// Why a GPU can't be used for captured steps, or what failed on it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// A library can't be opened.
    #[error("{library} can't be opened: {reason}")]
    Library {
        /// Its names, or its path.
        library: String,
        /// What the loader said.
        reason: String,
    },
    /// A library lacks a function.
    #[error("{library} has no function `{name}`: it is too old, or not what its name says")]
    Symbol {
        /// Its name.
        library: String,
        /// The function's.
        name: &'static str,
    },
    /// A library is too old.
    #[error("{library} is version {found}; {needed} or later is needed")]
    Version {
        /// Its name.
        library: String,
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The driver has no device.
    #[error("the driver finds no GPU: {reason}")]
    NoDevice {
        /// The driver's own words.
        reason: String,
    },
    /// There are fewer devices.
    #[error("there is no GPU {ordinal}: the driver finds {count}, counted from 0")]
    Ordinal {
        /// Which was asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// A device is too old.
    #[error("GPU {ordinal} is {architecture}; the kernels need sm_80 or later")]
    Architecture {
        /// Which device.
        ordinal: u32,
        /// What it is.
        architecture: String,
    },
    /// The kernels can't be compiled.
    #[error("{compiler} can't compile the kernels: {log}")]
    Compiler {
        /// NVRTC or g++.
        compiler: String,
        /// What it said.
        log: String,
    },
    /// A compiled kernel can't be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A size that the kernels can't run.
    #[error("{what} is {found}; {needed}")]
    Shape {
        /// Which size.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What it must be.
        needed: String,
    },
    /// A call failed.
    #[error("{call} failed: {reason}")]
    Call {
        /// The function's name.
        call: &'static str,
        /// Its error's name or number, and what the driver says of it.
        reason: String,
    },
}
