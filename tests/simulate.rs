//! `sandbox simulate`: the tables of docs/scale.md, its options, and predictions beside recorded runs. A test of the package
//! `sandbox` (see bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.current_dir(root()).env_remove("RUST_LOG").args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8(output.stdout).unwrap());
    String::from_utf8(output.stderr).unwrap()
}

/// Each block of docs/scale.md that begins with `$ sandbox simulate …` is followed by what that prints.
#[test]
fn the_tables_of_the_document_are_what_the_program_prints() {
    let path = root().join("docs/scale.md");
    let document = fs::read_to_string(&path).unwrap();
    let mut current = String::new();
    let mut blocks = 0;
    for (place, part) in document.split("```\n$ sandbox ").enumerate() {
        if place == 0 {
            current.push_str(part);
            continue;
        }
        let (command, rest) = part.split_once('\n').unwrap();
        let (_, rest) = rest.split_once("```").unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        current.push_str(&format!("```\n$ sandbox {command}\n{}```{rest}", printed(&words)));
        blocks += 1;
    }
    assert!(blocks >= 4, "{blocks} blocks");
    if std::env::var_os("UPDATE_SCALE").is_some() {
        fs::write(&path, &current).unwrap();
        return;
    }
    assert!(
        document == current,
        "run `UPDATE_SCALE=1 cargo test -p sandbox --test simulate tables` and commit docs/scale.md"
    );
}

/// Runs that were made by `make simulation`, each with what it was predicted from.
#[test]
fn predictions_are_within_fifteen_percent_of_recorded_runs() {
    let folder = root().join("tests/fixtures/simulation");
    let mut compared = 0;
    for name in ["stale", "parallel", "lora"] {
        let inputs = folder.join(format!("{name}.toml")).display().to_string();
        let record: Value =
            serde_json::from_slice(&fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
        let mut arguments = vec!["simulate", inputs.as_str(), "--no-advice", "--json"];
        for set in record["set"].as_array().unwrap() {
            arguments.extend(["--set", set.as_str().unwrap()]);
        }
        let simulated: Value = serde_json::from_str(&printed(&arguments)).unwrap();
        let outcome = &simulated["outcome"];
        let (predicted, measured) =
            (outcome["seconds_per_step"].as_f64().unwrap(), record["seconds_per_step"].as_f64().unwrap());
        let off = predicted / measured - 1.0;
        assert!(off.abs() <= 0.15, "{name}: {predicted} s predicted, {measured} s measured: {off:+.3}");
        // SIM-2, for the real run as well.
        let allowed = simulated["inputs"]["run"]["max_staleness"].as_u64().unwrap() as usize;
        let staleness = |of: &Value| of["staleness"].as_array().unwrap().len() - 1;
        assert!(staleness(outcome) <= allowed && staleness(&record) <= allowed);
        compared += 1;
    }
    assert_eq!(compared, 3);
}

/// A run of the built-in policy for a few steps.
fn recorded(folder: &Path) -> PathBuf {
    let out = folder.display().to_string();
    printed(&[
        "scenarios/smoke.toml",
        "--arm",
        "grpo*",
        "--set",
        "run.device=cpu",
        "--set",
        "run.threads=1",
        "--out",
        &out,
        "--no-control",
        "-q",
    ]);
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn service_times_are_fitted_to_a_run_and_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let run = recorded(folder.path());
    let run_name = run.display().to_string();
    let from_run = ["simulate", "--from-run", &run_name];
    let inputs: toml::Table = printed(&[&from_run[..], &["--dry-run"]].concat()).parse().unwrap();
    assert_eq!(inputs["run"]["steps"].as_integer(), Some(4));
    assert_eq!(inputs["run"]["arms"].as_integer(), Some(5));
    let lengths = inputs["completions"]["tokens"]["values"].as_array().unwrap();
    // Three steps of 4 prompts × 4 completions: the first step is left out.
    assert_eq!(lengths.len(), 48);
    // Steps of the simulated run take what those of the recorded one did, but for what is not recorded.
    let metrics = fs::read_to_string(run.join("grpo/seed-7/metrics.jsonl")).unwrap();
    let seconds: f64 = metrics
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["step_seconds"].as_f64().unwrap())
        .sum();
    let one_arm = ["--set", "run.arms=1", "--set", "evaluation.batches=0", "--set", "run.startup_seconds=0"];
    let simulated: Value = serde_json::from_str(&printed(
        &[&from_run[..], &one_arm, &["--set", "run.compute_slots=0", "--no-advice", "--json"]].concat(),
    ))
    .unwrap();
    let step = simulated["outcome"]["seconds_per_step"].as_f64().unwrap();
    assert!((step / (seconds / 3.0) - 1.0).abs() < 0.35, "{step} simulated, {} measured", seconds / 3.0);

    let wrong = refused(&[&from_run[..], &["--arm", "gpro"]].concat());
    assert!(wrong.contains("there is no arm `gpro`") && wrong.contains("grpo"), "{wrong}");
    let base = refused(&["simulate", "--from-run", "scenarios"]);
    assert!(base.contains("scenarios: not a run directory (no scenario.toml)"), "{base}");
}

#[test]
fn mistakes_in_the_inputs_are_said_in_one_line_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    fs::write(&path, "[run]\nsteps = 3\n\n[sampler]\ncuont = 2\n").unwrap();
    let name = path.display().to_string();
    let said = refused(&["simulate", &name]);
    assert_eq!(said, format!("error: {name}:5:1: unknown key `cuont`; did you mean `count`?\n"));
    let missing = refused(&["simulate", "nowhere.toml"]);
    assert!(missing.starts_with("error: nowhere.toml: ") && missing.lines().count() == 1, "{missing}");
    let both = run(&["simulate"]);
    assert_eq!(both.status.code(), Some(2));
}
