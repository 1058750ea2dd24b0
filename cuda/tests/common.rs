//! What the tests of the kernels share: emulated devices, tensors in plain memory, and numbers rounded as the kernels round.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use cuda::op::{LoraB, Op, Settings};
use cuda::{Address, Format, Gpu, GpuError, Libraries, Step, emulated};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where the emulated libraries are built, once for all tests.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// An emulated device, and the library behind it.
#[derive(Clone)]
pub struct Emulated {
    pub gpu: Gpu,
    pub path: PathBuf,
}

/// The device for a dtype and a head width; `None` without g++, which is said.
pub fn emulated(format: Format, width: u32) -> Option<Emulated> {
    static OPEN: OnceLock<Mutex<HashMap<(Format, u32), Emulated>>> = OnceLock::new();
    let mut open = OPEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = open.get(&(format, width)) {
        return Some(found.clone());
    }
    if std::process::Command::new("g++").arg("--version").output().is_err() {
        eprintln!("SKIPPED, the kernels are not tested: there is no g++");
        return None;
    }
    let path = emulated::build(folder(), format, width).unwrap();
    let opened = Emulated::open(&path, format, width).unwrap();
    open.insert((format, width), opened.clone());
    Some(opened)
}

impl Emulated {
    pub fn open(path: &Path, format: Format, width: u32) -> Result<Emulated, GpuError> {
        let gpu = Gpu::open(&Libraries::Emulated(path.to_owned()), 0, format, width)?;
        Ok(Emulated { gpu, path: path.to_owned() })
    }

    /// In which order threads and blocks run: 0 forwards, 1 backwards, else a seed.
    pub fn order(&self, order: u32) {
        call(&self.path, b"emulated_order\0", |set: unsafe extern "C" fn(u32)| unsafe { set(order) });
    }

    /// Runs ops one after another, and waits.
    pub fn run(&self, ops: &[Op]) -> Result<(), GpuError> {
        let mut step = Step::new();
        ops.iter().for_each(|op| step.push(*op));
        // SAFETY: the tensors of a test outlive the call, which works on one thread.
        unsafe { self.gpu.run(&step) }?;
        self.gpu.synchronize()
    }
}

/// Calls a function of an emulated library.
pub fn call<T>(path: &Path, name: &[u8], with: impl FnOnce(T))
where
    T: Copy,
{
    // SAFETY: the library is open already; callers state the types of driver.cpp.
    unsafe {
        let library = libloading::Library::new(path).unwrap();
        with(*library.get::<T>(name).unwrap());
    }
}

/// The type of a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    F32,
    Bf16,
    F64,
    I32,
    I64,
    U8,
}

impl From<Format> for Kind {
    fn from(format: Format) -> Kind {
        match format {
            Format::F32 => Kind::F32,
            Format::Bf16 => Kind::Bf16,
        }
    }
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Kind::U8 => 1,
            Kind::Bf16 => 2,
            Kind::F32 | Kind::I32 => 4,
            Kind::F64 | Kind::I64 => 8,
        }
    }
}

/// Numbers in memory, aligned as a device's.
#[derive(Clone)]
pub struct Tensor {
    kind: Kind,
    length: usize,
    memory: Vec<u128>,
}

impl Tensor {
    /// Rounds the values to the type.
    pub fn new(kind: impl Into<Kind>, values: &[f64]) -> Tensor {
        let kind = kind.into();
        let mut bytes = Vec::with_capacity(values.len() * kind.bytes() + 16);
        for &value in values {
            match kind {
                Kind::F32 => bytes.extend((value as f32).to_ne_bytes()),
                Kind::Bf16 => bytes.extend(bf16(value as f32).to_ne_bytes()),
                Kind::F64 => bytes.extend(value.to_ne_bytes()),
                Kind::I32 => bytes.extend((value as i32).to_ne_bytes()),
                Kind::I64 => bytes.extend((value as i64).to_ne_bytes()),
                Kind::U8 => bytes.push(value as u8),
            }
        }
        bytes.resize(bytes.len().div_ceil(16).max(1) * 16, 0);
        let memory = bytes.chunks(16).map(|chunk| u128::from_ne_bytes(chunk.try_into().unwrap())).collect();
        Tensor { kind, length: values.len(), memory }
    }

    /// One [`Settings`], as the kernels read it.
    pub fn settings(settings: &Settings) -> Tensor {
        let Settings { factor, divisor, greedy, limit } = *settings;
        let mut tensor = Tensor::filled(Kind::I32, 4, 0.0);
        let words = [factor.to_bits(), divisor.to_bits(), greedy as u32, limit as u32];
        tensor.memory[0] = words.iter().rev().fold(0, |all, &word| all << 32 | u128::from(word));
        tensor
    }

    /// `count` times the same value.
    pub fn filled(kind: impl Into<Kind>, count: usize, value: f64) -> Tensor {
        Tensor::new(kind, &vec![value; count])
    }

    pub fn address(&self) -> Address {
        Address::from(self.memory.as_ptr().cast_mut())
    }

    /// Overwrites the numbers in place.
    pub fn restore(&mut self, from: &Tensor) {
        self.memory.copy_from_slice(&from.memory);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let all = self.memory.iter().flat_map(|chunk| chunk.to_ne_bytes());
        all.take(self.length * self.kind.bytes()).collect()
    }

