//! `sandbox ctl` and the control channel of the built `sandbox`, used as from a shell. A test of the package `sandbox`
//! (see bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

mod python_client;

/// A run of a random policy, long enough not to end by itself.
struct Run {
    dir: tempfile::TempDir,
    child: Child,
    /// The address of the page that it printed.
    page: String,
}

fn sandbox(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.current_dir(dir).env_remove("RUST_LOG").env("http_proxy", "http://127.0.0.1:9");
    command
}

fn scenario() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scenarios/smoke.toml").display().to_string()
}

const LONG: [&str; 8] = [
    "--arm",
    "grpo",
    "--set",
    "policy.from_scratch=true",
    "--set",
    "run.steps=100000",
    "--set",
    "eval.every=0",
];

impl Run {
    fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = sandbox(dir.path())
            .arg(scenario())
            .args(LONG)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let page = page_of(&mut child);
        Run { dir, child, page }
    }

    /// Kills the process and resumes the run in another.
    fn kill_and_resume(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut command = sandbox(self.dir.path());
        command.arg("--resume").arg(self.run_dir()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.child = command.spawn().unwrap();
        self.page = page_of(&mut self.child);
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        sandbox(self.dir.path()).arg("ctl").args(arguments).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let (said, wrong) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), wrong.as_str()), (Some(0), ""), "{arguments:?}: {said}");
        said
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(&[&["--json"], arguments].concat())).unwrap()
    }

    /// The line printed by a command that is refused.
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert_eq!((said.lines().count(), text(&output.stdout).as_str()), (1, ""), "{said}");
        said
    }

    fn run_dir(&self) -> PathBuf {
        fs::read_dir(self.dir.path().join("runs")).unwrap().next().unwrap().unwrap().path()
    }
}

