//! The kernels: their text, how it is compiled, and how an [`Op`] becomes a launch.

use crate::error::GpuError;
use crate::op::{Address, Attend, Embed, Format, LoraB, Norm, Op, Rotate, Sample, SwiGlu};

/// The parts of the text, in order: file name and content.
pub const FILES: [(&str, &str); 6] = [
    ("common.cu", include_str!("../kernels/common.cu")),
    ("norm.cu", include_str!("../kernels/norm.cu")),
    ("rotate.cu", include_str!("../kernels/rotate.cu")),
    ("attend.cu", include_str!("../kernels/attend.cu")),
    ("swiglu.cu", include_str!("../kernels/swiglu.cu")),
    ("sample.cu", include_str!("../kernels/sample.cu")),
];

/// The names of the kernels.
pub const NAMES: [&str; 7] = ["embed", "rms_norm", "rotate", "attend", "swiglu", "swiglu_lora", "sample"];

/// Head widths that the kernels can be compiled for.
pub const HEAD_WIDTHS: [u32; 4] = [16, 32, 64, 128];

/// Greatest rank of an adapter.
pub const MAX_RANK: u32 = 128;

/// Most blocks that can share a row's logits: a thread of the last block for each.
pub const MAX_SAMPLE_SPLITS: u32 = 256;

/// Queries that a block of `attend` has at most.
pub const QUERIES: u32 = 8;

const NORM_THREADS: u32 = 512;
const ATTEND_THREADS: u32 = 128;
const SWIGLU_THREADS: u32 = 128;
const SWIGLU_ROWS: u32 = 8;
const SAMPLE_THREADS: u32 = 256;
/// Rows that `rotate` has blocks for; further ones are done by the same blocks, one after another.
const ROTATE_ROWS: u32 = 16;

/// The whole text. Errors of a compiler name the file.
pub fn source() -> String {
    FILES.iter().map(|(name, text)| format!("#line 1 \"{name}\"\n{text}")).collect()
}

/// The options of a compiler for a dtype and a head width.
///
/// Errors: [`GpuError::Shape`] for a width that is not in [`HEAD_WIDTHS`].
pub fn options(format: Format, head_width: u32) -> Result<Vec<String>, GpuError> {
    if !HEAD_WIDTHS.contains(&head_width) {
        return Err(shape(
            "the width of a head",
            head_width,
            "the kernels know 16, 32, 64 and 128".to_owned(),
        ));
    }
    let element = match format {
        Format::F32 => "float",
        Format::Bf16 => "bf16",
    };
    Ok(vec!["-std=c++17".to_owned(), format!("-DELEMENT={element}"), format!("-DWIDTH={head_width}")])
}

/// One launch.
pub(crate) struct Launch {
    /// Index in [`NAMES`].
    pub(crate) kernel: usize,
    pub(crate) grid: [u32; 3],
    pub(crate) threads: u32,
    pub(crate) arguments: Arguments,
}

/// The arguments of a launch, each in its own slot.
pub(crate) struct Arguments(Vec<[u64; 6]>);

/// What a kernel takes by value. Safe to copy as bytes: none has padding.
#[derive(Clone, Copy)]
enum Argument {
    Address(Address),
    Int(u32),
    Float(f32),
    Lora(Option<LoraB>),
}

impl Arguments {
    /// A pointer to each argument, for cuLaunchKernel.
    pub(crate) fn pointers(&mut self) -> Vec<*mut std::ffi::c_void> {
        self.0.iter_mut().map(|slot| slot.as_mut_ptr().cast()).collect()
    }

    fn new(arguments: &[Argument]) -> Arguments {
        Arguments(arguments.iter().map(Argument::slot).collect())
    }
}

impl Argument {
    /// Its bytes as the kernel reads them, from the start of the slot.
    fn slot(&self) -> [u64; 6] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        match *self {
            Argument::Address(address) => [address.0, 0, 0, 0, 0, 0],
            Argument::Int(number) => [number.into(), 0, 0, 0, 0, 0],
            Argument::Float(number) => [number.to_bits().into(), 0, 0, 0, 0, 0],
            Argument::Lora(None) => [0; 6],
            // As `Lora` in common.cu.
            Argument::Lora(Some(lora)) => {
                let [(f0, r0), (f1, r1), (f2, r2)] = lora.parts;
                let first = pair(lora.ranks, lora.scale.to_bits());
                [lora.b.0, lora.inner.0, first, pair(f0, f1), pair(f2, r0), pair(r1, r2)]
            }
        }
    }
}

