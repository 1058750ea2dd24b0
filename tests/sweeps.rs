//! Sweeps by many processes of the built `sandbox`: the shell array with kills, the merged run beside the unbroken one, and what
//! is refused. A test of the package `sandbox` (see bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

#[path = "sweeps/deploy.rs"]
mod deploy;
#[path = "sweeps/random_kills.rs"]
mod random_kills;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};

/// Two arms of a random policy under two seeds: four tasks.
const SCENARIO: &str = r#"
[run]
name = "swept"
seeds = [3, 4]
steps = 8
device = "cpu"
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 8
heldout_clips = 6

[sampling]
group_size = 2
prompts_per_step = 2
max_new_tokens = 4

[rewards]
format = { kind = "format" }
accuracy = { kind = "accuracy" }

[shaping]
formula = "accuracy + w_format * format"
weights = { format = 0.5 }

[eval]
every = 4
limit = 6

[checkpoint]
every = 2

# Random weights never vary in their rewards.
[limits]
action = "ignore"

[[arm]]
name = "a"

[[arm]]
name = "b"
shaping.weights.format = 1.0
"#;

struct Study {
    folder: tempfile::TempDir,
}

impl Study {
    fn new() -> Self {
        Self::of(SCENARIO)
    }

    fn of(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("study.toml"), scenario).unwrap();
        Study { folder }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn sandbox(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command.current_dir(self.folder.path()).env_remove("RUST_LOG");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.sandbox().args(arguments).output().unwrap()
    }

