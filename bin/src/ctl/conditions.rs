//! Weights, formula and rewards: shown, and changed in all arms that are meant.

use std::{fs, path::Path};

use rewards::Formula;
use scenarios::RewardSpec;
use serde_json::{Map, Value, json};

use super::{
    Ctl,
    client::Arm,
    say,
    table::{Table, one_line, short},
};
use crate::{
    cli::{SwapOptions, WithOptions},
    failure::Failure,
};

/// Shows the weights, or sets some.
pub fn weights(ctl: &Ctl<'_>, weights: &[String]) -> Result<(), Failure> {
    if !weights.is_empty() {
        return change(ctl, json!({ "weights": read_weights(weights)? }));
    }
    show(ctl, "weights", |arm, weights| {
        let of = |(name, value): (&String, &Value)| format!("{name}={}", short(value));
        let weights: Vec<String> = weights.as_object().into_iter().flatten().map(of).collect();
        format!("{}  {}\n", arm.label(), weights.join(" "))
    })
}

/// Shows the formula, or sets it.
pub fn formula(ctl: &Ctl<'_>, formula: Option<&str>, weights: &[String]) -> Result<(), Failure> {
    if let Some(formula) = formula {
        return change(ctl, json!({ "formula": formula, "weights": read_weights(weights)? }));
    }
    show(ctl, "formula", |arm, formula| format!("{}  {}\n", arm.label(), short(&formula["formula"])))
}

/// Shows the rewards.
pub fn rewards(ctl: &Ctl<'_>) -> Result<(), Failure> {
    show(ctl, "rewards", |arm, rewards| {
        let mut table = Table::new(&["reward", "kind", "form", "generation", "options"]);
        for (name, reward) in rewards.as_object().into_iter().flatten() {
            let mut options = reward.as_object().cloned().unwrap_or_default();
            options.retain(|key, _| !["kind", "form", "generation", "toml"].contains(&key.as_str()));
            let options = if options.is_empty() {
                String::new()
            } else {
                one_line(&Value::Object(options).to_string(), 100)
            };
            let about = |key: &str| short(&reward[key]);
            table.row(vec![name.clone(), about("kind"), about("form"), about("generation"), options]);
        }
        format!("{}\n{}", arm.label(), table.text())
    })
}

/// Puts a reward in the place of another.
pub fn swap(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), Failure> {
    let name = &options.name;
    let arms = ctl.arms()?;
    let has =
        |arm: &Arm| arm.conditions().is_some_and(|conditions| conditions["rewards"].get(name).is_some());
    if !arms.iter().any(has) {
        return Err(Failure::Input(format!(
            "there is no reward `{name}` to put another in the place of; `sandbox ctl rewards` shows them, `add` adds one"
        )));
    }
    put(ctl, options)
}

/// Adds a reward. Given its weight and no formula, it joins the formula of every arm, which may differ.
pub fn add(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), Failure> {
    let (name, with) = (&options.name, &options.with);
    let weights = read_weights(&with.weights)?;
    if with.formula.is_some() || !weights.contains_key(name) {
        return put(ctl, options);
    }
    let spec = read_reward(&options.file, name)?;
    let is_steered = |arm: &&Arm| !arm.has_ended() && arm.conditions().is_some();
    let mut results = Vec::new();
    for arm in ctl.arms()?.iter().filter(is_steered) {
        let mut change = json!({ "rewards": { name.as_str(): spec }, "weights": weights });
        if !is_in_formula(arm, name) {
            let formula = arm.conditions().and_then(|now| now["formula"].as_str()).unwrap_or_default();
            let term = format!("{} * {}", Formula::name(&format!("w_{name}")), Formula::name(name));
            change["formula"] = json!(format!("{formula} + {term}"));
        }
        let path = ["api", "arms", arm.name(), &arm.seed().to_string(), "change"];
        let mut result = json!({ "arm": arm.name(), "seed": arm.seed() });
        match ctl.client.post(&path, &change) {
            Ok(applied) => result["applied"] = applied,
            Err(Failure::Input(error) | Failure::Running(error)) => result["error"] = json!(error),
            Err(interrupted) => return Err(interrupted),
        }
        results.push(result);
    }
    told(ctl, &json!({ "results": results }))
}

fn put(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), Failure> {
    let spec = read_reward(&options.file, &options.name)?;
    with(ctl, json!({ options.name.as_str(): spec }), &options.with)?;
    if ctl.options.json {
        return Ok(());
    }
    let idle: Vec<String> =
        ctl.arms()?.iter().filter(|arm| is_idle(arm, &options.name)).map(Arm::label).collect();
    if !idle.is_empty() {
        say(&format!(
            "scored and logged only: `{}` is not in the formula of {}",
            options.name,
            idle.join(", ")
        ));
    }
    Ok(())
}

/// Whether an arm that goes on has a reward that its formula does not use.
fn is_idle(arm: &Arm, reward: &str) -> bool {
    let conditions = arm.conditions().filter(|_| !arm.has_ended());
    let has = conditions.is_some_and(|conditions| conditions["rewards"].get(reward).is_some());
    has && !is_in_formula(arm, reward)
}

/// Whether an arm's formula uses a reward.
fn is_in_formula(arm: &Arm, reward: &str) -> bool {
    let Some(conditions) = arm.conditions() else { return false };
    let names = |what: &str| -> Vec<&String> {
        conditions[what].as_object().into_iter().flat_map(Map::keys).collect()
    };
    let (rewards, weights) = (names("rewards"), names("weights"));
    let text = conditions["formula"].as_str().unwrap_or_default();
    let formula = Formula::parse(text, rewards.iter().copied(), weights.iter().copied());
    formula.is_ok_and(|formula| formula.component_names().any(|name| name == reward))
}

