//! Weights, formula and rewards: shows them, and changes them in the selected arms.

use std::{fs, path::Path};

use report::fit::GiveUp;
use scenarios::RewardSpec;
use serde_json::{Map, Value, json};

use super::{client::Arm, context::Ctl, error::CtlError};
use crate::cli::{SwapOptions, WithOptions};
use crate::streams::{columns, print_line};
use crate::table::{Table, one_line, short};

/// Shows the weights, or sets some.
pub fn weights(ctl: &Ctl<'_>, weights: &[String]) -> Result<(), CtlError> {
    if weights.iter().any(|weight| is_relative(weight)) {
        return adjust(ctl, weights);
    }
    if !weights.is_empty() {
        return change(ctl, json!({ "weights": read_weights(weights)? }));
    }
    show(ctl, "weights", |arm, weights| {
        let of = |(name, value): (&String, &Value)| format!("{name}={}", short(value));
        let weights: Vec<String> = weights.as_object().into_iter().flatten().map(of).collect();
        format!("{}  {}\n", arm.label(), weights.join(" "))
    })
}

/// Shows the settings that may be changed while an arm is trained, or sets some.
pub fn settings(ctl: &Ctl<'_>, settings: &[String]) -> Result<(), CtlError> {
    if !settings.is_empty() {
        return change(ctl, json!({ "settings": read_settings(settings)? }));
    }
    let arms: Vec<Arm> = ctl.arms()?.into_iter().filter(|arm| arm.conditions().is_some()).collect();
    if arms.is_empty() {
        return Err(CtlError::NotRewarded);
    }
    for arm in &arms {
        let values = arm.conditions().map(|conditions| conditions["settings"].clone()).unwrap_or_default();
        ctl.print(&values, |values| {
            let line =
                |(name, value): (&String, &Value)| format!("{}  {name}={}\n", arm.label(), short(value));
            values.as_object().into_iter().flatten().map(line).collect()
        });
    }
    Ok(())
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
        // Given up in a narrow terminal: the end of the options, generation, form, the options.
        let order = [
            GiveUp::Text { column: 4, least: 20 },
            GiveUp::Column(3),
            GiveUp::Column(2),
            GiveUp::Column(4),
            GiveUp::Text { column: 0, least: 8 },
        ];
        let heads = ["reward", "kind", "form", "generation", "options"];
        let mut table = Table::new(&heads).giving_up(&order);
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
        format!("{}\n{}", arm.label(), table.text(columns()))
    })
}

/// Replaces a reward by the one in a file, in the arms that have it.
pub fn swap(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), CtlError> {
    let name = &options.name;
    let has_it = |arm: &Arm| arm.reward(name).is_some();
    if !ctl.arms()?.iter().any(has_it) {
        return Err(CtlError::NoReward(name.clone()));
    }
    put(ctl, "swap", options, has_it)
}

/// Adds a reward. With its weight and without a formula, it joins the formula of every arm, as the server resolves it.
pub fn add(ctl: &Ctl<'_>, options: &SwapOptions) -> Result<(), CtlError> {
    let (name, with) = (&options.name, &options.with);
    let mut weights = read_weights(&with.weights)?;
    let weight = weights.remove(name);
    let (None, Some(weight)) = (&with.formula, weight) else { return put(ctl, "add", options, |_| true) };
    let reward = read_reward(&options.file, name)?;
    let (rewards, join) = (json!({ name.as_str(): reward }), json!({ name.as_str(): { "weight": weight } }));
    change(ctl, json!({ "add": rewards, "weights": weights, "join_formula": join }))
}

/// Adds or swaps a reward, as `action` says, in the live arms that `wanted` selects.
fn put(
    ctl: &Ctl<'_>,
    action: &str,
    options: &SwapOptions,
    wanted: impl Fn(&Arm) -> bool,
) -> Result<(), CtlError> {
    let reward = read_reward(&options.file, &options.name)?;
    let change = with(json!({ action: { options.name.as_str(): reward } }), &options.with)?;
    change_where(ctl, wanted, change)?;
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
    change(ctl, with(json!({ "rewards": { name: null } }), options)?)
}

/// A change together with the further changes at its step.
fn with(mut wanted: Value, with: &WithOptions) -> Result<Value, CtlError> {
    if let Some(formula) = &with.formula {
        wanted["formula"] = json!(formula);
    }
    if !with.weights.is_empty() {
        wanted["weights"] = read_weights(&with.weights)?.into();
    }
    Ok(wanted)
}

/// Makes a change in the selected arms, and prints from which step it is in force.
fn change(ctl: &Ctl<'_>, change: Value) -> Result<(), CtlError> {
    change_where(ctl, |_| true, change)
}

fn change_where(ctl: &Ctl<'_>, wanted: impl Fn(&Arm) -> bool, change: Value) -> Result<(), CtlError> {
    let all = ctl.client.arms()?;
    let arms = changeable(ctl, &all, wanted)?;
    let tag = ctl.options.if_version.map(|version| tag(&all, |_| Some(version)));
    let answer = request(ctl, &arms, change, tag.as_deref())?;
    print_results(ctl, &answer)
}

