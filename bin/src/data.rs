//! `sandbox data`: writes what a built-in world generates as a data set.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rewards::did_you_mean;
use scenarios::{DataSource, Experiment, Method, World};

use crate::cli::{DataCommand, DataExportOptions, DataOptions};
use crate::failure::Failure;
use crate::streams::outln;

/// A scenario without settings, for a world that is named alone.
const BARE: &str = "[[arm]]\nname = \"data\"\nmethod = \"none\"\n";

pub fn data(options: &DataOptions) -> Result<(), Failure> {
    match &options.command {
        DataCommand::Export(options) => export(options),
    }
}

fn export(options: &DataExportOptions) -> Result<(), Failure> {
    let out = &options.out;
    if fs::read_dir(out).map_or(out.exists(), |mut entries| entries.next().is_some()) {
        let message =
            format!("{}: exists already and is not empty; choose another folder with --out", out.display());
        return Err(Failure::Input(message));
    }
    let (world, folder) = generated(options)?;
    let failed =
        |error: io::Error| Failure::Running(format!("{}: cannot be written: {error}", out.display()));
    fs::create_dir_all(out).map_err(failed)?;
    let clips = copy(&folder.join("audio"), &out.join("audio")).map_err(failed)?;
    // The rows come last, so that an interrupted export is no data set.
    let mut rows = Vec::new();
    for name in ["train.jsonl", "heldout.jsonl"] {
        let text = fs::read_to_string(folder.join(name)).map_err(failed)?;
        rows.push(text.lines().count());
        fs::write(out.join(name), text).map_err(failed)?;
    }
    outln!("exported: {}", out.display());
    outln!("  {}: {} training rows and {} held-out rows about {clips} clips", world.name(), rows[0], rows[1]);
    outln!("  data.train = {{ format = \"avqa\", path = \"{}\" }}", out.join("train.jsonl").display());
    Ok(())
}

/// The world that is asked for, and the folder of its files, which are made if they are not in the cache.
fn generated(options: &DataExportOptions) -> Result<(World, PathBuf), Failure> {
    let source = &options.source;
    if let Some(world) = World::from_name(source) {
        let text = format!("data.train = \"{}\"\n{BARE}", world.name());
        let path = Path::new("scenario.toml");
        let experiment = scenarios::scenario::parse(&text, path, &options.set, &[], None)?;
        return Ok((world, experiment.arms[0].data.worlds().prepare(world)?));
    }
    if source.starts_with("builtin:") {
        let names = World::ALL.map(World::name);
        return Err(Failure::Input(format!("{source}: no such world{}", did_you_mean(source, names))));
    }
    let experiment = scenarios::load(Path::new(source), &options.set, &[], None)?;
    let mut found = worlds(&experiment)?;
    match (found.pop_first(), found.len()) {
        (Some((folder, world)), 0) => Ok((world, folder)),
        (None, _) => Err(Failure::Input(format!(
            "{source}: uses no built-in world; write one, such as builtin:spoken, or name it in [data] train"
        ))),
        (Some(_), others) => Err(Failure::Input(format!(
            "{source}: uses {} built-in worlds; write the name of one, and its settings with --set",
            others + 1
        ))),
    }
}

/// The worlds of an experiment's arms, by the folders of their files.
fn worlds(experiment: &Experiment) -> Result<BTreeMap<PathBuf, World>, Failure> {
    let mut found = BTreeMap::new();
    for arm in &experiment.arms {
        let train = (arm.method != Method::None).then_some(&arm.data.train);
        for source in train.into_iter().chain(&arm.eval.suites) {
            if let DataSource::World(world) = source {
                found.insert(arm.data.worlds().prepare(*world)?, *world);
            }
        }
    }
    Ok(found)
}

/// Copies the files of a folder to a new one, and returns their number.
fn copy(from: &Path, to: &Path) -> io::Result<usize> {
    fs::create_dir_all(to)?;
    let mut files = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
        files += 1;
    }
    Ok(files)
}
