//! The kernels compiled by NVRTC, which needs no GPU: registers, shared memory, and that nothing is spilled. Without NVRTC
//! these tests say so and end: `AUDIO_THINKER_NVRTC` names it, and `make kernels` installs the package that has it.

use std::path::PathBuf;

use cuda::Format;
use cuda::kernels::{HEAD_WIDTHS, NAMES, options, source};
use cuda::nvrtc::Nvrtc;

const ARCHITECTURES: [&str; 5] = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100"];

/// NVRTC where the environment names it, or in the packages that `make kernels` and `make ranks` install.
fn nvrtc() -> Option<Nvrtc> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("AUDIO_THINKER_CACHE")
        .or_else(|| Some(variable("HOME")?.join(".cache/audio-thinker")))
        .unwrap_or_default();
    let environments = ["nvrtc", "torchrun-2.11.0"].map(|name| cache.join(name).join("lib"));
    let pythons = environments.iter().flat_map(std::fs::read_dir).flatten().flatten();
    let installed = pythons.map(|python| python.path().join("site-packages/nvidia/cu13/lib/libnvrtc.so.13"));
    let places: Vec<PathBuf> = variable("AUDIO_THINKER_NVRTC").into_iter().chain(installed).collect();
    match Nvrtc::open_at(&places) {
        Ok(nvrtc) => Some(nvrtc),
        Err(error) => {
            eprintln!("SKIPPED, kernels are not compiled: {error}");
            None
        }
    }
}

/// The number before a word, such as 96 in `Used 96 registers`.
fn before(line: &str, word: &str) -> Option<u32> {
    line.split_once(word)?.0.split_whitespace().last()?.parse().ok()
}

/// Compiles one variant; prints and checks what the compiler says of each kernel.
fn compile(nvrtc: &Nvrtc, architecture: &str, format: Format, width: u32) {
    let mut options = options(format, width).unwrap();
    options.push("--ptxas-options=-v".to_owned());
    let compiled = nvrtc.compile(&source(), architecture, &options).unwrap();
    assert!(compiled.cubin.starts_with(b"\x7fELF"));
    let (mut kernel, mut found) = ("", Vec::new());
    for line in compiled.log.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            kernel = NAMES.into_iter().find(|known| *known == name.trim()).unwrap();
        }
        if let Some(bytes) = before(line, "bytes spill stores") {
            assert_eq!(
                before(line, "bytes stack frame"),
                Some(0),
                "{kernel} {architecture} {format:?} {width}: {line}"
            );
            assert_eq!(bytes, 0, "{kernel} {architecture} {format:?} {width}: {line}");
            assert_eq!(before(line, "bytes spill loads"), Some(0), "{kernel} {architecture}: {line}");
        }
        if let Some(registers) = before(line, "registers") {
            let shared = before(line, "bytes smem").unwrap_or(0);
            assert!(shared <= 48 << 10, "{kernel} shares {shared} bytes");
            found.push(format!("{kernel} {registers}/{shared}"));
        }
    }
    println!("{architecture} {format:?} {width}, registers/shared bytes: {}", found.join(", "));
    assert_eq!(found.len(), NAMES.len(), "{}", compiled.log);
}

#[test]
fn kernels_compile_for_every_architecture_without_spills() {
    let Some(nvrtc) = nvrtc() else { return };
    for architecture in ARCHITECTURES {
        compile(&nvrtc, architecture, Format::Bf16, 128);
    }
    compile(&nvrtc, "sm_90", Format::F32, 128);
    compile(&nvrtc, "sm_90", Format::Bf16, 64);
}

#[test]
#[ignore = "forty compilations: two minutes"]
fn every_variant_compiles_for_every_architecture_without_spills() {
    let Some(nvrtc) = nvrtc() else { return };
    for architecture in ARCHITECTURES {
        for width in HEAD_WIDTHS {
            compile(&nvrtc, architecture, Format::F32, width);
            compile(&nvrtc, architecture, Format::Bf16, width);
        }
    }
}

#[test]
fn a_mistake_in_a_kernel_is_an_error_with_its_line() {
    let Some(nvrtc) = nvrtc() else { return };
    let text = source().replace("const int64 row = blockIdx.y;", "const int64 row = blockIdx.nothing;");
    let error = nvrtc.compile(&text, "sm_90", &options(Format::F32, 64).unwrap()).err().unwrap().to_string();
    assert!(error.contains("can't compile the kernels") && error.contains("swiglu.cu("), "{error}");
}
