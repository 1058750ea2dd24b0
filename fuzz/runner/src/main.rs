//! `fuzz-runner`: runs fuzz targets on stable Rust. See `fuzz/README.md`.

use std::alloc::System;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cap::Cap;
use clap::Parser;

use fuzz_runner::campaign::{Campaign, Outcome};
use fuzz_runner::{Finding, Mutator, TARGETS, Target, child, find};

/// Most memory that a target may have allocated at a time, in bytes. Beyond it an allocation fails, which ends the child.
const MOST_MEMORY: usize = 1 << 30;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Feed mutated inputs to every parser of untrusted bytes, and report panics, hangs and large allocations.
#[derive(Parser)]
struct Options {
    /// Run only this target; may be repeated
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Number of inputs of each target
    #[arg(long, default_value_t = 100_000)]
    inputs: u64,
    /// The seed that determines all inputs
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Child processes at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Longest time of one input, in milliseconds [default: 1000; 5000 in a debug build]
    #[arg(long, default_value_t = if cfg!(debug_assertions) { 5000 } else { 1000 }, hide_default_value = true)]
    limit_ms: u64,
    /// Folder for the inputs that fail
    #[arg(long, default_value = "fuzz/findings")]
    findings: PathBuf,
    /// List the targets and exit
    #[arg(long)]
    list: bool,
    /// Feed these files to the target instead
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Of a child: the numbers of its inputs, FROM..TO
    #[arg(long, hide = true)]
    range: Option<String>,
    /// Of a child: the file for the number of the present input
    #[arg(long, hide = true, requires = "range")]
    progress: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> std::io::Result<ExitCode> {
    let mut targets: Vec<Target> = Vec::new();
    for name in &options.targets {
        let unknown = || std::io::Error::other(format!("there is no target `{name}`; --list lists them"));
        targets.push(find(name).ok_or_else(unknown)?);
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    let limit = Duration::from_millis(options.limit_ms);
    if let (Some(range), Some(progress), [target]) = (&options.range, &options.progress, &targets[..]) {
        return run_child(target, range, limit, progress, options.seed);
    }
    if !options.input.is_empty() {
        return feed_files(&targets, &options.input, limit);
    }
    let (inputs, seed, jobs, findings) =
        (options.inputs, options.seed, options.jobs, options.findings.clone());
    let begin = Instant::now();
    let outcomes = Campaign { inputs, seed, jobs, limit, findings }.run(&targets)?;
    Ok(print_table(&outcomes, begin.elapsed(), options))
}

fn run_child(
    target: &Target,
    range: &str,
    limit: Duration,
    progress: &std::path::Path,
    seed: u64,
) -> std::io::Result<ExitCode> {
    let numbers = range.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let numbers = numbers.ok_or_else(|| std::io::Error::other("--range is FROM..TO"))?;
    let mutator = Mutator::new(target, target.seeds(), seed);
    limit_memory();
    child::run(target, &mutator, numbers, limit, progress)?;
    Ok(ExitCode::SUCCESS)
}

fn limit_memory() {
    let limit = ALLOCATOR.allocated().saturating_add(MOST_MEMORY);
    ALLOCATOR.set_limit(limit).expect("the limit is above what is allocated");
}

/// Feeds files in this process; a file that ends it is the last one named.
fn feed_files(targets: &[Target], files: &[PathBuf], limit: Duration) -> std::io::Result<ExitCode> {
    child::remember_panics();
    limit_memory();
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let input = std::fs::read(file)?;
        for target in targets {
            println!("{} {}", target.name, file.display());
            if let Some((kind, detail)) = child::feed(target, &input, limit) {
                println!("  {}: {detail}", kind.name());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn print_table(outcomes: &BTreeMap<&str, Outcome>, elapsed: Duration, options: &Options) -> ExitCode {
    println!("{:<14} {:>10} {:>9} {:>10} {:>9}", "target", "inputs", "seconds", "per second", "findings");
    for (name, outcome) in outcomes {
        let rate = outcome.inputs as f64 / outcome.seconds.max(1e-9);
        let found = outcome.findings.len();
        println!("{name:<14} {:>10} {:>9.0} {rate:>10.0} {found:>9}", outcome.inputs, outcome.seconds);
    }
    let inputs: u64 = outcomes.values().map(|outcome| outcome.inputs).sum();
    let findings: usize = outcomes.values().map(|outcome| outcome.findings.len()).sum();
    println!(
        "{inputs} inputs with seed {} in {:.0} s; {findings} findings",
        options.seed,
        elapsed.as_secs_f64()
    );
    for (name, outcome) in outcomes {
        for (kind_and_detail, (first, count)) in grouped(&outcome.findings) {
            println!("{name}: {kind_and_detail} ({count} inputs; the first is number {first})");
        }
    }
    if findings == 0 {
        return ExitCode::SUCCESS;
    }
    let folder = options.findings.display();
    println!("the inputs are in {folder}; repeat one with --target NAME --input FILE");
    ExitCode::FAILURE
}

/// The findings by kind and place. The place of a panic precedes its message, which may contain the input.
fn grouped(findings: &[Finding]) -> BTreeMap<String, (u64, usize)> {
    let mut groups = BTreeMap::new();
    for finding in findings {
        let detail: String = finding.detail.chars().take(160).collect();
        let place = detail.split(": ").next().unwrap_or_default().to_owned();
        let entry = groups.entry(format!("{}: {place}", finding.kind.name())).or_insert((finding.index, 0));
        entry.1 += 1;
    }
    groups
}