/// Sets weights, some of them to their present value plus, minus or times a number. Every arm has its own present value,
/// and the change is refused in an arm whose conditions have changed since that was read.
fn adjust(ctl: &Ctl<'_>, weights: &[String]) -> Result<(), CtlError> {
    let all = ctl.client.arms()?;
    let mut groups: Vec<(Map<String, Value>, Vec<Arm>)> = Vec::new();
    for arm in changeable(ctl, &all, |_| true)? {
        let values = adjusted(weights, &arm)?;
        match groups.iter_mut().find(|(same, _)| *same == values) {
            Some((_, arms)) => arms.push(arm),
            None => groups.push((values, vec![arm])),
        }
    }
    let tag = tag(&all, |arm| ctl.options.if_version.or(arm.version()));
    let mut results = Vec::new();
    for (values, arms) in groups {
        let mut answer = request(ctl, &arms, json!({ "weights": values }), Some(&tag))?;
        results.extend(answer["results"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    print_results(ctl, &json!({ "results": results }))
}

/// The selected arms that can be changed, at least one.
fn changeable(ctl: &Ctl<'_>, all: &[Arm], wanted: impl Fn(&Arm) -> bool) -> Result<Vec<Arm>, CtlError> {
    ctl.live_arms(true)?;
    let live = |arm: &Arm| !arm.has_ended() && arm.conditions().is_some() && wanted(arm);
    let arms: Vec<Arm> = ctl.select(all)?.into_iter().filter(live).collect();
    if arms.is_empty() { Err(CtlError::AllRewardedEnded) } else { Ok(arms) }
}

fn request(ctl: &Ctl<'_>, arms: &[Arm], change: Value, tag: Option<&str>) -> Result<Value, CtlError> {
    let arms: Vec<Value> = arms.iter().map(Arm::selector).collect();
    ctl.client.post_if(&["api", "change"], &json!({ "arms": arms, "change": change }), tag)
}

/// The header `If-Match` with a version for each arm of the run.
fn tag(all: &[Arm], version: impl Fn(&Arm) -> Option<u64>) -> String {
    let of = |arm: &Arm| version(arm).map_or_else(|| "-".to_owned(), |version| version.to_string());
    format!("\"{}\"", all.iter().map(of).collect::<Vec<_>>().join("."))
}

fn print_results(ctl: &Ctl<'_>, answer: &Value) -> Result<(), CtlError> {
    ctl.results(answer, |result| {
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

/// Whether a weight is given as a change of its present value, as in `think+=0.1`.
fn is_relative(weight: &str) -> bool {
    weight.split_once('=').is_some_and(|(name, _)| name.trim_end().ends_with(['+', '-', '*']))
}

/// The new weights of an arm, some of which are given relative to the present ones.
fn adjusted(weights: &[String], arm: &Arm) -> Result<Map<String, Value>, CtlError> {
    let mut values = Map::new();
    for weight in weights {
        if !is_relative(weight) {
            values.extend(read_weights(std::slice::from_ref(weight))?);
            continue;
        }
        let (left, right) = weight.split_once('=').unwrap_or_default();
        let (name, sign) = left.trim_end().split_at(left.trim_end().len() - 1);
        let read =
            read_weights(&[format!("{name}={right}")]).map_err(|_| CtlError::Weight(weight.clone()))?;
        for (name, by) in read {
            let present = arm
                .weight(&name)
                .ok_or_else(|| CtlError::NoWeight { arm: arm.label(), name: name.clone() })?;
            let by = by.as_f64().unwrap_or_default();
            let value = match sign {
                "+" => present + by,
                "-" => present - by,
                _ => present * by,
            };
            values.insert(name, json!(value));
        }
    }
    Ok(values)
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

/// Reads settings such as `grpo.lr=3e-5`. A value that is not TOML is a text.
fn read_settings(settings: &[String]) -> Result<Map<String, Value>, CtlError> {
    let read = |setting: &String| {
        let (name, value) = setting.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let read = format!("value = {value}").parse::<toml::Table>().ok();
        let read = read.and_then(|table| serde_json::to_value(table.get("value")?).ok());
        let is_named = !name.is_empty() && !value.is_empty();
        is_named.then(|| (name.to_owned(), read.unwrap_or_else(|| json!(value))))
    };
    settings.iter().map(|setting| read(setting).ok_or_else(|| CtlError::Setting(setting.clone()))).collect()
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
    fn settings_are_numbers_lists_or_texts() {
        let read = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
            read_settings(&settings).map(Value::Object).map_err(|error| error.to_string())
        };
        let expected = json!({"grpo.lr": 3e-5, "grpo.loss": "dapo", "grpo.covariance_range": [1, 5]});
        assert_eq!(read(&["grpo.lr = 3e-5", "grpo.loss=dapo", "grpo.covariance_range=[1, 5]"]), Ok(expected));
        let error = read(&["grpo.lr"]).unwrap_err();
        assert_eq!(error, "`grpo.lr` is not a setting; write for example grpo.lr=3e-5");
    }

    #[test]
    fn a_weight_can_be_changed_relative_to_its_present_value() {
        let arm = Arm(
            json!({"arm": "a", "seed": 7, "conditions": {"version": 3, "weights": {"think": 0.5, "a-b": 2.0}}}),
        );
        let adjusted = |weights: &[&str]| {
            let weights: Vec<String> = weights.iter().map(|weight| (*weight).to_owned()).collect();
            assert!(weights.iter().any(|weight| is_relative(weight)), "{weights:?}");
            adjusted(&weights, &arm).map(Value::Object).map_err(|error| error.to_string())
        };
        assert_eq!(adjusted(&["think+=0.25", "format=1"]), Ok(json!({"think": 0.75, "format": 1.0})));
        assert_eq!(adjusted(&["w_think -= 1", "a-b*=3"]), Ok(json!({"think": -0.5, "a-b": 6.0})));
        assert_eq!(adjusted(&["think*=-1"]), Ok(json!({"think": -0.5})));
        assert!(!is_relative("a-b=1") && !is_relative("think=-1"));
        assert_eq!(
            adjusted(&["think+=much"]).unwrap_err(),
            "`think+=much` is not a weight; write for example think=0.3"
        );
        assert_eq!(
            adjusted(&["thnk+=1"]).unwrap_err(),
            "a (seed 7) has no weight `thnk`; `sandbox ctl weights` lists them"
        );
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
