//! Checks what a scenario refers to: rewards, formulas, models and data on disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rewards::{Formula, FormulaError, RewardError, RewardRegistry};

use super::tree::Node;
use super::{
    ArmConfig, Experiment, JudgeConfig, JudgeKind, LocalJudgeConfig, MemberKind, Method, PolicyPath,
    RewardSpec,
};
use crate::dataset::DataSource;
use crate::error::ScenarioError;

/// Checks everything that the chosen arms refer to.
///
/// Errors: The first reference that is missing or unusable, at its place in the scenario.
pub fn check(experiment: &Experiment, registry: &RewardRegistry) -> Result<(), ScenarioError> {
    check_names(experiment, registry)?;
    for (arm, places) in experiment.arms.iter().zip(experiment.places.iter()) {
        check_rewards(arm, places, RewardSpec::check_files)?;
        if arm.eval.server.is_none() {
            check_policy(arm, places)?;
        }
        check_judge(&arm.judge, places)?;
        check_fallback(arm, places)?;
        if arm.method != Method::None {
            check_source(&arm.data.train, &["data", "train"], places)?;
        }
        for (index, suite) in arm.eval.suites.iter().enumerate() {
            check_source(suite, &["eval", "suites", &index.to_string()], places)?;
        }
    }
    Ok(())
}

/// Checks rewards and formulas but no files, which may be on another machine.
///
/// Errors: The first reward or formula that is unusable, at its place in the scenario.
pub fn check_names(experiment: &Experiment, registry: &RewardRegistry) -> Result<(), ScenarioError> {
    for (arm, places) in experiment.arms.iter().zip(experiment.places.iter()) {
        check_rewards(arm, places, |spec| spec.read(registry).map(drop))?;
        if arm.method == Method::Grpo {
            check_formula(arm, places)?;
        }
    }
    Ok(())
}

/// Checks every reward of an arm with `look` and turns its error into one with a place.
fn check_rewards(
    arm: &ArmConfig,
    places: &Node,
    look: impl Fn(&RewardSpec) -> Result<(), RewardError>,
) -> Result<(), ScenarioError> {
    for (name, spec) in &arm.rewards {
        let Err(error) = look(spec) else { continue };
        let at = |key: &str, problem: String, instead: String| {
            Err(ScenarioError::at(places.place_of(&["rewards", name, key]), problem, instead))
        };
        // A hint starts with `; did you mean`, `; it takes none` or ` (known: …)`.
        let advice = |hint: String| match hint.strip_prefix("; ") {
            Some(meant) => meant.to_owned(),
            None => format!("write one of {}", hint.trim_start_matches(" (known: ").trim_end_matches(')')),
        };
        return match error {
            RewardError::UnknownKind { kind, hint } => at(
                "kind",
                format!("`kind` in [rewards.{name}] is \"{kind}\", which is no reward"),
                advice(hint),
            ),
            RewardError::UnknownOption { kind, option, hint } => {
                let key_place = match places.entry(&["rewards", name, &option]) {
                    Some(entry) => &entry.key_place,
                    None => places.place_of(&["rewards", name]),
                };
                let problem = format!("unknown key `{option}` in [rewards.{name}] (kind \"{kind}\")");
                Err(ScenarioError::at(key_place, problem, advice(hint)))
            }
            RewardError::BadOption { option, value, problem, .. } => {
                at(&option, format!("`{option}` in [rewards.{name}] is {value}"), problem)
            }
            RewardError::Failed(problem) => at(
                "kind",
                format!("[rewards.{name}] cannot be set up: {problem}"),
                format!("see the options of the reward \"{}\"", spec.kind),
            ),
        };
    }
    Ok(())
}

fn check_formula(arm: &ArmConfig, places: &Node) -> Result<(), ScenarioError> {
    let components = arm.rewards.keys().map(String::as_str);
    let weights = arm.shaping.weights.keys().map(String::as_str);
    let place = places.place_of(&["shaping", "formula"]);
    match Formula::parse(&arm.shaping.formula, components, weights) {
        Ok(_) => Ok(()),
        Err(error) => Err(formula_error(place, arm, &error)),
    }
}

