//! What a user reads where a library is missing, too old or without a GPU; and what an open device does.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Emulated, Kind, Tensor, call, emulated, folder};
use cuda::op::{Gemm, Op, SwiGlu};
use cuda::{Format, Gpu, GpuError, Libraries, RawStream, Step};

/// Compiles a library of these lines of C.
fn library(name: &str, text: &str) -> Option<PathBuf> {
    let (source, made) = (folder().join(format!("{name}.c")), folder().join(format!("{name}.so")));
    std::fs::write(&source, text).unwrap();
    let built = Command::new("g++").args(["-shared", "-fPIC", "-o"]).arg(&made).arg(&source).status();
    built.is_ok_and(|status| status.success()).then_some(made)
}

fn message(libraries: &Libraries) -> String {
    let error = Gpu::open(libraries, 0, Format::F32, 32).err().unwrap().to_string();
    assert!(!error.contains('\n') && !error.ends_with('.'), "{error}");
    error
}

#[test]
fn without_a_driver_there_is_one_clean_line() {
    // SAFETY: only asks whether it is there.
    if unsafe { libloading::Library::new("libcuda.so.1") }.is_ok() {
        eprintln!("SKIPPED: this machine has a driver");
        return;
    }
    let error = message(&Libraries::Installed);
    assert!(
        error.starts_with("libcuda.so.1 can't be opened: libcuda.so.1: cannot open shared object"),
        "{error}"
    );
}

#[test]
fn a_library_that_is_missing_or_of_another_kind_is_named() {
    let error = message(&Libraries::Emulated("/nonexistent/driver.so".into()));
    assert!(error.starts_with("the emulated driver can't be opened: /nonexistent/driver.so"), "{error}");
    let Some(path) = library("empty", "") else { return };
    let error = message(&Libraries::Emulated(path));
    assert_eq!(
        error,
        "the emulated driver has no function `cuInit`: it is too old, or not what its name says"
    );
}

