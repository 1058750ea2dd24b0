//! Makes an [`Experiment`] of a scenario file and the command line.

use std::path::Path;
use std::sync::Arc;

use toml::Value;

use super::choose::choose_arms;
use super::layers::{Layers, with_entry};
use super::tree::{self, Node};
use super::{
    ArmConfig, ControlConfig, Experiment, MemoryConfig, RunConfig, StorageConfig, TracesConfig,
    TrackingConfig, alarm, de, design, fork, hypothesis, paths, ranges, recorded, secret,
};
use crate::error::{Place, ScenarioError};

/// Reads a scenario file. `overrides` are the arguments of `--set`, `arms` those of `--arm` (see
/// [`choose_arms`]), and `seeds` are those of `--seeds`.
///
/// Errors: The first mistake. [`check`](super::check()) checks what the scenario refers to: rewards, data and models.
pub fn load(
    path: &Path,
    overrides: &[String],
    arms: &[String],
    seeds: Option<&[u64]>,
) -> Result<Experiment, ScenarioError> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let mut root = tree::parse(&text, path)?;
    if recorded::is_format_0(path) {
        recorded::drop_unused_keys(&mut root);
    }
    resolve(root, path, overrides, arms, seeds)
}

/// Reads a scenario from a text, as [`load`] reads it from a file. Relative paths in it are resolved as if it were the
/// file at `path`, which errors name too.
///
/// Errors: The first mistake, as for [`load`].
pub fn parse(
    text: &str,
    path: &Path,
    overrides: &[String],
    arms: &[String],
    seeds: Option<&[u64]>,
) -> Result<Experiment, ScenarioError> {
    resolve(tree::parse(text, path)?, path, overrides, arms, seeds)
}

fn resolve(
    root: Node,
    path: &Path,
    overrides: &[String],
    arms: &[String],
    seeds: Option<&[u64]>,
) -> Result<Experiment, ScenarioError> {
    secret::refuse(&root)?;
    let mut layers = Layers::of(root)?;
    layers.apply(overrides)?;
    let mut run: RunConfig = de::read(&layers.run, &["run"])?;
    if run.name.is_empty() && layers.run.entry(&["name"]).is_none() {
        run.name =
            path.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned());
    }
    if let Some(seeds) = seeds {
        run.seeds = seeds.to_vec();
        let place = Place::Argument("--seeds".to_owned());
        layers.run = with_entry(layers.run, "seeds", Node::from_value(Value::Array(Vec::new()), &place));
    }
    ranges::check_run(&run, &layers.run)?;
    let memory: MemoryConfig = de::read(&layers.memory, &["memory"])?;
    ranges::check_memory(&memory, &layers.memory)?;
    let control: ControlConfig = de::read(&layers.control, &["control"])?;
    ranges::check_control(&control, &layers.control)?;
    let tracking: TrackingConfig = de::read(&layers.tracking, &["tracking"])?;
    ranges::check_tracking(&tracking, &layers.tracking)?;
    let storage: StorageConfig = de::read(&layers.storage, &["storage"])?;
    ranges::check_storage(&storage, &layers.storage)?;
    let traces: TracesConfig = de::read(&layers.traces, &["traces"])?;
    ranges::check_traces(&traces, &layers.traces)?;

    let mut configs: Vec<ArmConfig> = Vec::new();
    for layer in &layers.arms {
        let arm = read_arm(layer, &run, path)?;
        if configs.iter().any(|other| other.name == arm.name) {
            let problem = format!("there are two arms named \"{}\"", arm.name);
            return Err(ScenarioError::at(
                layer.place_of(&["name"]),
                problem,
                "give each arm a name of its own",
            ));
        }
        configs.push(arm);
    }
    drop_unused_weights(&mut configs, &layers.arms)?;
    alarm::settle(&mut configs, &layers.arms)?;
    let names: Vec<String> = configs.iter().map(|arm| arm.name.clone()).collect();
    let chosen = choose_arms(arms, &names)?;
    let (mut kept, mut places) = (Vec::new(), Vec::new());
    for (config, layer) in configs.into_iter().zip(layers.arms) {
        if chosen.contains(&config.name) {
            kept.push(config);
            places.push(layer);
        }
    }
    fork::check(&kept, &places, &run.seeds)?;
    let kept_names: Vec<String> = kept.iter().map(|arm| arm.name.clone()).collect();
    let design = match (layers.expanded, &layers.design) {
        (Some(expanded), _) => {
            let mut design = expanded.design;
            design.left_out = design.arms.keys().filter(|arm| !kept_names.contains(arm)).cloned().collect();
            Some(design)
        }
        (None, Some(node)) => Some(design::read(node, &names, &kept_names)?),
        (None, None) => None,
    };
    let hypotheses = hypothesis::read(layers.hypotheses.as_ref(), &names, &kept)?;
    Ok(Experiment {
        path: path.to_owned(),
        run,
        memory,
        control,
        tracking,
        storage,
        traces,
        arms: kept,
        hypotheses,
        design,
        places: Arc::new(places),
    })
}

