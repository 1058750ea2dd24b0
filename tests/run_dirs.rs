//! What becomes of a run directory when something goes wrong around it: owners, damage, disappearance, signals. Like
//! `cli.rs`, these tests run the built `sandbox`.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use records::{ArmDir, ArmFile, ArmId, RunDir, is_timing, verify};
use serde_json::{Map, Value};

/// One short arm from random weights, with many checkpoints and evaluations.
const SCENARIO: &str = r#"
[run]
name = "short"
steps = 8
seeds = [7]
parallel_arms = 1
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 8
heldout_clips = 4

[sampling]
group_size = 2
prompts_per_step = 2
max_new_tokens = 8

[rewards.length]
kind = "format"

[shaping]
formula = "length"

[eval]
every = 2
at_start = true
limit = 4

[checkpoint]
every = 2
keep = 2

# Random weights hardly vary in their rewards.
[limits]
action = "ignore"
"#;

const GRPO: &str = "[[arm]]\nname = \"grpo\"\n";

/// Steps enough that a run is still going on when a test does something to it.
const LONG: &str = "run.steps=4000";

struct Runs {
    folder: tempfile::TempDir,
}

impl Runs {
    fn new(arms: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("short.toml"), format!("{SCENARIO}\n{arms}")).unwrap();
        Runs { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("RUST_LOG");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).arg("--no-control").output().unwrap())
    }

    /// Starts the scenario, and waits until the arm has this checkpoint.
    fn started(&self, arguments: &[&str], step: u64) -> (Child, RunDir) {
        let mut command = self.command(arguments);
        let child =
            command.arg("--no-control").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the checkpoint is written", || {
            self.last().is_some_and(|dir| grpo(&dir).checkpoint(step).is_dir())
        });
        (child, self.last().unwrap())
    }

    /// The newest run directory.
    fn last(&self) -> Option<RunDir> {
        let dirs = fs::read_dir(self.folder.path().join("runs")).ok()?;
        let mut dirs: Vec<PathBuf> = dirs.map(|dir| dir.unwrap().path()).collect();
        dirs.sort();
        dirs.pop().map(RunDir::new)
    }
}

struct Ran {
    code: Option<i32>,
    said: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let (said, printed) = (&output.stderr, &output.stdout);
        let said = format!("{}{}", String::from_utf8_lossy(said), String::from_utf8_lossy(printed));
        Ran { code: output.status.code(), said }
    }

    fn ended(child: Child) -> Self {
        Ran::of(&child.wait_with_output().unwrap())
    }

    fn assert(&self, code: i32, says: &str) {
        assert!(self.code == Some(code) && self.said.contains(says), "{:?}: {}", self.code, self.said);
        assert!(!self.said.contains("panicked"), "{}", self.said);
    }
}

fn grpo(run_dir: &RunDir) -> ArmDir {
    run_dir.arm(&ArmId::new("grpo", 7))
}

fn path(run_dir: &RunDir) -> &str {
    run_dir.path().to_str().unwrap()
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does; then its children ignore it too, as they should.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    // Bit 0 is signal 1, SIGHUP.
    u64::from_str_radix(mask.trim(), 16).unwrap_or(0) & 1 == 1
}

fn signal(child: &Child, name: &str) {
    // The shell's own: Debian's smallest installation has no program of that name.
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..24_000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("timed out waiting until {what}");
}

/// The rows of an arm's file without the fields that time decides.
fn rows(run_dir: &RunDir, file: ArmFile) -> Vec<Map<String, Value>> {
    let text = fs::read_to_string(grpo(run_dir).file(file)).unwrap_or_default();
    let row = |line: &str| {
        let mut row: Map<String, Value> = serde_json::from_str(line).unwrap();
        row.retain(|name, _| !is_timing(name));
        row
    };
    text.lines().map(row).collect()
}

fn assert_same_records(one: &RunDir, other: &RunDir) {
    for file in ArmFile::ALL {
        assert_eq!(rows(one, file), rows(other, file), "{}", file.name());
    }
}

