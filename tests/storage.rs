//! Runs of the built `sandbox` that are uploaded to a store, killed and resumed from there. The store is a small S3 server within the
//! test; `make storage` does the same with a real one. A test of the package `sandbox` (see bin/Cargo.toml), for which cargo builds
//! that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use s3_server::S3Server;
use serde_json::{Map, Value};

mod s3_server;

const SECRET: &str = "planted-secret-of-the-store";

const SCENARIO: &str = r#"
[run]
name = "stored"
seeds = [3]
steps = 12
device = "cpu"
threads = 1

[storage]
url = "s3://bucket/audio"
every_seconds = 1

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
"#;

struct Study {
    folder: tempfile::TempDir,
    server: S3Server,
}

impl Study {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("stored.toml"), SCENARIO).unwrap();
        Study { folder, server: S3Server::start() }
    }

    fn sandbox(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("RUST_LOG");
        command.env("AWS_ENDPOINT_URL", &self.server.url).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", SECRET);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.sandbox(arguments).output().unwrap()
    }

    /// Runs to an expected exit code, and returns what was printed to standard error.
    fn ends_with(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.sandbox(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The only run directory in a folder.
    fn run_dir(&self, out: &str) -> PathBuf {
        let mut found = fs::read_dir(self.folder.path().join(out)).unwrap();
        let run = found.next().unwrap().unwrap().path();
        assert!(found.next().is_none());
        run
    }
}

/// The lines of an arm's file without the columns that hold times.
fn rows(run: &Path, file: &str) -> Vec<Map<String, Value>> {
    let text = fs::read_to_string(run.join("a/seed-3").join(file)).unwrap();
    let row = |line: &str| {
        let mut row: Map<String, Value> = serde_json::from_str(line).unwrap();
        row.retain(|name, _| !name.ends_with("_seconds") && !name.ends_with("_per_second"));
        row
    };
    text.lines().map(row).collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// STORE-1, STORE-2, STORE-3: cut connections, SIGKILL, another machine, and a second process.
#[test]
fn a_killed_run_goes_on_elsewhere_from_what_is_in_the_store() {
    let study = Study::new();
    study.ends_with(
        0,
        &[
            "stored.toml",
            "-q",
            "--out",
            "unbroken",
            "--set",
            "storage.url=s3://bucket/unbroken",
            "--set",
            "run.steps=40",
        ],
    );
    let unbroken = study.run_dir("unbroken");

    study.server.cut_every(5);
    // The unbroken run has as many checkpoints as it has evaluations; this one has one after each step.
    let more = ["--set", "run.steps=40", "--set", "checkpoint.every=1"];
    let mut run = study.start(&[&["stored.toml", "--out", "here"], &more[..]].concat());
    wait_until("a stored checkpoint", || study.server.names("audio/", "/manifest.json"));
    run.kill().unwrap();
    run.wait().unwrap();
    let here = study.run_dir("here");
    let name = here.file_name().unwrap().to_str().unwrap();
    let url = format!("s3://bucket/audio/{name}");

    // The machine is gone; on another one the run goes on to its end. It may be just before its last step already.
    fs::rename(&here, study.folder.path().join("gone")).unwrap();
    study.ends_with(0, &["--resume", &url, "--out", "there"]);
    let there = study.run_dir("there");
    for file in ["metrics.jsonl", "rollouts.jsonl", "eval.jsonl"] {
        assert_eq!(rows(&there, file), rows(&unbroken, file), "{file}");
    }

    // What is in the store is the whole run.
    study.ends_with(0, &["fetch", &url, "fetched"]);
    study.ends_with(0, &["verify", "fetched"]);
    let fetched = study.folder.path().join("fetched");
    for file in ["metrics.jsonl", "rollouts.jsonl", "eval.jsonl", "status.json"] {
        let read = |run: &Path| fs::read(run.join("a/seed-3").join(file)).unwrap();
        assert_eq!(read(&fetched), read(&there), "{file}");
    }
    assert!(!fetched.join("control.json").exists() && fetched.join("report.html").exists());
    assert!(study.server.cuts() > 3, "{} connections were cut", study.server.cuts());
    let written = study.server.everything();
    assert!(!written.contains(SECRET), "the secret is in the store");

    // The process on the first machine comes back: it takes the folder over, and says from whom. Another run is refused.
    study.server.cut_every(0);
    let gone = study.folder.path().join("gone");
    fs::remove_file(gone.join("storage.json")).unwrap();
    let renamed = study.folder.path().join("other").join(name);
    fs::create_dir(renamed.parent().unwrap()).unwrap();
    fs::rename(gone, &renamed).unwrap();
    let said = study.ends_with(2, &["upload", renamed.to_str().unwrap(), "s3://bucket/audio"]);
    assert!(said.contains(&format!("{url}: has the run {name} of process")), "{said}");
}

/// STORE-3.
#[test]
fn a_store_that_goes_away_costs_exit_code_3_and_the_rest_can_be_uploaded_later() {
    let study = Study::new();
    // Long enough that it has not ended when the store goes away.
    let run = study.start(&[
        "stored.toml",
        "--out",
        "runs",
        "--set",
        "storage.wait_seconds=1",
        "--set",
        "run.steps=60",
    ]);
    wait_until("a stored scenario", || study.server.names("audio/", "scenario.toml"));
    study.server.refuse(true);
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let dir = study.run_dir("runs");
    assert!(
        said.contains("not uploaded to s3://bucket/audio/stored-") && said.contains("sandbox upload runs/"),
        "{said}"
    );
    assert_eq!(rows(&dir, "metrics.jsonl").len(), 60, "the run itself is whole");

    study.server.refuse(false);
    let dir = dir.to_str().unwrap();
    study.ends_with(0, &["upload", dir]);
    let before = study.server.puts();
    study.ends_with(0, &["upload", dir]);
    assert_eq!(study.server.puts() - before, 1, "only run.json, whose writer is another process");
}

#[test]
fn a_store_that_cannot_be_used_is_refused_before_the_first_step() {
    let study = Study::new();
    study.server.deny(true);
    let said = study.ends_with(2, &["stored.toml", "--out", "runs", "-q"]);
    assert!(said.contains("check the bucket, its region and the credentials in the environment"), "{said}");
    assert_eq!(fs::read_dir(study.folder.path().join("runs")).unwrap().count(), 0);
    let said = study.ends_with(2, &["stored.toml", "--set", "storage.url=bucket/audio"]);
    assert!(said.contains("write a bucket and a folder in it, such as \"s3://bucket/audio\""), "{said}");
    study.server.deny(false);
    let said = study.ends_with(2, &["fetch", "s3://bucket/audio/nothing"]);
    assert!(said.contains("no run is stored there"), "{said}");
    let said = study.ends_with(2, &["--resume", "runs/x", "--out", "y"]);
    assert!(said.contains("a run is resumed where it is"), "{said}");
}