macro_rules! arguments {
    ($($kind:ident $value:expr),* $(,)?) => { Arguments::new(&[$(Argument::$kind($value)),*]) };
}

/// The launch of an op; `None` for a matrix product.
///
/// Errors: [`GpuError::Shape`] for sizes that the kernel can't run.
pub(crate) fn launch(op: &Op, format: Format, head_width: u32) -> Result<Option<Launch>, GpuError> {
    match op {
        Op::Embed(op) => embed(op, format),
        Op::Norm(op) => norm(op, format),
        Op::Rotate(op) => rotate(op, head_width),
        Op::Attend(op) => attend(op),
        Op::SwiGlu(op) => swiglu(op, format),
        Op::Sample(op) => sample(op),
        Op::Gemm(op) => {
            let sizes = [("rows", op.rows), ("input", op.input), ("output", op.output)];
            return sizes.iter().try_for_each(|(what, size)| positive(what, *size)).map(|()| None);
        }
    }
    .map(Some)
}

fn shape(what: &'static str, found: impl Into<u64>, needed: String) -> GpuError {
    GpuError::Shape { what, found: found.into(), needed }
}

fn positive(what: &'static str, found: u32) -> Result<(), GpuError> {
    if found == 0 { Err(shape(what, found, "it must be above 0".to_owned())) } else { Ok(()) }
}

fn multiple(what: &'static str, found: u32, of: u32) -> Result<(), GpuError> {
    positive(what, found)?;
    if !found.is_multiple_of(of) {
        return Err(shape(what, found, format!("it must be a multiple of {of}")));
    }
    Ok(())
}

/// Checks addresses at which kernels load packs.
fn aligned(addresses: &[Address]) -> Result<(), GpuError> {
    match addresses.iter().find(|address| !address.0.is_multiple_of(16)) {
        Some(address) => {
            Err(shape("the address of a tensor", address.0, "it must be a multiple of 16".to_owned()))
        }
        None => Ok(()),
    }
}

/// Checks an adapter with this number of projections.
fn check_lora(lora: &Option<LoraB>, parts: usize) -> Result<(), GpuError> {
    let Some(lora) = lora else { return Ok(()) };
    for &(first, rank) in &lora.parts[..parts] {
        if rank > MAX_RANK {
            return Err(shape("the rank of an adapter", rank, format!("it must be at most {MAX_RANK}")));
        }
        if first + rank > lora.ranks {
            return Err(shape(
                "the end of an adapter's block",
                first + rank,
                format!("B has {} columns", lora.ranks),
            ));
        }
    }
    Ok(())
}

fn embed(op: &Embed, format: Format) -> Result<Launch, GpuError> {
    multiple("the width of the residual stream", op.width, format.pack())?;
    positive("the number of rows", op.rows)?;
    aligned(&[op.table, op.weight, op.x, op.normal])?;
    let arguments = arguments![
        Address op.ids, Address op.table, Address op.weight, Address op.x, Address op.normal, Int op.vocabulary,
        Int op.width, Float op.eps,
    ];
    Ok(Launch { kernel: 0, grid: [op.rows, 1, 1], threads: NORM_THREADS, arguments })
}

fn norm(op: &Norm, format: Format) -> Result<Launch, GpuError> {
    multiple("the width of the residual stream", op.width, format.pack())?;
    positive("the number of rows", op.rows)?;
    check_lora(&op.lora, 1)?;
    aligned(&[op.x, op.weight, op.normal])?;
    let arguments = arguments![
        Address op.x, Lora op.lora, Address op.weight, Address op.normal, Address op.factor, Int op.width, Float op.eps,
    ];
    Ok(Launch { kernel: 1, grid: [op.rows, 1, 1], threads: NORM_THREADS, arguments })
}

/// Checks heads and rows that `rotate` and `attend` have in common.
fn check_heads(query_heads: u32, key_heads: u32, rows: u32, group: u32) -> Result<(), GpuError> {
    positive("the number of key heads", key_heads)?;
    multiple("the number of query heads", query_heads, key_heads)?;
    positive("the rows of a prompt", group)?;
    multiple("the number of rows", rows, group)
}

