//! Weights, formula and rewards: shows them, and changes them in the selected arms.

use std::{fs, path::Path};

use scenarios::RewardSpec;
use serde_json::{Map, Value, json};

use super::{
    client::Arm,
    context::Ctl,
    error::CtlError,
    table::{Table, one_line, short},
};
use crate::cli::{SwapOptions, WithOptions};
use crate::streams::print_line;

/// Shows the weights, or sets some.
pub fn weights(ctl: &Ctl<'_>, weights: &[String]) -> Result<(), CtlError> {
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
pub fn formula(ctl: &Ctl<'_>, formula: Option<&str>, weights: &[String]) -> Result<(), CtlError> {
    if let Some(formula) = formula {
        return change(ctl, json!({ "formula": formula, "weights": read_weights(weights)? }));
    }
    show(ctl, "formula", |arm, formula| format!("{}  {}\n", arm.label(), short(&formula["formula"])))
}

/// Shows the rewards of each arm as a table.
pub fn rewards(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    show(ctl, "rewards", |arm, rewards| {
        let mut table = Table::new(&["reward", "kind", "form", "generation", "options"]);
        for (name, reward) in rewards.as_object().into_iter().flatten() {
            let mut options = reward.as_object().cloned().unwrap_or_default();
            options.retain(|key, _| {
                !["kind", "form", "generation", "toml", "in_formula"].contains(&key.as_str())
            });
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

/// Replaces a reward by the one in a file.
pub fn swap(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), CtlError> {
    let name = &options.name;
    if !ctl.arms()?.iter().any(|arm| arm.reward(name).is_some()) {
        return Err(CtlError::NoReward(name.clone()));
    }
    put(ctl, options)
}

/// Adds a reward. With its weight and without a formula, it joins the formula of every arm, as the server resolves it.
pub fn add(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), CtlError> {
    let (name, with) = (&options.name, &options.with);
    let mut weights = read_weights(&with.weights)?;
    let weight = weights.remove(name);
    let (None, Some(weight)) = (&with.formula, weight) else { return put(ctl, options) };
    let reward = read_reward(&options.file, name)?;
    let (rewards, join) = (json!({ name.as_str(): reward }), json!({ name.as_str(): { "weight": weight } }));
    change(ctl, json!({ "rewards": rewards, "weights": weights, "join_formula": join }))
}

fn put(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), CtlError> {
    let reward = read_reward(&options.file, &options.name)?;
    with(ctl, json!({ options.name.as_str(): reward }), &options.with)?;
    if ctl.options.json {
        return Ok(());
    }
    let arms = ctl.arms()?;
    let is_idle = |arm: &&Arm| {
        let reward = arm.reward(&options.name).filter(|_| !arm.has_ended());
        reward.is_some_and(|reward| reward["in_formula"] == false)
    };
    let idle: Vec<String> = arms.iter().filter(is_idle).map(Arm::label).collect();
    if !idle.is_empty() {
        let (name, arms) = (&options.name, idle.join(", "));
        print_line(&format!("scored and logged only: `{name}` is not in the formula of {arms}"));
    }
    Ok(())
}

pub fn remove(ctl: &Ctl<'_>, name: &str, options: &WithOptions) -> Result<(), CtlError> {
    with(ctl, json!({ name: null }), options)
}

fn with(ctl: &Ctl<'_>, rewards: Value, with: &WithOptions) -> Result<(), CtlError> {
    let mut wanted = json!({ "rewards": rewards });
    if let Some(formula) = &with.formula {
        wanted["formula"] = json!(formula);
    }
    if !with.weights.is_empty() {
        wanted["weights"] = read_weights(&with.weights)?.into();
    }
    change(ctl, wanted)
}

/// Makes a change in the selected arms, and prints from which step it is in force.
fn change(ctl: &Ctl<'_>, change: Value) -> Result<(), CtlError> {
    let body = json!({ "arms": ctl.live_arms(true)?, "change": change });
    let answer = ctl.client.post(&["api", "change"], &body)?;
    ctl.results(&answer, |result| {
        let applied = &result["applied"];
        format!("in force from step {} (version {})", applied["step"], applied["version"])
    })
}

/// Shows a resource of every selected arm that is trained by rewards.
fn show(ctl: &Ctl<'_>, what: &str, line: impl Fn(&Arm, &Value) -> String) -> Result<(), CtlError> {
    let arms: Vec<Arm> = ctl.arms()?.into_iter().filter(|arm| arm.conditions().is_some()).collect();
    if arms.is_empty() {
        return Err(CtlError::NotRewarded);
    }
    for arm in &arms {
        let answer = ctl.client.get_of(arm, what, &[])?;
        ctl.print(&answer, |answer| line(arm, answer));
    }
    Ok(())
}

/// Reads weights such as `think=0.3` or `w_think=0.3`.
fn read_weights(weights: &[String]) -> Result<Map<String, Value>, CtlError> {
    let read = |weight: &String| {
        let (name, value) = weight.split_once('=')?;
        let value: f64 = value.trim().parse().ok().filter(|value: &f64| value.is_finite())?;
        Some((name.trim().trim_start_matches("w_").to_owned(), json!(value)))
    };
    weights.iter().map(|weight| read(weight).ok_or_else(|| CtlError::Weight(weight.clone()))).collect()
}

/// Reads a reward from a file: a Python file, or a TOML file that is its table or has it as `[rewards.NAME]`. Paths in
/// it are relative to the file's folder.
fn read_reward(path: &Path, name: &str) -> Result<RewardSpec, CtlError> {
    let text = fs::read_to_string(path).map_err(|error| CtlError::File { path: path.to_owned(), error })?;
    let spec = match (path.extension(), path.file_name()) {
        (Some(extension), Some(file)) if extension == "py" => {
            let file = toml::Value::String(file.to_string_lossy().into_owned());
            RewardSpec { kind: "python".into(), options: [("file".to_owned(), file)].into_iter().collect() }
        }
        _ => RewardSpec::from_toml(&text, name, path)?,
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
            let error = read_weights(&[wrong.into()]).unwrap_err().to_string();
            assert_eq!(error, format!("`{wrong}` is not a weight; write for example think=0.3"));
        }
    }

    #[test]
    fn a_reward_is_a_python_file_a_toml_file_or_a_table_in_it() {
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
        let error = read("b.toml", "[rewards.other]\nkind = \"format\"").unwrap_err().to_string();
        assert!(error.contains("[rewards.brevity]"), "{error}");
        let error = read("b.toml", "kind = ").unwrap_err().to_string();
        assert!(error.contains("b.toml:1:") && !error.contains('\n'), "{error}");
    }
}
