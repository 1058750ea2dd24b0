//! The targets: one per kind of untrusted bytes.

use std::path::PathBuf;

mod completion;
#[cfg(feature = "torch")]
mod control_requests;
mod formula;
#[cfg(feature = "torch")]
mod model_files;
mod plugin_replies;
mod records_lines;
mod replies;
mod rows;
mod scenario;
mod self_test;
mod sounds;

/// A parser that is fed with bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name on the command line and of the folder of its seeds.
    pub name: &'static str,
    /// Words of the parser's language.
    pub dictionary: &'static [&'static str],
    /// Greatest length of an input, in bytes.
    pub longest: usize,
    /// Feeds one input to the parser. Panics if the parser breaks a promise.
    pub run: fn(&[u8]),
}

/// All targets that a campaign runs.
pub const TARGETS: &[Target] = &[
    scenario::TARGET,
    formula::TARGET,
    completion::TARGET,
    replies::TARGET,
    rows::TARGET,
    records_lines::TARGET,
    plugin_replies::TARGET,
    sounds::WAV,
    sounds::CONTAINER,
    sounds::ARCHIVE,
    #[cfg(feature = "torch")]
    model_files::SAFETENSORS,
    #[cfg(feature = "torch")]
    model_files::ADAPTER,
    #[cfg(feature = "torch")]
    model_files::MODEL_CONFIG,
    #[cfg(feature = "torch")]
    control_requests::TARGET,
];

/// The target of this name: one of [`TARGETS`], or `self-test`, which fails on purpose.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().chain([&self_test::TARGET]).find(|target| target.name == name).copied()
}

impl Target {
    /// The folder of its seeds.
    pub fn seeds_folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(self.name)
    }

    /// Its seeds, in the order of their names.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.seeds_folder())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        paths.sort();
        paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mutator;

    /// Small, so that a debug build does it in seconds; `make fuzz` runs millions.
    const INPUTS: u64 = 300;

    #[test]
    fn every_target_survives_its_seeds_and_some_mutations_of_them() {
        for target in TARGETS {
            let mutator = Mutator::new(target, target.seeds(), 1);
            for index in 0..INPUTS + target.seeds().len() as u64 {
                (target.run)(&mutator.input(index));
            }
        }
    }

    #[test]
    fn every_target_has_a_libfuzzer_target_and_seeds() {
        let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for target in TARGETS {
            let file = fuzz.join("fuzz_targets").join(target.name).with_extension("rs");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(&format!("\"{}\"", target.name)), "{}", file.display());
            assert!(manifest.contains(&format!("fuzz_targets/{}.rs", target.name)), "{}", target.name);
            assert!(!target.seeds().is_empty(), "{}", target.name);
        }
    }
}