fn rotate(op: &Rotate, head_width: u32) -> Result<Launch, GpuError> {
    check_heads(op.query_heads, op.key_heads, op.rows, op.group)?;
    positive("the capacity of the cache", op.capacity)?;
    check_lora(&op.lora, 3)?;
    let arguments = arguments![
        Address op.qkv, Address op.bias, Lora op.lora, Address op.query_norm, Address op.key_norm, Float op.eps,
        Address op.cos, Address op.sin, Address op.positions, Address op.lengths, Address op.finished,
        Address op.queries, Address op.keys, Address op.values, Int op.query_heads, Int op.key_heads, Int op.rows,
        Int op.group, Int op.capacity,
    ];
    let grid = [op.query_heads + 2 * op.key_heads, op.rows.min(ROTATE_ROWS), 1];
    Ok(Launch { kernel: 2, grid, threads: head_width.max(32), arguments })
}

fn attend(op: &Attend) -> Result<Launch, GpuError> {
    check_heads(op.query_heads, op.key_heads, op.rows, op.group)?;
    positive("the blocks that share a prompt", op.prompt_splits)?;
    positive("the blocks that share a row's own tokens", op.own_splits)?;
    aligned(&[op.queries, op.prompt_keys, op.prompt_values, op.keys, op.values])?;
    let repeat = op.query_heads / op.key_heads;
    let of_prompts = op.rows / op.group * (op.group * repeat).div_ceil(QUERIES) * op.prompt_splits;
    let of_rows = op.rows * repeat.div_ceil(QUERIES) * op.own_splits;
    let arguments = arguments![
        Address op.queries, Address op.prompt_keys, Address op.prompt_values, Address op.prompt_starts,
        Address op.prompt_ends, Address op.keys, Address op.values, Address op.lengths, Address op.finished,
        Address op.parts, Address op.arrived, Address op.out, Int op.query_heads, Int op.rows, Int op.group,
        Int op.prompt_capacity, Int op.capacity, Int op.prompt_splits, Int op.own_splits, Float op.scale,
    ];
    Ok(Launch {
        kernel: 3,
        grid: [of_prompts + of_rows, op.key_heads, 1],
        threads: ATTEND_THREADS,
        arguments,
    })
}

fn swiglu(op: &SwiGlu, format: Format) -> Result<Launch, GpuError> {
    multiple("the width of the feed-forward layers", op.width, format.pack())?;
    positive("the number of rows", op.rows)?;
    check_lora(&op.lora, 2)?;
    aligned(&[op.gate_up, op.hidden])?;
    if op.lora.is_none() {
        let grid = [(op.width / format.pack()).div_ceil(SWIGLU_THREADS), op.rows, 1];
        let arguments = arguments![Address op.gate_up, Address op.hidden, Int op.width];
        return Ok(Launch { kernel: 4, grid, threads: SWIGLU_THREADS, arguments });
    }
    let grid = [op.width.div_ceil(SWIGLU_THREADS), op.rows.div_ceil(SWIGLU_ROWS), 1];
    let arguments =
        arguments![Address op.gate_up, Lora op.lora, Address op.hidden, Int op.rows, Int op.width];
    Ok(Launch { kernel: 5, grid, threads: SWIGLU_THREADS, arguments })
}

fn sample(op: &Sample) -> Result<Launch, GpuError> {
    positive("the number of rows", op.rows)?;
    positive("the number of ids", op.vocabulary)?;
    positive("the blocks that share a row's logits", op.splits)?;
    if op.splits > MAX_SAMPLE_SPLITS {
        let needed = format!("it must be at most {MAX_SAMPLE_SPLITS}");
        return Err(shape("the blocks that share a row's logits", op.splits, needed));
    }
    let arguments = arguments![
        Address op.logits, Address op.allowed, Address op.uniforms, Address op.column, Address op.forced, Address op.eos,
        Address op.settings, Address op.ids, Address op.lengths, Address op.positions, Address op.finished,
        Address op.drawn, Address op.logprobs, Address op.parts, Address op.arrived, Int op.vocabulary,
        Int op.eos_count, Int op.columns, Int op.record,
    ];
    Ok(Launch { kernel: 6, grid: [op.splits, op.rows, 1], threads: SAMPLE_THREADS, arguments })
}
