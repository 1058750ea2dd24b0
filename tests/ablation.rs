//! A scenario with `[ablation]`, from the check to the report, with a kill in between. Like `cli.rs`, this runs the built `sandbox`.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Two factors from random weights: a component of the formula, and a setting.
const SCENARIO: &str = r#"
[run]
name = "factors"
steps = 6
seeds = [7, 8]
parallel_arms = 1
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 8
heldout_clips = 8

[sampling]
group_size = 2
prompts_per_step = 2
max_new_tokens = 8

[rewards]
format = { kind = "format" }
repetition = { kind = "repetition" }

[shaping]
formula = "format + w_repetition * repetition"
weights = { repetition = 0.5 }

[eval]
every = 3
limit = 8
temperature = 1.0

[checkpoint]
every = 2

# Random weights hardly vary in their rewards.
[limits]
action = "ignore"

[ablation]
[ablation.factors]
rep = { component = "repetition" }
lr = { setting = "grpo.lr", values = [1e-4, 1e-2] }
"#;

fn sandbox(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG");
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    sandbox(dir, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn printed(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn run_dir(dir: &Path) -> Option<PathBuf> {
    Some(fs::read_dir(dir.join("runs")).ok()?.next()?.unwrap().path())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            assert!(fs::copy(entry.path(), target).is_ok())
        }
    }
}

#[test]
fn a_design_is_checked_run_resumed_and_reported_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("mine.toml"), SCENARIO).unwrap();
    let checked = printed(dir, &["check", "mine.toml"]);
    assert!(
        checked.starts_with("mine.toml: valid; arms: plain, plain+rep, plain+lr, plain+rep+lr\n"),
        "{checked}"
    );
    assert!(checked.contains("mine.toml: full design of 2 factors (rep, lr), 4 arms\n"), "{checked}");
    let dry = printed(dir, &["mine.toml", "--dry-run", "--arm", "plain*", "--arm", "!plain+rep+lr"]);
    assert!(dry.contains("[design]") && dry.contains("left_out = [\"plain+rep+lr\"]"), "{dry}");

    // Killed in the second of eight trainings, then resumed.
    let mut child = sandbox(dir, &["mine.toml", "--no-control"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let second = |dir: &Path| {
        dir.join("plain/seed-8/status.json").exists() || dir.join("plain+rep/seed-7/status.json").exists()
    };
    while !run_dir(dir).is_some_and(|run| second(&run)) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let run = run_dir(dir).unwrap().display().to_string();
    let early: Value = serde_json::from_str(&printed(dir, &["report", "--json", &run])).unwrap();
    let remarks = early["ablation"]["suites"]
        .as_array()
        .and_then(|suites| suites.first())
        .map(|suite| &suite["remarks"]);
    assert!(
        remarks.is_none_or(|remarks| !remarks.as_array().unwrap().is_empty()),
        "arms that have not ended are named: {early}"
    );
    printed(dir, &["-q", "--resume", &run, "--no-control"]);

    let summary: Value = serde_json::from_str(&printed(dir, &["report", "--json", &run])).unwrap();
    let suite = &summary["ablation"]["suites"][0];
    assert_eq!(suite["arms"].as_array().unwrap().len(), 4, "{suite}");
    assert_eq!((&suite["remarks"], &suite["seeds"]), (&Value::Array(Vec::new()), &2.into()));
    for metric in suite["metrics"].as_array().unwrap().iter().filter(|metric| metric["all"].is_object()) {
        let contributions = metric["contributions"].as_array().unwrap();
        assert!(contributions.iter().all(|found| found["holds"] == "exact"));
        let values: Vec<f64> =
            contributions.iter().map(|found| found["value"]["estimate"]["value"].as_f64().unwrap()).collect();
        let all = metric["all"]["value"].as_f64().unwrap();
        assert!((values.iter().sum::<f64>() - all).abs() < 1e-9, "{metric}");
    }
    assert!(
        suite["metrics"]
            .as_array()
            .unwrap()
            .iter()
            .any(|metric| metric["figure"] == "length" && metric["all"].is_object())
    );
    let shown = printed(dir, &["report", &run]);
    assert!(shown.contains("what each factor contributed on "), "{shown}");

    // A copy elsewhere says the same.
    let elsewhere = tempfile::tempdir().unwrap();
    copy(Path::new(&run), &elsewhere.path().join("copied"));
    let again: Value =
        serde_json::from_str(&printed(elsewhere.path(), &["report", "--json", "copied"])).unwrap();
    assert_eq!(again["ablation"], summary["ablation"]);
    // The run's own scenario repeats it.
    let again = printed(dir, &["check", &format!("{run}/scenario.toml")]);
    assert!(
        again.contains("valid; arms: plain, plain+rep, plain+lr, plain+rep+lr")
            && again.contains("full design"),
        "{again}"
    );
}

#[test]
fn a_mistake_in_a_factor_is_one_line_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.toml"), SCENARIO.replace("\"repetition\" }\nlr", "\"repetiton\" }\nlr"))
        .unwrap();
    let output = run(dir.path(), &["mine.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    let line = SCENARIO.lines().position(|line| line.starts_with("rep = ")).unwrap() + 1;
    let expected = format!(
        "error: mine.toml:{line}:21: `component` of the factor `rep` is \"repetiton\", which the formula does not use; did you mean \
         `repetition`?"
    );
    assert_eq!(said.trim_end(), expected);
    assert!(!dir.path().join("runs").exists());
}
