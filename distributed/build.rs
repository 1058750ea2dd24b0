//! Compiles the part in C++ (`src/c10d/`) against libtorch's headers, and writes libtorch's directory into the RUNPATH of
//! the tests, as `model/rpath.rs` does for other crates.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/c10d");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // torch-sys, whose build script has run, says where it found libtorch.
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!("cargo:warning=torch-sys does not say where libtorch is; the collectives can't be compiled");
        return;
    };
    let lib = std::fs::canonicalize(&lib).unwrap_or(lib);
    println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", lib.display());
    let include = lib.parent().unwrap_or(Path::new("/")).join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        // libtorch's headers are not ours to correct.
        .warnings(false)
        .include("src/c10d")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None)
        .file("src/c10d/shim.cc")
        .compile("sandbox_c10d");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
}
