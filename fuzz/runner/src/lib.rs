//! Fuzzing without coverage, on stable Rust: mutated inputs for every parser that reads bytes of strangers.
//!
//! A [`Target`] feeds bytes to one parser and asserts what its documentation promises. [`Mutator`] makes the inputs
//! from the seeds in `fuzz/seeds/NAME/`: input `i` of seed `s` is the same on every machine. The binary `fuzz-runner`
//! runs the targets in child processes ([`campaign`]) and reports inputs that make a parser panic, end the process,
//! take longer than a second or allocate more than a gigabyte. `fuzz/fuzz_targets/` has the same targets for
//! cargo-fuzz, which guides its mutations by coverage and needs a nightly compiler.

pub mod campaign;
pub mod child;
mod finding;
mod mutation;
mod scratch;
pub mod targets;

pub use finding::{Finding, FindingKind};
pub use mutation::Mutator;
pub use targets::{TARGETS, Target, find};

/// Feeds an input to a target by its name; for cargo-fuzz.
///
/// # Panics
/// If there is no such target, or the target finds a mistake.
pub fn run(name: &str, input: &[u8]) {
    let target = find(name).unwrap_or_else(|| panic!("there is no target `{name}`"));
    if input.len() <= target.longest {
        (target.run)(input);
    }
}