    pub fn values(&self) -> Vec<f64> {
        let bytes = self.bytes();
        let number = |bytes: &[u8]| match self.kind {
            Kind::F32 => f32::from_ne_bytes(bytes.try_into().unwrap()).into(),
            Kind::Bf16 => {
                f32::from_bits(u32::from(u16::from_ne_bytes(bytes.try_into().unwrap())) << 16).into()
            }
            Kind::F64 => f64::from_ne_bytes(bytes.try_into().unwrap()),
            Kind::I32 => i32::from_ne_bytes(bytes.try_into().unwrap()).into(),
            Kind::I64 => i64::from_ne_bytes(bytes.try_into().unwrap()) as f64,
            Kind::U8 => bytes[0].into(),
        };
        bytes.chunks(self.kind.bytes()).map(number).collect()
    }
}

/// The upper half of an f32, rounded to the nearest, ties to even.
pub fn bf16(x: f32) -> u16 {
    if x.is_nan() {
        return 0x7fff;
    }
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// A value as the model's dtype stores it.
pub fn rounded(format: Format, x: f64) -> f64 {
    match format {
        Format::F32 => (x as f32).into(),
        Format::Bf16 => f32::from_bits(u32::from(bf16(x as f32)) << 16).into(),
    }
}

/// Compares what a kernel wrote with what it should have: f32 within 1e-5 of `size`, bf16 within one unit in the last place
/// of `size`, which is the value, or the largest term of a sum in which others cancel.
#[track_caller]
pub fn assert_close(format: Format, what: &str, found: &[f64], expected: &[(f64, f64)]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (&found, &(value, size))) in found.iter().zip(expected).enumerate() {
        let size = size.abs().max(value.abs());
        let allowed = match format {
            Format::F32 => 1e-5 * size.max(1.0),
            Format::Bf16 => 2f64.powf(size.max(1e-30).log2().floor() - 7.0),
        };
        assert!((found - value).abs() <= allowed, "{what} [{index}]: {found}, not {value} (± {allowed})");
    }
}

/// A random number generator for one shape.
pub fn chance(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Random numbers around 0 as the dtype stores them.
pub fn numbers(chance: &mut ChaCha8Rng, format: Format, count: usize, size: f64) -> Vec<f64> {
    (0..count).map(|_| rounded(format, size * (chance.random::<f64>() * 2.0 - 1.0))).collect()
}

/// Both dtypes with all head widths.
pub fn variants() -> impl Iterator<Item = (Format, u32)> {
    [Format::F32, Format::Bf16].into_iter().flat_map(|format| [16, 32, 64, 128].map(|width| (format, width)))
}

/// An adapter's numbers: `inner`, `[rows, ranks]`, and B, with NaN beside the blocks.
pub struct Adapter {
    inner: Tensor,
    b: Tensor,
    /// The numbers of both.
    values: [Vec<f64>; 2],
    outputs: Vec<usize>,
    ranks: Vec<usize>,
    scale: f64,
    format: Format,
}

impl Adapter {
    pub fn random(
        chance: &mut ChaCha8Rng,
        format: Format,
        rows: usize,
        outputs: &[usize],
        ranks: &[usize],
    ) -> Adapter {
        let width: usize = ranks.iter().sum();
        let mut b = vec![f64::NAN; outputs.iter().sum::<usize>() * width];
        let (mut row, mut column) = (0, 0);
        for (&output, &rank) in outputs.iter().zip(ranks) {
            for index in row..row + output {
                b[index * width + column..][..rank].copy_from_slice(&numbers(chance, format, rank, 0.3));
            }
            (row, column) = (row + output, column + rank);
        }
        let inner = numbers(chance, Format::F32, rows * width, 1.0);
        Adapter {
            inner: Tensor::new(Kind::F32, &inner),
            b: Tensor::new(format, &b),
            values: [inner, b],
            outputs: outputs.to_vec(),
            ranks: ranks.to_vec(),
            scale: 0.75,
            format,
        }
    }

    /// `None` where all ranks are 0.
    pub fn op(&self) -> Option<LoraB> {
        let mut parts = [(0, 0); 3];
        let mut first = 0;
        for (part, &rank) in parts.iter_mut().zip(&self.ranks) {
            *part = (first, rank as u32);
            first += rank as u32;
        }
        let [inner, b] = [self.inner.address(), self.b.address()];
        (first > 0).then_some(LoraB { inner, b, ranks: first, parts, scale: self.scale as f32 })
    }

    /// `base + B·inner` of one output, rounded where there is an adapter, with the size of its largest part.
    pub fn added(&self, row: usize, output: usize, base: f64) -> (f64, f64) {
        let (mut start, mut column, mut part) = (0, 0, 0);
        while output >= start + self.outputs[part] {
            (start, column, part) = (start + self.outputs[part], column + self.ranks[part], part + 1);
        }
        let (width, rank) = (self.ranks.iter().sum::<usize>(), self.ranks[part]);
        if rank == 0 {
            return (base, base);
        }
        let [inner, b] = &self.values;
        let stored = |x: f64| rounded(self.format, rounded(self.format, x) * self.scale);
        let product = |at: usize| stored(inner[row * width + column + at]) * b[output * width + column + at];
        let sum: f64 = (0..rank).map(product).sum();
        (rounded(self.format, base + sum), sum.abs().max(base.abs()))
    }
}
