//! Compiles the part in C++ (`src/memory/shim.cc`) against libtorch's headers, and writes libtorch's directory into the RUNPATH
//! of the tests, as `rpath.rs` does for other crates.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/memory/shim.cc");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // torch-sys, whose build script has run, says where it found libtorch.
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!("cargo:warning=torch-sys does not say where libtorch is; memory can't be measured");
        return;
    };
    let lib = std::fs::canonicalize(&lib).unwrap_or(lib);
    println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", lib.display());
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        // libtorch's headers are not ours to correct.
        .warnings(false)
        .include(lib.parent().unwrap_or(Path::new("/")).join("include"))
        .file("src/memory/shim.cc")
        .compile("sandbox_memory");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=dylib=c10");
}