/// Takes a reward out.
pub fn remove(ctl: &Ctl<'_>, name: &str, options: &WithOptions) -> Result<(), Failure> {
    with(ctl, json!({ name: null }), options)
}

fn with(ctl: &Ctl<'_>, rewards: Value, with: &WithOptions) -> Result<(), Failure> {
    let mut wanted = json!({ "rewards": rewards });
    if let Some(formula) = &with.formula {
        wanted["formula"] = json!(formula);
    }
    if !with.weights.is_empty() {
        wanted["weights"] = read_weights(&with.weights)?.into();
    }
    change(ctl, wanted)
}

/// Makes a change in all arms that are meant, and says from which step on it is in force.
fn change(ctl: &Ctl<'_>, change: Value) -> Result<(), Failure> {
    let answer =
        ctl.client.post(&["api", "change"], &json!({ "arms": ctl.steered(true)?, "change": change }))?;
    told(ctl, &answer)
}

fn told(ctl: &Ctl<'_>, answer: &Value) -> Result<(), Failure> {
    ctl.outcomes(answer, |result| {
        let applied = &result["applied"];
        format!("in force from step {} on (version {})", applied["step"], applied["version"])
    })
}

/// Shows `what` of every arm that is meant and trained by rewards.
fn show(ctl: &Ctl<'_>, what: &str, line: impl Fn(&Arm, &Value) -> String) -> Result<(), Failure> {
    let arms: Vec<Arm> = ctl.arms()?.into_iter().filter(|arm| arm.conditions().is_some()).collect();
    if arms.is_empty() {
        return Err(Failure::Input("none of these arms is trained by rewards".into()));
    }
    for arm in &arms {
        let answer = ctl.client.get_of(arm, what, &[])?;
        ctl.print(&answer, |answer| line(arm, answer));
    }
    Ok(())
}

/// `think=0.3` as JSON.
fn read_weights(weights: &[String]) -> Result<Map<String, Value>, Failure> {
    let read = |weight: &String| {
        let (name, value) = weight.split_once('=')?;
        let value: f64 = value.trim().parse().ok().filter(|value: &f64| value.is_finite())?;
        Some((name.trim().trim_start_matches("w_").to_owned(), json!(value)))
    };
    let unreadable =
        |weight: &String| Failure::Input(format!("`{weight}` is no weight; write for example think=0.3"));
    weights.iter().map(|weight| read(weight).ok_or_else(|| unreadable(weight))).collect()
}

/// The reward a file has: the whole of it, or `[rewards.NAME]` in it; a Python file is one. Its paths start from the
/// file's folder.
fn read_reward(path: &Path, name: &str) -> Result<RewardSpec, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Input(format!("{}: cannot be read: {error}", path.display())))?;
    let spec = match (path.extension(), path.file_name()) {
        (Some(extension), Some(file)) if extension == "py" => {
            let file = toml::Value::String(file.to_string_lossy().into_owned());
            RewardSpec { kind: "python".into(), options: [("file".to_owned(), file)].into_iter().collect() }
        }
        _ => RewardSpec::from_toml(&text, name, path).map_err(|error| Failure::Input(error.to_string()))?,
    };
    Ok(spec.anchored(path.parent().unwrap_or(Path::new(""))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_with_or_without_their_prefix() {
        let weights = read_weights(&["think=0.3".into(), "w_format = -1".into()]).unwrap();
        assert_eq!(Value::Object(weights), json!({"think": 0.3, "format": -1.0}));
        for wrong in ["think", "think=", "think=nan", "think=much"] {
            let Err(Failure::Input(error)) = read_weights(&[wrong.into()]) else { panic!("{wrong}") };
            assert_eq!(error, format!("`{wrong}` is no weight; write for example think=0.3"));
        }
    }

    #[test]
    fn a_reward_is_a_python_file_a_toml_file_or_a_table_in_it_and_its_paths_start_there() {
        let dir = tempfile::tempdir().unwrap();
        let read = |file: &str, text: &str| {
            let path = dir.path().join(file);
            fs::write(&path, text).unwrap();
            read_reward(&path, "brevity").map(|spec| json!(spec))
        };
        let cwd = dir.path().display().to_string();
        let python = json!({"kind": "python", "file": "brevity.py", "cwd": cwd});
        assert_eq!(read("brevity.py", "def reward(completions):\n    return []\n").unwrap(), python);
        let expected = json!({"kind": "process", "command": ["python3", "brevity.py"], "cwd": cwd});
        let command = "command = [\"python3\", \"brevity.py\"]";
        assert_eq!(read("b.toml", &format!("kind = \"process\"\n{command}")).unwrap(), expected);
        let nested = format!("[rewards.brevity]\nkind = \"process\"\n{command}");
        assert_eq!(read("b.toml", &nested).unwrap(), expected);
        let Err(Failure::Input(error)) = read("b.toml", "[rewards.other]\nkind = \"format\"") else {
            panic!("not this one")
        };
        assert!(error.contains("[rewards.brevity]"), "{error}");
        let Err(Failure::Input(error)) = read("b.toml", "kind = ") else { panic!("no TOML") };
        assert!(error.contains("b.toml:1:") && !error.contains('\n'), "{error}");
    }
}
