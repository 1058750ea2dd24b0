//! The kernels as host code, behind the names of the driver and cuBLAS.
//!
//! One library stands in for all that a [`Gpu`](crate::Gpu) opens, so a program's whole path to the device, with capture and
//! replay, runs on a machine without a GPU. What it can't show is speed, and what real hardware and the real driver refuse.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cubin;
use crate::error::GpuError;
use crate::kernels;
use crate::library::Library;
use crate::op::Format;

const HEADERS: [(&str, &str); 2] = [
    ("emulated.h", include_str!("../emulation/emulated.h")),
    ("machine.h", include_str!("../emulation/machine.h")),
];
const TABLE: &str = include_str!("../emulation/table.cpp");
const MACHINE: &str = include_str!("../emulation/machine.cpp");
const DRIVER: &str = include_str!("../emulation/driver.cpp");

/// Builds the library for a dtype and a head width by g++, a few seconds, unless it is in `folder` already. Device memory is
/// then plain memory: addresses are those of the host.
///
/// Errors: [`GpuError::Compiler`] if there is no g++, or if it fails.
pub fn build(folder: &Path, format: Format, head_width: u32) -> Result<PathBuf, GpuError> {
    build_from(folder, &kernels::source(), format, head_width)
}

/// As [`build`], of another text of the kernels: for tests that change it.
pub fn build_from(folder: &Path, source: &str, format: Format, head_width: u32) -> Result<PathBuf, GpuError> {
    let options = kernels::options(format, head_width)?;
    let headers = [HEADERS[0].1, HEADERS[1].1];
    let rest = compile(folder, "rest", "o", &headers, &format!("{MACHINE}\n{DRIVER}"), &["-c".to_owned()])?;
    let text = format!("{source}\n{TABLE}");
    let rest = rest.to_string_lossy().into_owned();
    let options: Vec<String> = options.into_iter().chain(["-shared".to_owned(), rest]).collect();
    compile(folder, "emulated", "so", &headers, &text, &options)
}

/// Compiles one text into a file that is named by what it is made of, unless it exists.
fn compile(
    folder: &Path,
    name: &str,
    ending: &str,
    headers: &[&str],
    text: &str,
    options: &[String],
) -> Result<PathBuf, GpuError> {
    let all = options.join(" ");
    let parts: Vec<&str> = [text, &all].into_iter().chain(headers.iter().copied()).collect();
    let path = folder.join(format!("{name}-{}.{ending}", cubin::key(&parts)));
    if path.exists() {
        return Ok(path);
    }
    let file = |path: &Path, error: std::io::Error| GpuError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    std::fs::create_dir_all(folder).map_err(|error| file(folder, error))?;
    // Built in a folder of its own and renamed, as several processes may build at once.
    let own = tempfile::tempdir_in(folder).map_err(|error| file(folder, error))?;
    for (name, text) in HEADERS.iter().copied().chain([("text.cpp", text)]) {
        let path = own.path().join(name);
        std::fs::write(&path, text).map_err(|error| file(&path, error))?;
    }
    let mut command = Command::new("g++");
    command.current_dir(own.path()).args([
        "-O1",
        "-fPIC",
        "-fvisibility=hidden",
        "-w",
        "-std=c++17",
        "-DEMULATED",
    ]);
    command.args(["-I.", "-include", "emulated.h", "text.cpp", "-o", "made"]).args(options);
    let failed = |log: String| GpuError::Compiler { compiler: "g++".to_owned(), log };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    std::fs::rename(own.path().join("made"), &path).map_err(|error| file(&path, error))?;
    Ok(path)
}

/// What an emulated driver has been asked for since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Kernels and matrix products that have run, those of replays included.
    pub launches: u64,
    /// Allocations of device memory.
    pub allocations: u64,
    /// Times that the host waited for a stream.
    pub waits: u64,
    /// Steps that were captured.
    pub captures: u64,
    /// Captured steps that were launched.
    pub replays: u64,
}

/// The counts of a library that [`build`] made, which is loaded if it is not yet.
///
/// Errors: [`GpuError::Library`] or [`GpuError::Symbol`] if it is none.
#[expect(unsafe_code, reason = "the library's function writes to a pointer")]
pub fn counts(library: &Path) -> Result<Counts, GpuError> {
    let library = Library::open("the emulated driver", &[library.to_owned()])?;
    let mut counts = [0u64; 5];
    // SAFETY: the type is that of the function in driver.cpp, which writes five numbers.
    unsafe {
        let read: unsafe extern "C" fn(*mut u64) = library.function("emulated_counts")?;
        read(counts.as_mut_ptr());
    }
    let [launches, allocations, waits, captures, replays] = counts;
    Ok(Counts { launches, allocations, waits, captures, replays })
}
