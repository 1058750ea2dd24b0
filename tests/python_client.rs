//! The Python module of `sandbox client` drives a whole study: starts a run, watches it, changes it, forks an arm, and compares.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{sandbox, scenario, text};

const STUDY: &str = r#"
import sys
from audio_thinker_run import NotRunning, Refused, Run

sandbox, scenario = sys.argv[1:]
settings = ["policy.from_scratch=true", "run.steps=60", "eval.every=0", "eval.limit=4", "checkpoint.every=10", "limits.action=ignore"]

try:
    Run.start(scenario, settings=["run.step=1"], sandbox=sandbox, out="refused")
    raise AssertionError("a scenario with a mistake starts no run")
except NotRunning as error:
    assert "exit code 2" in str(error), error

with Run.start(scenario, arms=["grpo"], settings=settings, sandbox=sandbox) as run:
    arm = Run.find("runs").arm("grpo")
    assert (arm.name, arm.seed) == ("grpo", 7), arm
    assert arm.wait(step=2)["step"] >= 2
    applied = arm.weights(format=0.25)
    assert applied["version"] == 1 and arm.weights() == {"format": 0.25}, applied
    assert arm.set({"grpo.lr": 1e-5})["version"] == 2
    assert arm.view()["conditions"]["settings"]["grpo.lr"] == 1e-5
    for wrong in (lambda: arm.weights(nothing=1.0), lambda: arm.change({"weights": {"format": 1.0}}, if_version=1)):
        try:
            wrong()
            raise AssertionError("refused")
        except Refused as error:
            assert error.status in (400, 409) and "\n" not in str(error), error
    try:
        run.arm("sft")
        raise AssertionError("refused")
    except KeyError as error:
        assert "the arms are grpo" in str(error), error
    arm.add("tidy", {"kind": "format"}, weight=0.5)
    assert "w_tidy * tidy" in arm.formula()
    arm.pause("looks at it")
    assert arm.wait(status="paused", timeout=60)["reason"] == "looks at it"
    dry = arm.fork("dry", "shaping.weights.format=0", "grpo.lr=1e-3")
    assert arm.checkpoint().endswith("step-{:06}".format(arm.step))
    at = arm.step
    arm.take(1)
    assert arm.wait(step=at + 1)["step"] == at + 1
    names = [name for name, _ in zip((name for name, _ in run.events()), range(3))]
    assert names, "the fork goes on meanwhile"
    arm.resume()
    assert arm.rollouts(phase="train", limit=2)["rollouts"], "completions"
    live = arm.metrics("reward", "components", first=1, last=3)
    assert len(live["components.format"]) == 3, live
    run.wait(step=60, timeout=300)
    # The run may have ended meanwhile; what it recorded is read then.
    run.wait(timeout=300)
    assert dry.wait()["status"] == "done"
    assert arm.metrics("reward", "components", first=1, last=3) == live
    both = [each.metrics("reward", "lr") for each in (arm, dry)]
    assert [len(each["reward"]) for each in both] == [60, 60], both
    assert [each["lr"][-1] for each in both] == [1e-5, 1e-3]
    assert both[0]["reward"][:at] == both[1]["reward"][:at]
    actions = [entry["action"] for entry in run.journal()]
    assert actions.count("change") == 3 and "fork" in actions, actions

compared = [(each["arm"], each["over"]) for each in run.summary()["contributions"]]
assert ("dry", "grpo") in compared, compared
try:
    Run.find("runs")
    raise AssertionError("it has ended")
except NotRunning:
    pass
print("done")
"#;

fn study(python: &str) {
    let dir = tempfile::tempdir().unwrap();
    let client = sandbox(dir.path()).arg("client").output().unwrap();
    assert!(client.status.success());
    fs::write(dir.path().join("audio_thinker_run.py"), &client.stdout).unwrap();
    fs::write(dir.path().join("study.py"), STUDY).unwrap();
    let output = Command::new(python)
        .current_dir(dir.path())
        .args(["-B", "-W", "error", "study.py", env!("CARGO_BIN_EXE_sandbox"), &scenario()])
        .env_remove("RUST_LOG")
        .env("http_proxy", "http://127.0.0.1:9")
        .output()
        .unwrap();
    assert_eq!(
        (text(&output.stdout).as_str(), output.status.code()),
        ("done\n", Some(0)),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_study_is_driven_from_python() {
    study("python3");
}

/// As above with the oldest Python that the module is written for, where that is installed.
#[test]
fn a_study_is_driven_from_the_oldest_python() {
    let runs = |python: &&String| {
        Command::new(python).arg("--version").output().is_ok_and(|found| found.status.success())
    };
    let home = std::env::var("HOME").unwrap_or_default();
    let installed: Vec<String> = fs::read_dir(Path::new(&home).join(".pyenv/versions"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/python3.8").display().to_string()))
        .chain(["python3.8".to_owned()])
        .collect();
    match installed.iter().find(runs) {
        Some(python) => study(python),
        None => println!("skipped: no Python 3.8"),
    }
}
