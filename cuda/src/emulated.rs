//! The kernels as host code, behind the names of the driver and cuBLAS.

use std::path::{Path, PathBuf};

use crate::error::GpuError;
use crate::op::Format;

/// Builds the library for a dtype and a head width by g++, a few seconds, unless it is in `folder` already. Device memory is
/// then plain memory: addresses are those of the host.
///
/// Errors: [`GpuError::Compiler`] if there is no g++, or if it fails.
pub fn build(folder: &Path, format: Format, head_width: u32) -> Result<PathBuf, GpuError> {
    todo!()
}