/// The address of the page that a run prints when it starts.
fn page_of(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let page = lines.find_map(|line| line.unwrap().strip_prefix("live page: ").map(str::to_owned)).unwrap();
    // The rest must be read, or the run blocks on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    page
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_run_is_steered_from_a_shell() {
    let mut run = Run::start(&[]);
    let file: Value = serde_json::from_slice(&fs::read(run.run_dir().join("control.json")).unwrap()).unwrap();
    let (address, token) = (file["address"].as_str().unwrap(), file["token"].as_str().unwrap());
    assert_eq!(run.page, format!("{address}/#{token}"));
    assert!(!fs::read_to_string(run.run_dir().join("run.log")).unwrap().contains(token));

    // Follows the run from here to its end.
    let mut watch = sandbox(run.dir.path()).args(["ctl", "watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut watched = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let step = watched.find(|line| line.contains("/100000  ")).unwrap();
    assert!(step.starts_with("grpo (seed 7): step ") && step.contains("  reward "), "{step}");

    assert!(run.said(&["state"]).contains("running"));
    let weight = run.json(&["weights"])["format"].as_f64().unwrap();
    assert_ne!(weight, 0.125);
    let said = run.said(&["weights", "format=0.125"]);
    assert!(
        said.starts_with("grpo (seed 7): in force from step ") && said.ends_with("(version 1)\n"),
        "{said}"
    );
    assert_eq!(run.json(&["weights"])["format"], 0.125);
    let change = watched.find(|line| line.contains("change")).unwrap();
    assert!(
        change.contains("format ") && change.contains(" → 0.125") && change.contains("by ctl"),
        "{change}"
    );

    fs::write(run.dir.path().join("tidy.toml"), "kind = \"format\"\n").unwrap();
    run.said(&["add", "tidy", "tidy.toml", "--formula", "accuracy + w_tidy * tidy", "--weight", "tidy=0.5"]);
    assert!(run.said(&["rewards"]).contains("tidy"));
    run.said(&["swap", "tidy", "tidy.toml"]);
    assert_eq!(run.json(&["rewards"])["tidy"]["generation"], 2);
    let length =
        "def reward(completions, **columns):\n    return [len(text) / 100 for text in completions]\n";
    fs::write(run.dir.path().join("length.py"), length).unwrap();
    run.said(&["swap", "tidy", "length.py"]);
    assert_eq!(run.json(&["rewards"])["tidy"]["form"], "python");
    // With its weight alone a new reward joins the formula; without, a line says that it is not used.
    run.said(&["add", "my-length", "length.py", "--weight", "my-length=0.1"]);
    let formula = "accuracy + w_tidy * tidy + {w_my-length} * {my-length}";
    assert_eq!(run.json(&["formula"])["formula"], formula);
    // ADD-1: it is not replaced in silence.
    let taken = run.refused(1, &["add", "my-length", "tidy.toml", "--weight", "my-length=0.2"]);
    assert!(taken.contains("there is a reward `my-length` already; swap it"), "{taken}");
    assert!(run.refused(1, &["add", "my-length", "tidy.toml"]).contains("`my-length` already"));
    assert_eq!(run.json(&["formula"])["formula"], formula);
    assert_eq!(run.json(&["rewards"])["my-length"]["generation"], 1);
    let said = run.said(&["add", "idle", "length.py"]);
    assert!(
        said.ends_with("scored and logged only: `idle` is not in the formula of grpo (seed 7)\n"),
        "{said}"
    );
    run.said(&["remove", "idle"]);
    run.said(&["formula", "accuracy + w_tidy * tidy + w_new * format", "--weight", "new=0.5"]);
    run.said(&["remove", "my-length"]);
    run.said(&["formula", "accuracy + w_tidy * tidy"]);
    assert!(run.said(&["formula"]).contains("accuracy + w_tidy * tidy"));
    run.said(&["remove", "format"]);
    let journal = run.said(&["journal"]);
    assert!(journal.contains("reward tidy – → format") && journal.contains("ctl"), "{journal}");

    // A change relative to the present value, and one that names a version that is not the newest.
    run.said(&["weights", "tidy=0.5"]);
    let version = run.json(&["state"])["arms"][0]["conditions"]["version"].as_u64().unwrap();
    run.said(&["weights", "tidy+=0.25"]);
    assert_eq!(run.json(&["weights"])["tidy"], 0.75);
    let stale = run.refused(1, &["--if-version", &version.to_string(), "weights", "tidy=0.125"]);
    let told = format!("version {} by ctl at ", version + 1);
    assert!(stale.contains(&told) && stale.contains("weights.tidy 0.5 → 0.75"), "STALE-1: {stale}");
    run.said(&["--if-version", &(version + 1).to_string(), "weights", "tidy=0.5"]);

    run.said(&["pause", "--reason", "lunch"]);
    assert!(watched.any(|line| line == "grpo (seed 7): paused: lunch"));
    assert!(run.said(&["state"]).contains("lunch"));
    let before = run.json(&["state"])["totals"]["steps_done"].as_u64().unwrap();
    run.said(&["step", "3"]);
    assert!(watched.any(|line| line.starts_with("grpo (seed 7): paused")));
    assert_eq!(run.json(&["state"])["totals"]["steps_done"], before + 3);
    let metrics = run.said(&["metrics", "--last", "2"]);
    assert!(metrics.contains("tidy") && metrics.lines().count() == 4, "{metrics}");
    assert!(run.said(&["rollouts", "--step", &(before + 3).to_string()]).contains("gold"));
    assert!(run.said(&["actors"]).contains("sampler"));
    let folder = run.said(&["checkpoint"]);
    let folder = folder.trim().strip_prefix("grpo (seed 7): checkpoint ").unwrap().to_owned();
    assert!(run.dir.path().join(folder).is_dir());

    assert!(run.refused(1, &["weights", "tidi=1"]).contains("`tidi`"));
    assert!(run.refused(1, &["formula", "accuracy +"]).contains("column"));
    assert!(run.refused(2, &["weights", "tidy"]).contains("think=0.3"));
    assert!(run.refused(2, &["swap", "other", "tidy.toml"]).contains("`other`"));
    assert!(run.refused(2, &["swap", "tidy", "gone.toml"]).contains("gone.toml"));
    let unknown = run.refused(2, &["--arm", "gp*", "weights"]);
    assert!(unknown.contains("--arm gp*: no arm matches `gp*`; did you mean `grpo`?"), "{unknown}");
    assert!(run.refused(2, &["--seed", "8", "weights"]).contains("grpo (seed 7)"));
    assert_eq!(run.json(&["--arm", "gr?o", "--arm", "grpo*", "weights"])["tidy"], 0.5);
    let listed = sandbox(run.dir.path()).args(["ls", "--json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["runs"][0]["state"], "paused", "{listed}");
    assert!(run.refused(2, &["rollouts", "--sort", "nothing"]).contains("components."));
    let no_field = run.refused(2, &["metrics", "--fields", "nothing"]);
    assert!(no_field.contains("grpo (seed 7): there is no field `nothing`"), "{no_field}");

    run.said(&["stop"]);
    assert!(watched.any(|line| line == "the run has ended"));
    assert!(watch.wait().unwrap().success());
    assert!(run.child.wait().unwrap().success());
    assert!(!run.run_dir().join("control.json").exists());
    assert!(run.refused(2, &["state"]).contains("no run is running"));
}

#[test]
fn bookmarks_are_made_from_a_shell_and_survive_a_kill() {
    let mut run = Run::start(&[]);
    run.said(&["step", "1"]);
    let made = run.said(&["bookmark", "it guesses"]);
    assert!(made.contains("bookmark 1 at step") && made.contains("it guesses"), "{made}");
    run.said(&["bookmark", "--at", "0", "the beginning"]);
    assert!(run.said(&["bookmark", "--number", "1", "it still guesses"]).contains("it still guesses"));
    assert!(run.refused(1, &["bookmark", "--remove", "7"]).contains("there is no bookmark 7"));
    run.kill_and_resume();
    let listed = run.said(&["bookmarks"]);
    assert!(listed.contains("it still guesses") && listed.contains("the beginning"), "{listed}");
    assert!(run.said(&["bookmark", "--remove", "2"]).contains("bookmark 2 is removed"));
    let next = run.json(&["bookmark", "--at", "0", "a third"]);
    assert_eq!((&next["number"], &next["by"]), (&Value::from(3), &Value::from("ctl")));
    let notes: Vec<String> = run.json(&["bookmarks"])["bookmarks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bookmark| bookmark["note"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(notes, ["it still guesses", "a third"]);
}

#[test]
fn a_run_that_was_killed_or_is_not_there_is_said_to_be() {
    let mut run = Run::start(&[]);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    assert!(run.refused(2, &["state"]).contains("no run is running"));
    let dir = run.run_dir().display().to_string();
    assert!(run.refused(2, &["--run", &dir, "state"]).contains("was killed"));
    assert!(run.refused(2, &["--run", "nowhere", "state"]).contains("no such folder"));
}

#[test]
fn a_taken_port_is_refused_before_anything_is_made_and_no_control_needs_none() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("control.listen=\"{}\"", taken.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut command = sandbox(dir.path());
    command.arg(scenario()).args(["--arm", "base", "--set", "policy.from_scratch=true", "--set", &listen]);
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("is in use") && !dir.path().join("runs").exists(), "{said}");
    let output = command.arg("--no-control").output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && !said.contains("live page"), "{said}");
}

/// TERM-1: what data, the policy, plug-ins and other clients wrote can't steer the terminal of whoever looks at it.
#[test]
fn escape_sequences_in_records_and_messages_do_not_reach_the_terminal() {
    const OBEYED: [char; 6] = ['\u{1b}', '\u{9b}', '\u{7}', '\r', '\u{202e}', '\0'];
    const PLANTED: &str = "dog\u{1b}[2J\u{1b}]0;mine\u{7}\u{9b}31m\r\u{202e}\u{0}";
    let mut run = Run::start(&[]);
    let failing =
        format!("def reward(completions, **columns):\n    raise ValueError({})\n", Value::from(PLANTED));
    fs::write(run.dir.path().join("failing.py"), failing).unwrap();
    let refused = run.ctl(&["add", "failing", "failing.py", "--weight", "failing=1"]);
    let printed = |output: &Output| text(&output.stdout) + &text(&output.stderr);
    let said = printed(&refused);
    assert!(!refused.status.success() && said.contains("dog") && !said.contains(OBEYED), "{said:?}");

    // An argument can't contain the last of them.
    let argument = PLANTED.trim_end_matches('\0');
    run.said(&["pause", "--reason", argument]);
    while !run.said(&["state"]).contains("paused") {
        std::thread::yield_now();
    }
    let records = run.run_dir().join("grpo/seed-7");
    let rollouts = fs::read_to_string(records.join("rollouts.jsonl")).unwrap();
    let (rest, last) = rollouts.trim_end().rsplit_once('\n').unwrap();
    let mut last: Value = serde_json::from_str(last).unwrap();
    for field in ["id", "question", "answer_gold", "completion"] {
        last[field] = PLANTED.into();
    }
    last["step"] = 1_000_000.into();
    fs::write(records.join("rollouts.jsonl"), format!("{rest}\n{last}\n")).unwrap();

    let commands: [&[&str]; 9] = [
        &["rollouts", "--limit", "1"],
        &["state"],
        &["journal"],
        &["actors"],
        &["rewards"],
        &["metrics", "--last", "2"],
        &["--arm", argument, "state"],
        &["formula", argument],
        &["remove", argument],
    ];
    for command in commands {
        for json in [&[][..], &["--json"]] {
            let output = run.ctl(&[json, command].concat());
            let said = printed(&output);
            assert!(!said.contains(OBEYED), "{command:?}: {said:?}");
            if output.status.success() && !json.is_empty() {
                serde_json::from_str::<Value>(&said)
                    .unwrap_or_else(|error| panic!("{command:?}: {error}: {said}"));
            }
        }
    }
    assert!(run.said(&["rollouts", "--limit", "1"]).contains(r"dog\u001b[2J\u001b]0;mine\u0007\u009b31m"));
    let found = &run.json(&["rollouts", "--limit", "1"])["rollouts"][0];
    assert_eq!(found["completion"], PLANTED, "JSON keeps the text itself");

    run.child.kill().unwrap();
    run.child.wait().unwrap();
    let mut status: Value = serde_json::from_slice(&fs::read(records.join("status.json")).unwrap()).unwrap();
    (status["status"], status["reason"]) = ("failed".into(), PLANTED.into());
    fs::write(records.join("status.json"), status.to_string()).unwrap();
    let report = sandbox(run.dir.path()).arg("report").arg(run.run_dir()).output().unwrap();
    assert!(report.status.success() && printed(&report).contains(r"dog\u001b[2J"), "{}", printed(&report));
    assert!(!printed(&report).contains(OBEYED), "{:?}", printed(&report));
    assert!(!fs::read_to_string(run.run_dir().join("summary.md")).unwrap().contains(OBEYED));
}