/// LOCK-1
#[test]
fn a_second_owner_is_refused_and_a_dead_ones_lock_is_taken_over() {
    let runs = Runs::new(GRPO);
    let (mut first, dir) = runs.started(&["short.toml", "--set", LONG], 2);
    let holder = format!("is in use by process {}", first.id());
    runs.run(&["--resume", path(&dir)]).assert(2, &holder);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(dir.lock().is_file(), "a killed owner leaves its file behind");
    // What the killed process had written beyond the end of the shorter run is cut, and every step is there once.
    let killed = RunDir::new(dir.path());
    let steps = rows(&killed, ArmFile::Metrics).len() + 4;
    runs.run(&["--resume", path(&dir), "--set", &format!("run.steps={steps}")]).assert(0, "report");
    let found: Vec<u64> =
        rows(&dir, ArmFile::Metrics).iter().map(|row| row["step"].as_u64().unwrap()).collect();
    assert_eq!(found, (1..=steps as u64).collect::<Vec<_>>());
    assert!(!dir.lock().exists());
}

/// GONE-1
#[test]
fn whatever_disappears_or_changes_under_a_run_ends_it_by_name() {
    let cut = |path: PathBuf| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(40).unwrap();
    let replace = |path: PathBuf| {
        let other = path.with_extension("other");
        fs::copy(&path, &other).unwrap();
        fs::rename(other, path).unwrap();
    };
    type Harm<'a> = &'a dyn Fn(&RunDir);
    let harms: [(&str, Harm); 5] = [
        ("was removed or replaced", &|dir| {
            fs::rename(dir.path(), dir.path().with_extension("moved")).unwrap()
        }),
        ("metrics.jsonl: was changed", &|dir| cut(grpo(dir).metrics())),
        ("rollouts.jsonl: was removed or replaced", &|dir| replace(grpo(dir).rollouts())),
        ("grpo/seed-7: was removed or replaced", &|dir| {
            fs::rename(grpo(dir).path(), dir.path().join("elsewhere")).unwrap();
        }),
        ("checkpoints/step-", &|dir| fs::remove_dir_all(grpo(dir).checkpoints()).unwrap()),
    ];
    for (says, harm) in harms {
        let runs = Runs::new(GRPO);
        let (child, dir) = runs.started(&["short.toml", "--set", LONG], 2);
        harm(&dir);
        let ran = Ran::ended(child);
        // The folder of an arm and its files disappear together.
        let says = if says.starts_with("grpo/") { "was removed or replaced" } else { says };
        ran.assert(1, says);
        assert!(!ran.said.contains("grpo (seed 7): done"), "{}", ran.said);
    }
}