fn formula_error(place: &crate::error::Place, arm: &ArmConfig, error: &FormulaError) -> ScenarioError {
    let message = error.to_string();
    let (problem, instead) = match message.split_once("; ") {
        Some((problem, instead)) => (problem.to_owned(), instead.to_owned()),
        None => {
            let names = arm.rewards.keys().cloned();
            let weights = arm.shaping.weights.keys().map(|weight| format!("w_{weight}"));
            let names: Vec<String> = names.chain(weights).collect();
            (message, format!("the arm \"{}\" has {}", arm.name, names.join(", ")))
        }
    };
    ScenarioError::at(place, problem, instead)
}

fn check_policy(arm: &ArmConfig, places: &Node) -> Result<(), ScenarioError> {
    if let Some(folder) =
        arm.policy.adapter.as_ref().filter(|folder| !folder.join("adapter_config.json").is_file())
    {
        let problem = format!("`adapter` in [policy]: {} has no adapter_config.json", folder.display());
        let instead = "write the folder of an adapter in PEFT's form, such as a checkpoint of a run with train = \"lora\"";
        return Err(ScenarioError::at(places.place_of(&["policy", "adapter"]), problem, instead));
    }
    let PolicyPath::Directory(folder) = &arm.policy.path else { return Ok(()) };
    let instead = "write the folder of a Hugging Face model, or \"builtin:tiny\"";
    check_model(folder, &["policy"], instead, places)
}

fn check_judge(judge: &JudgeConfig, places: &Node) -> Result<(), ScenarioError> {
    let check = |local: &LocalJudgeConfig, keys: &[&str]| {
        check_model(&local.path, keys, "write the folder of a Qwen3 in the Hugging Face layout", places)
    };
    match &judge.kind {
        JudgeKind::Rules | JudgeKind::Openai(_) => Ok(()),
        JudgeKind::Local(local) => check(local, &["judge"]),
        JudgeKind::Panel(panel) => {
            panel.members.iter().enumerate().try_for_each(|(index, member)| match &member.kind {
                MemberKind::Rules | MemberKind::Openai(_) => Ok(()),
                MemberKind::Local(local) => check(local, &["judge", "members", &index.to_string()]),
            })
        }
    }
}

/// Checks that `path` of a section is a model's folder in the Hugging Face layout.
fn check_model(folder: &Path, keys: &[&str], instead: &str, places: &Node) -> Result<(), ScenarioError> {
    let missing = |problem: String| {
        let place = places.place_of(&[keys, &["path"]].concat());
        let problem = format!("`path` in {}: {problem}", super::words::section_name(keys));
        Err(ScenarioError::at(place, problem, instead))
    };
    if !folder.is_dir() {
        return missing(format!("there is no folder {}", folder.display()));
    }
    if !folder.join("config.json").is_file() {
        return missing(format!("{} has no config.json", folder.display()));
    }
    Ok(())
}

/// Checks that the program for other audio formats can be started.
fn check_fallback(arm: &ArmConfig, places: &Node) -> Result<(), ScenarioError> {
    let Some(program) = &arm.audio.fallback else { return Ok(()) };
    let may_run = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let found = match program.components().count() {
        // A name is looked for as a shell would.
        1 => std::env::var_os("PATH").is_some_and(|folders| {
            std::env::split_paths(&folders).any(|folder| may_run(&folder.join(program)))
        }),
        _ => may_run(program),
    };
    if found {
        return Ok(());
    }
    let problem = format!("`fallback` in [audio]: there is no program {}", program.display());
    let instead = "install it, write its path, or leave the key out";
    Err(ScenarioError::at(places.place_of(&["audio", "fallback"]), problem, instead))
}

fn check_source(source: &DataSource, keys: &[&str], places: &Node) -> Result<(), ScenarioError> {
    let DataSource::File(file) = source else { return Ok(()) };
    let missing = |key: &str, path: &Path, what: &str, instead: &str| {
        let place = places.place_of(&[keys, &[key]].concat());
        let problem =
            format!("`{key}` in {}: there is no {what} {}", super::words::section_name(keys), path.display());
        Err(ScenarioError::at(place, problem, instead))
    };
    if !file.path.is_file() {
        let instead = format!("write the path of a file in the {} format", file.format.name());
        return missing("path", &file.path, "file", &instead);
    }
    match &file.audio_root {
        Some(root) if !root.is_dir() => missing(
            "audio_root",
            root,
            "folder",
            "write the folder that the file's audio paths are relative to",
        ),
        Some(_) | None => Ok(()),
    }
}