#[test]
fn old_versions_and_missing_devices_are_said() {
    let Some(device) = emulated(Format::F32, 32) else { return };
    // A copy of its own, as other tests open devices at the same time.
    let path = folder().join(format!("versions-{}.so", std::process::id()));
    std::fs::copy(&device.path, &path).unwrap();
    let libraries = Libraries::Emulated(path.clone());
    let versions = |driver: i32, blas: i32, devices: i32| {
        // SAFETY: the library has not been opened yet the first time; it stays open.
        std::mem::forget(unsafe { libloading::Library::new(&path) }.unwrap());
        call(&path, b"emulated_versions\0", |set: unsafe extern "C" fn(i32, i32, i32)| unsafe {
            set(driver, blas, devices);
        });
        Gpu::open(&libraries, 0, Format::F32, 32).err().map(|error| error.to_string())
    };
    let old = versions(11080, 130100, 1).unwrap();
    assert_eq!(old, "the emulated driver is version 11.8; 12.0 or later is needed");
    let none = versions(13000, 130100, 0).unwrap();
    assert_eq!(none, "the driver finds no GPU: no CUDA-capable device is detected (100)");
    let blas = versions(13000, 100200, 1).unwrap();
    assert_eq!(blas, "the emulated driver is version 10.2; 11.0 or later is needed");
    assert_eq!(versions(13000, 130100, 1), None);
    let error = Gpu::open(&libraries, 3, Format::F32, 32).err().unwrap();
    assert_eq!(error.to_string(), "there is no GPU 3: the driver finds 1, counted from 0");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn sizes_that_no_kernel_knows_are_refused() {
    let error = Gpu::open(&Libraries::Installed, 0, Format::F32, 80).err().unwrap();
    assert_eq!(error.to_string(), "the width of a head is 80; the kernels know 16, 32, 64 and 128");
    let null = cuda::Address::NULL;
    let mut step = Step::new();
    step.push(Op::SwiGlu(SwiGlu { gate_up: null, lora: None, hidden: null, rows: 1, width: 12 }));
    assert!(step.check(Format::F32, 32).is_ok());
    let error = step.check(Format::Bf16, 32).unwrap_err().to_string();
    assert_eq!(error, "the width of the feed-forward layers is 12; it must be a multiple of 8");
    let mut step = Step::new();
    let odd = cuda::Address(4104);
    step.push(Op::SwiGlu(SwiGlu { gate_up: odd, lora: None, hidden: null, rows: 1, width: 16 }));
    let error = step.check(Format::Bf16, 32).unwrap_err().to_string();
    assert_eq!(error, "the address of a tensor is 4104; it must be a multiple of 16");
}

/// `y += silu(gate)·up · weightᵀ` over one row of 4, with the identity as weight.
struct Small {
    device: Emulated,
    _tensors: [Tensor; 3],
    y: Tensor,
    step: Step,
}

fn small() -> Option<Small> {
    let device = emulated(Format::F32, 32)?;
    let gate_up = Tensor::new(Kind::F32, &[0.0, 1.0, 2.0, -1.0, 1.0, 2.0, 3.0, 4.0]);
    let identity: Vec<f64> = (0..16).map(|at| f64::from(u8::from(at % 5 == 0))).collect();
    let (weight, hidden) = (Tensor::new(Kind::F32, &identity), Tensor::filled(Kind::F32, 4, f64::NAN));
    let y = Tensor::filled(Kind::F32, 4, 0.0);
    let mut step = Step::new();
    let [from, to] = [&gate_up, &hidden].map(Tensor::address);
    step.push(Op::SwiGlu(SwiGlu { gate_up: from, lora: None, hidden: to, rows: 1, width: 4 }));
    let (weight_at, y_at, format) = (weight.address(), y.address(), Format::F32);
    step.push(Op::Gemm(Gemm {
        x: to,
        weight: weight_at,
        y: y_at,
        format,
        rows: 1,
        input: 4,
        output: 4,
        accumulate: true,
    }));
    Some(Small { device, _tensors: [gate_up, weight, hidden], y, step })
}

#[test]
fn a_captured_step_is_replayed_as_it_is() {
    let Some(Small { device, _tensors, y, step }) = small() else { return };
    // silu(1) = 0.731059, silu(2) = 1.761594, silu(-1) = -0.268941: times 2, 3, 4.
    let once = [0.0, 1.462117, 5.284783, -1.075766];
    let is = |times: f64| {
        y.values()
            .iter()
            .zip(once)
            .for_each(|(y, x)| assert!((y - times * x).abs() < 1e-5, "{y} {times} {x}"));
    };
    // SAFETY: the tensors outlive the graph.
    unsafe {
        let graph = device.gpu.capture(&step).unwrap();
        is(0.0);
        assert_eq!((graph.nodes(), step.launches()), (2, 2));
        graph.replay().unwrap();
        graph.replay().unwrap();
        device.gpu.synchronize().unwrap();
        is(2.0);
        device.gpu.run(&step).unwrap();
        device.gpu.wait_for(RawStream::LEGACY).unwrap();
        device.gpu.let_wait(RawStream::LEGACY).unwrap();
        device.gpu.synchronize().unwrap();
        is(3.0);
    }
}

#[test]
fn a_capture_that_fails_leaves_the_device_usable() {
    let Some(Small { device, _tensors, y, mut step }) = small() else { return };
    let good = step.clone();
    let null = cuda::Address::NULL;
    step.push(Op::SwiGlu(SwiGlu { gate_up: null, lora: None, hidden: null, rows: 0, width: 4 }));
    // SAFETY: the tensors outlive the graph; the op with null addresses is refused.
    unsafe {
        let error = device.gpu.capture(&step).err().unwrap();
        assert!(matches!(error, GpuError::Shape { .. }), "{error}");
        device.gpu.run(&good).unwrap();
        device.gpu.capture(&good).unwrap();
    }
    device.gpu.synchronize().unwrap();
    assert!((y.values()[1] - 1.462117).abs() < 1e-5);
}

#[test]
fn buffers_are_zero_at_first_and_keep_what_is_uploaded() {
    let Some(device) = emulated(Format::F32, 32) else { return };
    let buffer = device.gpu.alloc(16).unwrap();
    assert_eq!(buffer.download::<f32>(4).unwrap(), [0.0; 4]);
    buffer.upload(&[1i64, -2]).unwrap();
    assert_eq!(buffer.download::<i64>(2).unwrap(), [1, -2]);
    assert_eq!(buffer.download_from::<i64>(1, 1).unwrap(), [-2]);
    let error = buffer.upload(&[0f64; 3]).unwrap_err().to_string();
    assert_eq!(error, "the size of a copy in bytes is 24; the buffer has 16");
    assert!(buffer.download::<u8>(17).is_err());
}
