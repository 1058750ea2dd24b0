//! Build script of every crate that links an executable. It writes the directory of libtorch into the executable's
//! RUNPATH, so that the executable finds libtorch without `LD_LIBRARY_PATH`, which takes precedence if it is set.

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        let lib = std::fs::canonicalize(&lib).unwrap_or_else(|_| lib.into());
        println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", lib.display());
    }
}
