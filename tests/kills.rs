//! Histories of live changes with kill -9 of the built `sandbox` in between, resumed and replayed (ORDER-1). A test of the
//! package `sandbox` (see bin/Cargo.toml), for which cargo builds that binary. Many more histories are tried in one
//! process, against a reference model, in `actors/run/src/tests.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const STEPS: u64 = 40;

fn sandbox(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.current_dir(dir).env_remove("RUST_LOG").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Numbers that look random and are the same in every run of the test.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A weight with a short decimal form.
    fn weight(&mut self) -> f64 {
        self.below(64) as f64 / 8.0
    }
}

struct History {
    dir: tempfile::TempDir,
    draws: Draws,
    /// The value and the first step of each version that was acknowledged.
    acknowledged: BTreeMap<u64, (f64, u64)>,
    /// Alarms in front of the scenario.
    alarms: Option<&'static str>,
}

impl History {
    fn start(&self) -> Child {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut scenario = root.join("scenarios/smoke.toml");
        if let Some(alarms) = self.alarms {
            let smoke = fs::read_to_string(&scenario).unwrap();
            scenario = self.dir.path().join("alarms.toml");
            fs::write(&scenario, format!("{alarms}\n{smoke}")).unwrap();
        }
        let mut command = sandbox(self.dir.path());
        match self.run_dir() {
            Some(run_dir) => command.arg("--resume").arg(run_dir),
            None => command.arg(scenario).args(["--arm", "grpo"]).args(
                [
                    "policy.from_scratch=true",
                    "eval.every=0",
                    "eval.at_start=false",
                    "eval.limit=2",
                    "limits.action=ignore",
                ]
                .into_iter()
                .map(str::to_owned)
                .chain(["run.threads=1".into(), "checkpoint.every=5".into(), format!("run.steps={STEPS}")])
                .flat_map(|setting| ["--set".to_owned(), setting]),
            ),
        };
        command.spawn().unwrap()
    }

    fn run_dir(&self) -> Option<PathBuf> {
        Some(fs::read_dir(self.dir.path().join("runs")).ok()?.next()?.unwrap().path())
    }

    fn ctl(&self, arguments: &[&str]) -> Command {
        let mut command = sandbox(self.dir.path());
        command.args(["ctl", "--json"]).args(arguments).stdout(Stdio::piped());
        command
    }

    /// Changes a weight; whether it was acknowledged.
    fn change(&mut self) -> bool {
        let value = self.draws.weight();
        let output = self.ctl(&["weights", &format!("format={value}")]).output().unwrap();
        self.take_in(value, &output.stdout)
    }

    fn take_in(&mut self, value: f64, answer: &[u8]) -> bool {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let applied = &answer["results"][0]["applied"];
        let (Some(version), Some(step)) = (applied["version"].as_u64(), applied["step"].as_u64()) else {
            return false;
        };
        let before = self.acknowledged.insert(version, (value, step));
        assert_eq!(before, None, "version {version} was given twice");
        true
    }

    /// A life that ends with a kill -9 while a change is asked for.
    fn killed_life(&mut self) {
        let mut child = self.start();
        while !self.ctl(&["state"]).output().unwrap().status.success() {
            assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
            std::thread::sleep(Duration::from_millis(20));
        }
        for _ in 0..=self.draws.below(2) {
            self.change();
        }
        let value = self.draws.weight();
        let asked = self.ctl(&["weights", &format!("format={value}")]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(self.draws.below(150)));
        child.kill().unwrap();
        child.wait().unwrap();
        let answer = asked.wait_with_output().unwrap();
        self.take_in(value, &answer.stdout);
    }

    fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.run_dir().unwrap().join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The version and the weight of each step, as the journal has them.
    fn expected(&self) -> Vec<(u64, f64)> {
        let mut changes: BTreeMap<u64, (f64, u64)> = BTreeMap::new();
        let mut before = None;
        for line in self.lines("control.jsonl").iter().filter(|line| line["action"] == "change") {
            let weights = |of: &Value| of["weights"]["format"].as_f64().unwrap();
            before = before.or(Some(weights(&line["from"])));
            let made = (weights(&line["change"]), line["step"].as_u64().unwrap());
            changes.insert(line["version"].as_u64().unwrap(), made);
        }
        for (version, (value, _)) in &self.acknowledged {
            assert_eq!(
                changes.get(version).map(|(value, _)| value),
                Some(value),
                "version {version} is lost"
            );
        }
        let at = |step: u64| {
            let in_force = changes.iter().rev().find(|(_, (_, first))| *first <= step);
            in_force.map_or((0, before.unwrap()), |(version, (value, _))| (*version, *value))
        };
        (1..=STEPS).map(at).collect()
    }
}

/// The rows of `metrics.jsonl` without what the clock says and the version of the conditions, which a fork counts anew.
fn learned(history: &History, arm: &str) -> Vec<Value> {
    let mut rows = history.lines(&format!("{arm}/seed-7/metrics.jsonl"));
    for row in &mut rows {
        let is_kept = |name: &str| {
            !name.ends_with("_seconds") && !name.ends_with("_per_second") && name != "weights_version"
        };
        row.as_object_mut().unwrap().retain(|name, _| is_kept(name));
    }
    rows
}

