//! Build script of every crate that links an executable: writes where libtorch lies into its run path, so that
//! the executable runs by itself. `LD_LIBRARY_PATH` still wins (a RUNPATH, not an RPATH).

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        let lib = std::fs::canonicalize(&lib).unwrap_or_else(|_| lib.into());
        println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", lib.display());
    }
}
