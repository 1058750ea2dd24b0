//! Checks what a scenario refers to: rewards, formulas, models and data on disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rewards::{Formula, FormulaError, RewardError, RewardRegistry};

use super::hub::{self, HubId};
use super::tree::Node;
use super::{
    ArmConfig, Experiment, JudgeConfig, JudgeKind, LocalJudgeConfig, MemberKind, Method, PolicyPath,
    RewardForm, RewardSpec, alarm_forks, task_servers,
};
use crate::dataset::DataSource;
use crate::error::ScenarioError;
use crate::file_keys::check_keys;

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
        check_tasks(arm, places, registry)?;
        if arm.method == Method::Grpo {
            check_formula(arm, places)?;
        }
    }
    alarm_forks::check(experiment)
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

/// Checks that there is a server for every reward that asks one.
fn check_tasks(arm: &ArmConfig, places: &Node, registry: &RewardRegistry) -> Result<(), ScenarioError> {
    for (name, spec) in &arm.rewards {
        let Ok(RewardForm::Rust(reward)) = spec.read(registry) else { continue };
        let Some(task) = reward.judge_task() else { continue };
        let key = if task.own_judge().is_empty() { "kind" } else { "judge" };
        task_servers(&arm.judge, &task).map_err(|error| match error {
            ScenarioError::Value { problem, instead } => {
                let problem = format!("[rewards.{name}] (kind \"{}\"): {problem}", spec.kind);
                ScenarioError::at(places.place_of(&["rewards", name, key]), problem, instead)
            }
            other => other,
        })?;
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
    let instead = "write the folder of a Hugging Face model, its name on the Hub, or \"builtin:tiny\"";
    check_model(folder, !arm.policy.from_scratch, &["policy"], instead, places)
}

fn check_judge(judge: &JudgeConfig, places: &Node) -> Result<(), ScenarioError> {
    let check = |local: &LocalJudgeConfig, keys: &[&str]| {
        let instead = "write the folder of a Qwen3 in the Hugging Face layout, or its name on the Hub";
        check_model(&local.path, true, keys, instead, places)
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

/// Checks that `path` of a section is a model's folder in the Hugging Face layout, or a model that is in the local cache
/// of the Hub as a whole.
fn check_model(
    folder: &Path,
    with_weights: bool,
    keys: &[&str],
    instead: &str,
    places: &Node,
) -> Result<(), ScenarioError> {
    let place = places.place_of(&[keys, &["path"]].concat());
    let section = super::words::section_name(keys);
    let wrong = |problem: String, instead: &str| {
        Err(ScenarioError::at(place, format!("`path` in {section}: {problem}"), instead))
    };
    let cache = hub::cache();
    let named = places.at(keys).and_then(|section| HubId::parse(section.text("path")?));
    let looked = named.as_ref().map(|id| (id, id.find(&cache)));
    if !folder.is_dir() {
        let problem = format!("there is no folder {}", folder.display());
        return match looked {
            Some((_, Err(ScenarioError::Value { problem: in_cache, instead: fetch }))) => {
                wrong(format!("{problem}, and {in_cache}"), &format!("{fetch}, or {instead}"))
            }
            Some(_) | None => wrong(problem, instead),
        };
    }
    if let Some((id, Ok(snapshot))) = looked
        && std::path::absolute(&snapshot).is_ok_and(|snapshot| snapshot == folder)
        && let Err(ScenarioError::Value { problem, instead }) = id.check_whole(folder, with_weights)
    {
        return wrong(problem, &instead);
    }
    if !folder.join("config.json").is_file() {
        return wrong(format!("{} has no config.json", folder.display()), instead);
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
    check_keys(file).map_err(|error| error.placed(places.place_of(&[keys, &["format"]].concat())))?;
    if !file.path.is_file() && !file.path.is_dir() {
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