/// FORK-3 and FORK-4: a fork that was acknowledged is there after kills at random moments, and takes the steps that its parent
/// takes, which are those of a run that was neither forked nor killed.
#[test]
fn kills_around_a_fork_lose_and_change_nothing() {
    let history = |draws| History {
        dir: tempfile::tempdir().unwrap(),
        draws: Draws(draws),
        acknowledged: BTreeMap::new(),
        alarms: None,
    };
    let plain = history(0);
    assert_eq!(plain.start().wait().unwrap().code(), Some(0));
    let expected = learned(&plain, "grpo");
    for number in 1..3 {
        let mut history = history(number);
        let mut forked = Vec::new();
        for life in 0..3 {
            let mut child = history.start();
            while !history.ctl(&["state"]).output().unwrap().status.success() {
                assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
                std::thread::sleep(Duration::from_millis(20));
            }
            let name = format!("fork-{life}");
            let asked = history.ctl(&["fork", "grpo", "--as", &name]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(history.draws.below(250)));
            child.kill().unwrap();
            child.wait().unwrap();
            let answer = asked.wait_with_output().unwrap();
            let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
            if let Some(step) = answer[0]["step"].as_u64() {
                forked.push((name, step as usize));
            }
        }
        assert_eq!(history.start().wait().unwrap().code(), Some(0), "history {number}");
        assert_eq!(learned(&history, "grpo"), expected, "history {number}");
        for (name, step) in &forked {
            let rows = learned(&history, name);
            assert_eq!(rows[..*step], expected[..*step], "history {number}, {name}");
            assert_eq!(rows, expected, "history {number}, {name} of step {step}");
        }
        let replayed = sandbox(history.dir.path()).arg("replay").arg(history.run_dir().unwrap()).status();
        assert_eq!(replayed.unwrap().code(), Some(0), "history {number}: the replay differs");
    }
}

/// ORDER-1.
#[test]
fn kills_between_live_changes_lose_double_and_reorder_nothing() {
    for number in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History { dir, draws: Draws(number), acknowledged: BTreeMap::new(), alarms: None };
        for _ in 0..3 {
            history.killed_life();
        }
        let mut child = history.start();
        assert_eq!(child.wait().unwrap().code(), Some(0), "history {number}");
        let rows = history.lines("grpo/seed-7/metrics.jsonl");
        let steps: Vec<u64> = rows.iter().map(|row| row["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>(), "history {number}");
        let of = |row: &Value| {
            (row["weights_version"].as_u64().unwrap(), row["weights"]["format"].as_f64().unwrap())
        };
        let found: Vec<(u64, f64)> = rows.iter().map(of).collect();
        assert_eq!(found, history.expected(), "history {number}");
        let replayed = sandbox(history.dir.path()).arg("replay").arg(history.run_dir().unwrap()).status();
        assert_eq!(replayed.unwrap().code(), Some(0), "history {number}: the replay differs");
    }
}

/// An alarm that changes a weight, and one that forks the arm and halves the learning rate of what goes on.
const ALARMS: &str = r#"
[[alarm]]
name = "form"
when = "mean(reward, 5) > -1e9 and step >= 9"
then = ["weights.format*=2", "checkpoint"]

[[alarm]]
name = "copy"
when = "{weights.format} > 0.9 for 6 steps"
then = ["fork", "grpo.lr*=0.5"]
as = "copied"
"#;

/// What the journal has of alarms: arm, action, step, version and evidence; sorted, because arms write side by side.
fn alarms(history: &History) -> Vec<String> {
    let entries = history.lines("control.jsonl").into_iter();
    // A fork that the scenario has when the process dies is made in the name of the scenario.
    let of_alarms = entries.filter(|entry| {
        entry["action"] != "fork" && entry["by"].as_str().is_some_and(|by| by.starts_with("alarm "))
    });
    let told = |entry: Value| {
        let values = &entry["alarm"]["values"];
        format!(
            "{} {} {} {} {} {values}",
            entry["arm"], entry["by"], entry["action"], entry["step"], entry["version"]
        )
    };
    let mut told: Vec<String> = of_alarms.map(told).collect();
    told.sort();
    told
}

/// ALARM-4, ALARM-5: kills at random steps change neither what the alarms do, nor when, nor what is learned.
#[test]
fn kills_around_alarms_change_nothing_and_double_nothing() {
    let history = |draws| History {
        dir: tempfile::tempdir().unwrap(),
        draws: Draws(draws),
        acknowledged: BTreeMap::new(),
        alarms: Some(ALARMS),
    };
    let whole = history(0);
    assert_eq!(whole.start().wait().unwrap().code(), Some(0));
    let expected = (alarms(&whole), learned(&whole, "grpo"), learned(&whole, "copied"));
    assert_eq!(expected.0.len(), 5, "{:?}", expected.0);
    for number in 1..4 {
        let mut history = history(number);
        for _ in 0..3 {
            let mut child = history.start();
            let steps = history.draws.below(16) as usize;
            let taken = || {
                let dir = history.run_dir()?.join("grpo/seed-7/metrics.jsonl");
                Some(fs::read_to_string(dir).ok()?.lines().count())
            };
            let before = taken().unwrap_or_default();
            while taken().unwrap_or_default() < (before + steps).min(STEPS as usize)
                && child.try_wait().unwrap().is_none()
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(history.draws.below(60)));
            // It fails for a run that has ended by itself.
            let _ = child.kill();
            child.wait().unwrap();
        }
        assert_eq!(history.start().wait().unwrap().code(), Some(0), "history {number}");
        let found = (alarms(&history), learned(&history, "grpo"), learned(&history, "copied"));
        assert_eq!(found.0, expected.0, "history {number}");
        assert!(found == expected, "history {number}: the metrics differ");
        let replayed = sandbox(history.dir.path()).arg("replay").arg(history.run_dir().unwrap()).status();
        assert_eq!(replayed.unwrap().code(), Some(0), "history {number}: the replay differs");
    }
}