    /// Runs a command that succeeds; returns what it printed.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command with unusable input; returns its message.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Starts a task and kills it as soon as its metrics have a row.
    fn kill_in_the_middle(&self, task: &str, dir: &str) {
        let arguments = ["study.toml", "--sweep", "s", "--task", task, "--no-control", "-q"];
        let mut child =
            self.sandbox().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let metrics = self.path(&format!("s/tasks/{dir}/metrics.jsonl"));
        while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
            assert_eq!(child.try_wait().unwrap(), None, "task {task} ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Sweeps by the shell array, in the folder `s`.
impl Study {
    /// Writes the array's script, and returns it.
    fn write_array(&self) -> String {
        let script =
            self.printed(&["plan", "study.toml", "--sweep", "s", "--no-measure", "--array", "shell"]);
        fs::write(self.path("array.sh"), &script).unwrap();
        script
    }

    /// The command that runs the array, so many tasks at a time.
    fn array(&self, jobs: &str) -> Command {
        // The script calls `sandbox` by its name.
        let program = Path::new(env!("CARGO_BIN_EXE_sandbox"));
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["array.sh", jobs]).current_dir(self.folder.path()).env("PATH", &path);
        command
    }

    /// Compares the records, the scenario and the report of the merged run with those of a run of one process.
    fn assert_merged_is(&self, whole: &Path, arms: &[&str], seeds: &[&str]) {
        let merged = self.path("s/merged");
        for (arm, seed) in arms.iter().flat_map(|arm| seeds.iter().map(move |seed| (arm, seed))) {
            for file in ["metrics.jsonl", "eval.jsonl", "rollouts.jsonl"] {
                let place = Path::new(arm).join(seed).join(file);
                let (found, expected) = (timeless(&merged.join(&place)), timeless(&whole.join(&place)));
                assert!(!expected.is_empty());
                assert_eq!(found, expected, "{}", place.display());
            }
        }
        let scenario = |dir: &Path| fs::read_to_string(dir.join("scenario.toml")).unwrap();
        assert_eq!(scenario(&merged), scenario(whole));
        assert_eq!(self.reported(&merged), self.reported(whole));
    }

    /// What the report says of the arms, without what the clock and the place of the run say.
    fn reported(&self, dir: &Path) -> Value {
        let summary: Value = serde_json::from_slice(&fs::read(dir.join("summary.json")).unwrap()).unwrap();
        let mut arms = summary["arms"].clone();
        forget_times(&mut arms);
        for arm in arms.as_array_mut().unwrap() {
            let fields = arm.as_object_mut().unwrap();
            for seed in fields["seeds"].as_array_mut().unwrap() {
                let checkpoint = PathBuf::from(seed["checkpoint"].as_str().unwrap());
                assert!(self.folder.path().join(&checkpoint).is_dir(), "{}", checkpoint.display());
                seed.as_object_mut().unwrap().retain(|name, _| name != "checkpoint");
            }
            fields.retain(|name, _| {
                ["name", "evals", "seeds", "evaluations", "questions"].contains(&name.as_str())
            });
        }
        arms
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The rows of a JSON-lines file without what the clock says.
fn timeless(path: &Path) -> Vec<Map<String, Value>> {
    let rows = fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let mut row: Map<String, Value> = serde_json::from_str(line).unwrap();
        row.retain(|name, _| !name.ends_with("_seconds") && !name.ends_with("_per_second"));
        row
    };
    rows.lines().map(row).collect()
}

/// Removes what the clock says, at any depth.
fn forget_times(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !name.ends_with("_seconds") && !name.ends_with("_per_second"));
        fields.values_mut().for_each(forget_times);
    }
    if let Some(values) = value.as_array_mut() {
        values.iter_mut().for_each(forget_times);
    }
}

fn only_folder(path: &Path) -> PathBuf {
    let mut folders = fs::read_dir(path).unwrap();
    let folder = folders.next().unwrap().unwrap().path();
    assert!(folders.next().is_none());
    folder
}

#[test]
fn a_sweep_whose_tasks_were_killed_is_the_run_that_was_not() {
    let study = Study::new();
    study.printed(&["study.toml", "--no-control", "-q"]);
    let whole = only_folder(&study.path("runs"));

    // SWEEP-1.
    let plan = study.printed(&["plan", "study.toml", "--sweep", "s", "--no-measure"]);
    assert!(plan.contains("4 tasks; nothing was measured"), "{plan}");
    study.kill_in_the_middle("2", "002-b-seed-3/b/seed-3");
    study.kill_in_the_middle("3", "003-a-seed-4/a/seed-4");
    let unfinished = study.refused(&["merge-runs", "s"]);
    assert!(
        unfinished.contains("s: 4 of 4 tasks are not done: 1 a/seed-3 (not begun), 2 b/seed-3 (running), "),
        "{unfinished}"
    );
    let script = study.write_array();
    let ran = study.array("2").output().unwrap();
    assert!(ran.status.success(), "{script}\n{}", text(&ran.stderr));
    // A second time, there is nothing to do.
    assert!(text(&study.array("2").output().unwrap().stderr).contains("task 4 (b/seed-4) is done: "));

    study.printed(&["merge-runs", "s"]);
    study.assert_merged_is(&whole, &["a", "b"], &["seed-3", "seed-4"]);
    assert!(study.printed(&["verify", "s/merged"]).contains("whole"));
    let again = study.refused(&["merge-runs", "s"]);
    assert!(
        again.contains("s/merged: exists already; remove it, or choose another folder with --out"),
        "{again}"
    );
}

#[test]
fn what_does_not_belong_to_a_sweep_is_refused() {
    let study = Study::new();
    study.printed(&["study.toml", "--sweep", "s", "--task", "1", "--no-control", "-q"]);
    let number = study.refused(&["study.toml", "--sweep", "s", "--task", "5", "-q"]);
    assert!(number.contains("--task 5: the sweep has 4 tasks; write a number from 1 to 4"), "{number}");
    // SWEEP-2.
    let other = study.refused(&["study.toml", "--sweep", "s", "--task", "2", "--set", "grpo.lr=0.5", "-q"]);
    assert!(other.contains("s/sweep.toml:") && other.contains("lr = 0.5"), "{other}");
    assert!(study.refused(&["merge-runs", "."]).contains("not a sweep (no sweep.toml)"));
    let partial = study.printed(&["merge-runs", "s", "--partial"]);
    assert!(partial.contains('a') && study.path("s/merged/a/seed-3/metrics.jsonl").is_file());
    // A task that another machine ran with another version of the sandbox.
    study.printed(&["study.toml", "--sweep", "s", "--task", "2", "--no-control", "-q"]);
    let environment = study.path("s/tasks/002-b-seed-3/environment.json");
    let changed =
        fs::read_to_string(&environment).unwrap().replace("\"device\": \"Cpu\"", "\"device\": \"Cuda(0)\"");
    fs::write(&environment, changed).unwrap();
    let differ = study.refused(&["merge-runs", "s", "--partial", "--out", "other"]);
    assert!(differ.contains("differ: device Cpu and Cuda(0)"), "{differ}");
}

#[test]
fn a_plan_says_what_every_task_takes_from_steps_that_were_taken() {
    let study = Study::new();
    let plan: Value =
        serde_json::from_str(&study.printed(&["plan", "study.toml", "--sweep", "s", "--json"])).unwrap();
    let tasks = plan["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 4);
    for task in tasks {
        let needs = &task["needs"];
        assert!(
            needs["seconds"].as_f64().unwrap() > 0.0 && needs["memory_bytes"].as_u64().unwrap() > 10_000_000
        );
        // 8 steps of at most 2 · 2 completions of 4 tokens, and at least one token each.
        let tokens = needs["tokens"].as_f64().unwrap();
        assert!((32.0..=128.5).contains(&tokens), "{tokens}");
    }
    assert_eq!(tasks[0]["needs"]["seconds"], tasks[2]["needs"]["seconds"], "each arm is measured once");
    // It is kept: the scripts ask for what was measured.
    let slurm = study.printed(&["plan", "study.toml", "--sweep", "s", "--array", "slurm"]);
    assert!(slurm.contains("#SBATCH --array=1-4\n") && slurm.contains("#SBATCH --mem="), "{slurm}");
}