/// A number of steps as a TOML value.
pub(crate) fn steps(steps: u64) -> Value {
    Value::Integer(i64::try_from(steps).unwrap_or(i64::MAX))
}

fn read_arm(layer: &Node, run: &RunConfig, path: &Path) -> Result<ArmConfig, ScenarioError> {
    let mut layer = layer.clone();
    if layer.entry(&["steps"]).is_none() {
        let place = layer.place.clone();
        layer = with_entry(layer, "steps", Node::from_value(steps(run.steps), &place));
    }
    let mut arm: ArmConfig = de::read(&layer, &[])?;
    if arm.policy.train.lora() {
        arm.policy.lora.get_or_insert_default();
    }
    paths::read_prompt_file(&mut arm, &layer, path)?;
    paths::anchor_paths(&mut arm, &layer, path);
    ranges::check_arm(&arm, &layer)?;
    Ok(arm)
}

/// Removes the weights from an arm that its formula does not use. A weight that no formula uses is a mistake.
fn drop_unused_weights(arms: &mut [ArmConfig], layers: &[Node]) -> Result<(), ScenarioError> {
    let used = |arm: &ArmConfig, weight: &str| uses_name(&arm.shaping.formula, &format!("w_{weight}"));
    for (arm, layer) in arms.iter().zip(layers) {
        for weight in arm.shaping.weights.keys() {
            if !arms.iter().any(|arm| arm.shaping.weights.contains_key(weight) && used(arm, weight)) {
                let place = match layer.entry(&["shaping", "weights", weight]) {
                    Some(entry) => &entry.key_place,
                    None => &layer.place,
                };
                let problem = format!("no formula uses the weight `{weight}`");
                let instead = format!("write `w_{weight}` in a formula, or leave the weight out");
                return Err(ScenarioError::at(place, problem, instead));
            }
        }
    }
    for arm in arms {
        let formula = arm.shaping.formula.clone();
        arm.shaping.weights.retain(|weight, _| uses_name(&formula, &format!("w_{weight}")));
    }
    Ok(())
}

/// Whether a formula uses this component or weight. A name ends in front of any character but a
/// letter, digit or underscore.
pub(super) fn uses_name(formula: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    formula.match_indices(name).any(|(start, _)| {
        let before = formula[..start].chars().next_back();
        let after = formula[start + name.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> ScenarioError {
    let (problem, instead) = match error.kind() {
        std::io::ErrorKind::NotFound => ("no such scenario file".to_owned(), other_files(path)),
        std::io::ErrorKind::InvalidData => {
            ("this is not a text in UTF-8".to_owned(), "write the path of a scenario file (.toml)".to_owned())
        }
        _ if path.is_dir() => ("this is a folder".to_owned(), other_files(&path.join("x"))),
        _ => (format!("cannot be read ({error})"), "make the file readable".to_owned()),
    };
    ScenarioError::File { path: path.to_owned(), problem, instead }
}

/// Advice about a missing scenario file: a similar name in its folder or in `scenarios` below it, else a list of files.
fn other_files(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = toml_files(folder);
    if let Some(near) = rewards::nearest(&wanted, beside.iter().map(String::as_str)) {
        return format!("did you mean {}?", path.with_file_name(near).display());
    }
    let below = folder.join("scenarios");
    let in_scenarios = toml_files(&below);
    let (folder, files) =
        if in_scenarios.is_empty() { (folder, beside) } else { (below.as_path(), in_scenarios) };
    match rewards::nearest(&wanted, files.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", path.with_file_name("scenarios").join(near).display()),
        None if files.is_empty() => format!("there is no .toml file in {}", folder.display()),
        None => format!("the .toml files in {} are {}", folder.display(), files.join(", ")),
    }
}

fn toml_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut files: Vec<String> = names.filter(|name| name.ends_with(".toml")).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_found_in_a_formula() {
        assert!(uses_name("a * (1 + w_think*think)", "w_think"));
        assert!(!uses_name("w_thinking * think", "w_think"));
        assert!(!uses_name("my_w_think", "w_think"));
        assert!(uses_name("{w_my-reward} + 1", "w_my-reward"));
    }
}