/// VERIFY-1
#[test]
fn verify_finds_every_changed_byte_and_nothing_in_a_whole_directory() {
    let runs = Runs::new(GRPO);
    runs.run(&["short.toml"]).assert(0, "report");
    let dir = runs.last().unwrap();
    assert_eq!(verify(&dir).unwrap().findings, []);
    let mut files: Vec<PathBuf> = ArmFile::ALL.iter().map(|&file| grpo(&dir).file(file)).collect();
    files.retain(|file| file.exists());
    files.push(grpo(&dir).status());
    for folder in fs::read_dir(grpo(&dir).checkpoints()).unwrap() {
        files.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    // A linear congruential generator (Knuth's MMIX); the places are the same in every run of the test.
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..200 {
        let file = &files[next(files.len())];
        let whole = fs::read(file).unwrap();
        let mut damaged = whole.clone();
        let (place, bit) = (next(whole.len()), next(8));
        damaged[place] ^= 1 << bit;
        fs::write(file, damaged).unwrap();
        let findings = verify(&dir).unwrap().findings;
        assert!(!findings.is_empty(), "{}: byte {place}, bit {bit}", file.display());
        fs::write(file, whole).unwrap();
    }
    assert_eq!(verify(&dir).unwrap().findings, []);
}

/// REPAIR-1
#[test]
fn a_damaged_directory_is_refused_and_repaired_without_losing_a_byte() {
    let runs = Runs::new(GRPO);
    runs.run(&["short.toml"]).assert(0, "report");
    let unbroken = runs.last().unwrap();
    // A digit in the last rows, a row that can't be read any more, and a byte of the newest weights.
    type Harm<'a> = &'a dyn Fn(&RunDir) -> PathBuf;
    let change = |path: PathBuf, from: &str, to: &str| {
        let text = fs::read_to_string(&path).unwrap();
        let (place, _) = text.rmatch_indices(from).next().unwrap();
        fs::write(&path, format!("{}{to}{}", &text[..place], &text[place + from.len()..])).unwrap();
        path
    };
    let harms: [(&str, Harm); 3] = [
        ("metrics.jsonl:7-8: was changed", &|dir| change(grpo(dir).metrics(), "\"loss\":", "\"lass\":")),
        ("metrics.jsonl:8: is not a line of metrics", &|dir| {
            change(grpo(dir).metrics(), "\"step\":8", "\"step\":x")
        }),
        ("model.safetensors: was changed", &|dir| {
            let path = grpo(dir).checkpoint(8).join("model.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 9;
            bytes[last] ^= 4;
            fs::write(&path, bytes).unwrap();
            path
        }),
    ];
    for (says, harm) in harms {
        let copied = runs.folder.path().join("damaged");
        copy_folder(unbroken.path(), &copied);
        let dir = RunDir::new(&copied);
        let before = harm(&dir);
        let before = (fs::read(&before).unwrap(), before);
        let verified = runs.command(&["verify", path(&dir)]).output().unwrap();
        Ran::of(&verified).assert(1, says);
        runs.run(&["--resume", path(&dir)]).assert(2, says);
        assert_eq!(fs::read(&before.1).unwrap(), before.0, "a refused directory is not changed");
        runs.run(&["--resume", path(&dir), "--repair"]).assert(0, "goes on from step 6");
        assert_eq!(verify(&dir).unwrap().findings, []);
        assert_same_records(&unbroken, &dir);
        if before.1.ends_with("metrics.jsonl") {
            let damaged = fs::read(grpo(&dir).path().join("metrics.jsonl.damaged")).unwrap();
            assert!(before.0.ends_with(&damaged) && !damaged.is_empty());
        } else {
            assert!(grpo(&dir).checkpoints().join("step-000008.damaged").is_dir());
        }
        fs::remove_dir_all(copied).unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// ARM-2
#[test]
fn arms_whose_reward_data_or_judge_vanishes_fail_alone_and_finish_when_it_is_back() {
    let arm = |name: &str, settings: &str| format!("[[arm]]\nname = \"{name}\"\n{settings}\n");
    // Nobody listens on this port while the judge is away.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let judge = format!(
        "judge = {{ kind = \"openai\", base_url = \"http://{address}/v1\", model = \"m\", retries = 0 }}\n\
         rewards.c.kind = \"consistency\"\nshaping.formula = \"length + c\""
    );
    let arms = [
        arm("grpo", "steps = 60"),
        arm("reward", "rewards.mine = { kind = \"python\", file = \"mine.py\" }\nshaping.formula = \"mine\""),
        arm("b", "steps = 2"),
        arm("data", "data.train = { format = \"avqa\", path = \"rows.jsonl\" }"),
        arm("c", "steps = 2"),
        arm("judge", &judge),
        arm("d", "steps = 2"),
        arm("e", "steps = 2"),
    ];
    let runs = Runs::new(&arms.concat());
    let file = |name: &str| runs.folder.path().join(name);
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/audio/tone_0p5s.wav");
    let row = |id: u64| {
        let choices = ["a dog", "a tone"];
        serde_json::json!({ "id": id.to_string(), "question_text": "What is it?", "multi_choice": choices, "answer": 1,
            "audio_path": clip })
    };
    fs::write(file("rows.jsonl"), (1..=4).map(|id| format!("{}\n", row(id))).collect::<String>()).unwrap();
    fs::write(file("mine.py"), "def reward(completions):\n    return [float(len(c)) for c in completions]\n")
        .unwrap();
    let (child, dir) = runs.started(&["short.toml"], 2);
    for name in ["mine.py", "rows.jsonl"] {
        fs::rename(file(name), file(&format!("{name}.away"))).unwrap();
    }
    let ran = Ran::ended(child);
    assert_eq!(ran.code, Some(1), "{}", ran.said);
    let state = |name: &str| {
        let status = dir.arm(&ArmId::new(name, 7)).read_status().unwrap().unwrap();
        (status.state.name(), status.state.reason().unwrap_or_default().to_owned())
    };
    for name in ["grpo", "b", "c", "d", "e"] {
        assert_eq!(state(name).0, "done", "{name}: {}", ran.said);
    }
    let report = fs::read_to_string(dir.summary_markdown()).unwrap();
    for (name, says) in [("reward", "mine.py"), ("data", "rows.jsonl"), ("judge", "127.0.0.1")] {
        let (state, reason) = state(name);
        assert!(state == "failed" && reason.contains(says), "{name}: {state}: {reason}");
        assert!(ran.said.contains(&format!("{name} (seed 7) failed at step 0: ")), "{}", ran.said);
        assert!(report.contains(&format!("| {name} (failed) ")), "{report}");
        assert!(report.contains(&format!("{name} (seed 7) failed")) && report.contains(says), "{report}");
    }
    for name in ["mine.py", "rows.jsonl"] {
        fs::rename(file(&format!("{name}.away")), file(name)).unwrap();
    }
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        listener.incoming().for_each(|client| drop(judge_of_one_reply(client.unwrap())))
    });
    runs.run(&["--resume", path(&dir)]).assert(0, "report");
    assert!(
        ["grpo", "reward", "b", "data", "c", "judge", "d", "e"].iter().all(|name| state(name).0 == "done")
    );
    assert_eq!(verify(&dir).unwrap().findings, []);
}

/// Answers one request to a judge's server with a favourable verdict.
fn judge_of_one_reply(mut client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        let header = line.to_ascii_lowercase();
        length = header.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
        line.clear();
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let reply = serde_json::json!({ "choices": [{ "index": 0, "finish_reason": "stop",
        "message": { "role": "assistant", "content": "{\"consistent\": 1, \"quality\": 0.7}" } }] });
    let reply = reply.to_string();
    write!(client, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")?;
    write!(client, "content-length: {}\r\n\r\n{reply}", reply.len())
}

/// SIGNAL-1
#[test]
fn signals_end_a_run_after_a_checkpoint_and_a_second_one_at_once() {
    for name in ["INT", "TERM", "HUP"] {
        if name == "HUP" && hangup_is_ignored() {
            continue;
        }
        let runs = Runs::new(GRPO);
        let (child, dir) = runs.started(&["short.toml", "--set", LONG], 2);
        signal(&child, name);
        Ran::ended(child).assert(130, "to continue: sandbox --resume");
        assert_eq!(verify(&dir).unwrap().findings, [], "{name}");
    }
    for _ in 0..4 {
        let runs = Runs::new(GRPO);
        let (child, dir) = runs.started(&["short.toml", "--set", LONG], 2);
        signal(&child, "INT");
        signal(&child, "TERM");
        assert_eq!(Ran::ended(child).code, Some(130));
        assert_eq!(verify(&dir).unwrap().findings, []);
    }
}

/// SIGNAL-1
#[test]
fn a_run_goes_on_when_nobody_reads_what_it_prints() {
    let runs = Runs::new(GRPO);
    let (mut child, dir) = runs.started(&["short.toml", "--set", "run.steps=40"], 2);
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rows(&dir, ArmFile::Metrics).len(), 40);
}
