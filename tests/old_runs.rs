//! Run directories of older releases are read, reported, resumed and replayed (FORMAT-1).
//!
//! `fixtures/run_v0` was written by version 0.1.0 before rows carried a format version: an arm of each method, two live
//! changes, and a GRPO arm that was stopped after 4 of 6 steps. A new format adds a directory; none is ever changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::run::replay::Recording;
use ::run::{RunArgs, RunOutcome};
use records::{ArmId, ArmState, FORMAT_VERSION, OwnedRunDir, RunDir};
use rewards::RewardRegistry;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

/// Largest relative difference between recorded metrics and those of this machine, whose
/// floating-point sums may differ.
const TOLERANCE: f64 = 1e-3;

/// A copy of the fixture, because resuming and reporting change the run directory.
fn copy() -> (tempfile::TempDir, RunDir) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("run");
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/run_v0"), &copy);
    (folder, RunDir::new(copy))
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn args(recorded: &RunDir, run_dir: RunDir) -> RunArgs {
    RunArgs {
        experiment: scenarios::load(&recorded.scenario(), &[], &[], None).unwrap(),
        run_dir: OwnedRunDir::claim(run_dir).unwrap(),
        registry: Arc::new(RewardRegistry::standard()),
        resume: false,
        audio_source: None,
        controlled: false,
        replay: None,
        ranks: None,
    }
}

async fn run(args: RunArgs) -> RunOutcome {
    let (_stop, stopped) = watch::channel(false);
    ::run::run(args, mpsc::unbounded_channel().0, stopped).await.unwrap()
}

fn grpo() -> ArmId {
    ArmId::new("grpo", 7)
}

fn text(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn an_old_run_can_be_reported() {
    let (_folder, run_dir) = copy();
    let summary = report::write_report(&run_dir).unwrap();
    let arms: Vec<(&str, &str, u64)> = summary
        .arms
        .iter()
        .map(|arm| (arm.name.as_str(), arm.seeds[0].status.as_str(), arm.seeds[0].step))
        .collect();
    assert_eq!(arms, [("base", "done", 0), ("sft", "done", 2), ("grpo", "stopped", 4)]);
    assert!(summary.arms.iter().all(|arm| arm.evals["builtin:soundscapes"].overall.counts.n == 4));
    assert!(
        summary.notes.iter().any(|note| note.contains("changed while it ran (2×")),
        "{:?}",
        summary.notes
    );
    let json: Value = serde_json::from_str(&text(run_dir.summary_json())).unwrap();
    assert_eq!(json["format_version"], FORMAT_VERSION);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_run_can_be_resumed_and_keeps_its_rows() {
    let (_folder, run_dir) = copy();
    let before = text(run_dir.arm(&grpo()).metrics());
    let outcome = run(RunArgs { resume: true, ..args(&run_dir, run_dir.clone()) }).await;
    assert!(outcome.arms.iter().all(|arm| arm.state == ArmState::Done), "{outcome:?}");
    let after = text(run_dir.arm(&grpo()).metrics());
    assert!(after.starts_with(&before));
    let rows = run_dir.arm(&grpo()).read_metrics_as_json().unwrap();
    let of = |row: &Map<String, Value>, field: &str| row.get(field).and_then(Value::as_u64);
    let steps: Vec<_> = rows.iter().map(|row| (of(row, "step"), of(row, "format_version"))).collect();
    let new = Some(FORMAT_VERSION);
    let expected = [(1, None), (2, None), (3, None), (4, None), (5, new), (6, new)];
    assert_eq!(steps, expected.map(|(step, version)| (Some(step), version)));
    assert!(
        rows.iter().skip(2).all(|row| of(row, "weights_version") == Some(2)),
        "the changes are still in force"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replay_of_an_old_run_repeats_its_changes_and_metrics() {
    let (folder, recorded) = copy();
    let again = RunDir::new(folder.path().join("again"));
    std::fs::create_dir_all(again.path()).unwrap();
    let mut args = args(&recorded, again.clone());
    let recording = Recording::open(&recorded, &mut args.experiment).unwrap();
    args.replay = Some(recording.replay.clone());
    let experiment = args.experiment.clone();
    run(args).await;
    let compared = recording.compare(&again, &experiment).unwrap();
    let arms: Vec<_> = compared.iter().map(|arm| (arm.id.arm.as_str(), arm.steps, arm.changes)).collect();
    assert_eq!(arms, [("sft", 2, 0), ("grpo", 4, 2)]);
    for arm in compared {
        let then = recorded.arm(&arm.id).read_metrics_as_json().unwrap();
        let now = again.arm(&arm.id).read_metrics_as_json().unwrap();
        assert_eq!(then.len(), now.len());
        for (then, now) in then.iter().zip(&now) {
            // Groups with equal rewards were counted as trained then.
            let equal = now["groups_excluded"]["equal_rewards"].as_u64().unwrap_or_default();
            let trained = now["groups_trained"].as_u64().unwrap() + equal;
            assert_eq!(then["groups_trained"].as_u64(), Some(trained));
            let compared = |name: &str| {
                !records::is_timing(name) && !["groups_trained", "groups_excluded"].contains(&name)
            };
            for (name, value) in then.iter().filter(|(name, _)| compared(name)) {
                assert_near(name, value, &now[name]);
            }
        }
    }
}

fn assert_near(name: &str, then: &Value, now: &Value) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then {
                assert_near(&format!("{name}.{key}"), value, &now[key]);
            }
        }
        (Value::Number(then), Value::Number(now)) => {
            let (then, now) = (then.as_f64().unwrap(), now.as_f64().unwrap());
            assert!((then - now).abs() <= TOLERANCE * (1.0 + then.abs()), "{name}: {then} and {now}");
        }
        _ => assert_eq!(then, now, "{name}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_newer_format_is_refused_and_not_modified() {
    let newer = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, text.replacen('{', "{\"format_version\":2,", 1)).unwrap();
    };
    let (_folder, scratch) = copy();
    let arm = scratch.arm(&grpo());
    let files = [
        arm.status(),
        arm.metrics(),
        arm.rollouts(),
        arm.evaluations(),
        arm.checkpoint(4).join("state.json"),
    ];
    for file in files.into_iter().chain([scratch.journal()]) {
        let (_folder, run_dir) = copy();
        let file = run_dir.path().join(file.strip_prefix(scratch.path()).unwrap());
        newer(&file);
        let before = text(file.clone());
        let (_stop, stopped) = watch::channel(false);
        let resume = RunArgs { resume: true, ..args(&run_dir, run_dir.clone()) };
        let error = ::run::run(resume, mpsc::unbounded_channel().0, stopped).await.unwrap_err().to_string();
        let expected = format!("{}: written in format 2 by a newer sandbox", file.display());
        assert!(error.contains(&expected) && error.lines().count() == 1, "{error}");
        assert_eq!(text(file.clone()), before);
        if !file.ends_with("state.json") {
            let error = report::write_report(&run_dir).unwrap_err().to_string();
            assert!(error.contains(&expected), "{error}");
        }
    }
}
