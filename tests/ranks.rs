//! Runs on several processes of this machine (RANKS-3 to RANKS-5): equal to a run on one, the same in every repetition, and a
//! clean end when a rank is gone, silent or unlike the others. A test of the package `sandbox`, as `kills.rs` is.
//!
//! `make ranks` runs the same tests with more ranks (`RANKS=2,4`) and more kills (`KILLS=20`), and real torchrun.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use serde_json::Value;

#[path = "ranks/nccl.rs"]
mod nccl;

const STEPS: u64 = 20;

/// GRPO and supervised, all weights and an adapter. With one prompt in a micro-batch, each prompt's gradient is computed in the
/// same way however the prompts are split.
const SCENARIO: &str = r#"
[run]
name = "ranks"
steps = 20
seeds = [7]
threads = 1

[data.soundscapes]
train_clips = 16
heldout_clips = 4

[sampling]
group_size = 4
prompts_per_step = 4
max_new_tokens = 24

[grpo]
lr = 1e-4
kl_coef = 0.04
micro_batch_prompts = 1

[sft]
lr = 1e-4
rows_per_step = 4

[rewards]
accuracy = { kind = "accuracy" }
format = { kind = "format" }

[shaping]
formula = "accuracy + 0.5 * format"

[eval]
every = 0
at_start = false
limit = 2

[checkpoint]
every = 5
keep = 9

[limits]
action = "ignore"

[[arm]]
name = "grpo"

[[arm]]
name = "grpo-lora"
policy.train = "lora"
policy.lora = { rank = 4 }

# What is decided over all tokens of a step, and several optimizer steps in one.
[[arm]]
name = "grpo-more"
grpo = { iterations = 2, entropy_top_fraction = 0.5, covariance = "clip", covariance_fraction = 0.05, covariance_range = [0.01, 5.0] }

[[arm]]
name = "sft"
method = "sft"

[[arm]]
name = "sft-lora"
method = "sft"
policy.train = "lora"
policy.lora = { rank = 4 }
"#;

const ARMS: [&str; 5] = ["grpo", "grpo-lora", "grpo-more", "sft", "sft-lora"];

/// A folder with the scenario and the runs of a test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ranks.toml"), SCENARIO).unwrap();
        Place(dir)
    }

    /// The built program in this folder, without what a launcher may have said to the test itself.
    fn sandbox(&self, arguments: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_sandbox")), arguments)
    }

    fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).args(arguments).arg("--no-control").env_remove("RUST_LOG");
        for name in ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A run to its end on so many ranks, in the folder `name`.
    fn run(&self, name: &str, ranks: usize, more: &[&str]) -> Run {
        let ranks = ranks.to_string();
        let arguments = [&["ranks.toml", "--out", name, "--ranks", &ranks], more].concat();
        let output = self.sandbox(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        self.found(name)
    }

    /// The only run in the folder `name`.
    fn found(&self, name: &str) -> Run {
        let mut runs = fs::read_dir(self.0.path().join(name)).unwrap();
        let dir = runs.next().unwrap().unwrap().path();
        assert!(runs.next().is_none(), "a second run was begun");
        Run(dir)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A run directory.
struct Run(PathBuf);

impl Run {
    fn arm(&self, arm: &str) -> PathBuf {
        self.0.join(arm).join("seed-7")
    }

    /// The rows of an arm without what the clock says.
    fn rows(&self, arm: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.arm(arm).join("metrics.jsonl")).unwrap_or_default();
        let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|name, _| !records::is_timing(name));
        }
        rows
    }

    /// The trained weights of the last checkpoint.
    fn weights(&self, arm: &str) -> BTreeMap<String, Vec<f32>> {
        let folder = self.arm(arm).join(format!("checkpoints/step-{STEPS:06}"));
        let lora = folder.join("adapter_model.safetensors");
        let file = if lora.is_file() { lora } else { folder.join("model.safetensors") };
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let numbers = |data: &[u8]| {
            data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
        };
        tensors.tensors().into_iter().map(|(name, tensor)| (name, numbers(tensor.data()))).collect()
    }
}

/// The largest difference of two sets of weights.
fn difference(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>) -> f32 {
    assert!(a.keys().eq(b.keys()) && !a.is_empty());
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A number list of the environment, such as `RANKS=2,4`.
fn numbers(name: &str, default: &[usize]) -> Vec<usize> {
    let given = std::env::var(name).ok();
    given.map_or(default.to_vec(), |text| text.split(',').map(|number| number.parse().unwrap()).collect())
}

/// RANKS-3: several ranks train what one trains, and the same in every repetition to the last bit; kills included (RANKS-4).
#[test]
fn several_ranks_equal_one_and_themselves_also_after_kills() {
    let place = Place::new();
    let one = place.run("one", 1, &[]);
    let before = place.run("plain", 1, &["--arm", "grpo"]);
    assert_eq!(before.rows("grpo"), one.rows("grpo"), "--ranks 1 is a run without ranks");
    for ranks in numbers("RANKS", &[2]) {
        let several = place.run(&format!("ranks-{ranks}"), ranks, &[]);
        for arm in ARMS {
            let off = difference(&one.weights(arm), &several.weights(arm));
            println!("{ranks} ranks, {arm}: largest difference of a weight {off:e}");
            assert!(off < 1e-5, "{ranks} ranks, {arm}: {off}");
            for (a, b) in one.rows(arm).iter().zip(several.rows(arm)) {
                let (a, b) = (a["loss"].as_f64().unwrap(), b["loss"].as_f64().unwrap());
                assert!((a - b).abs() < 1e-5, "{ranks} ranks, {arm}: loss {a} {b}");
            }
        }
        kills(&place, ranks, &several);
    }
}

/// Kills a rank at random moments, resumes, and compares with the run that nothing happened to.
fn kills(place: &Place, ranks: usize, whole: &Run) {
    let mut draws = Draws(ranks as u64);
    for number in 0..numbers("KILLS", &[3])[0] {
        let name = format!("killed-{ranks}-{number}");
        let count = ranks.to_string();
        let arguments = [
            "ranks.toml",
            "--out",
            &name,
            "--ranks",
            &count,
            "--rank-timeout",
            "5",
            "--arm",
            "grpo",
            "--arm",
            "*lora",
        ];
        let mut leader =
            place.sandbox(&arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // From before the ranks meet until the run is nearly done.
        let moment = draws.below(STEPS);
        let taken = || match fs::read_dir(place.0.path().join(&name)) {
            Ok(mut runs) => runs.next().map_or(0, |run| Run(run.unwrap().path()).rows("grpo").len()),
            Err(_) => 0,
        };
        wait_until(Duration::from_secs(120), || taken() as u64 >= moment);
        std::thread::sleep(Duration::from_millis(draws.below(200)));
        let followers = children(leader.id());
        let victim = draws.below(ranks as u64) as usize;
        match victim {
            0 => leader.kill().unwrap(),
            _ => followers.get(victim - 1).into_iter().for_each(|pid| signal(*pid, "KILL")),
        }
        let code = end_of(&mut leader);
        // The arms train one after another, so most of the run is still to come.
        let killed = victim == 0 || !followers.is_empty();
        assert!(!killed || code != Some(0), "{name}: rank {victim} was killed at step {moment}");
        wait_until(Duration::from_secs(20), || followers.iter().all(|pid| !is_alive(*pid)));
        // A rank that was killed before the run began leaves none.
        let begun = fs::read_dir(place.0.path().join(&name)).is_ok_and(|mut runs| runs.next().is_some());
        if !begun {
            continue;
        }
        let run = place.found(&name);
        if victim > 0 && !run.rows("grpo").is_empty() {
            let checkpoints = fs::read_dir(run.arm("grpo").join("checkpoints")).unwrap().count();
            assert!(checkpoints > 0, "{name}: rank 0 lived, and wrote no checkpoint");
        }
        let dir = run.0.display().to_string();
        let output = place.sandbox(&["--resume", &dir, "--ranks", &count]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
        for arm in ["grpo", "grpo-lora", "sft-lora"] {
            assert!(
                run.rows(arm) == whole.rows(arm),
                "{name}, {arm}: other metrics after rank {victim} was killed"
            );
            assert_eq!(difference(&run.weights(arm), &whole.weights(arm)), 0.0, "{name}, {arm}");
        }
    }
}

/// RANKS-1: a stopped rank ends the run within seconds, with its number and after a checkpoint. No process stays behind.
#[test]
fn a_silent_rank_ends_the_run_after_the_timeout_and_a_checkpoint() {
    let place = Place::new();
    let arguments = ["ranks.toml", "--out", "silent", "--ranks", "2", "--rank-timeout", "2", "--arm", "grpo"];
    let mut leader = place.sandbox(&[&arguments[..], &["--set", "run.steps=2000"]].concat()).spawn().unwrap();
    let begun = || fs::read_dir(place.0.path().join("silent")).is_ok_and(|mut runs| runs.next().is_some());
    wait_until(Duration::from_secs(60), begun);
    let run = place.found("silent");
    wait_until(Duration::from_secs(60), || run.rows("grpo").len() >= 2);
    let follower = children(leader.id())[0];
    signal(follower, "STOP");
    let stopped = Instant::now();
    let code = end_of(&mut leader);
    let output = leader.wait_with_output().unwrap();
    assert_eq!(code, Some(1), "{}", said(&output));
    // Two seconds of silence, or of a transfer that stands still, and what a checkpoint and a report take.
    assert!(stopped.elapsed() < Duration::from_secs(40), "{:?}", stopped.elapsed());
    let told = said(&output);
    assert!(
        told.contains("rank 1 was silent for 2 s") || told.contains("the ranks lost each other"),
        "{told}"
    );
    assert!(told.contains("; checkpoint "), "{told}");
    assert!(!is_alive(follower), "a stopped rank stays behind");
}

/// RANKS-5: when rank 0 is gone, the others end; when it is silent, after the time-out.
#[test]
fn no_rank_outlives_rank_0() {
    let place = Place::new();
    for sign in ["KILL", "STOP"] {
        let mut ranks = launched(&place, &[&[], &[]], &["--rank-timeout", "2", "--set", "run.steps=2000"]);
        let folder = place.0.path().join("runs");
        let steps = || {
            let run = fs::read_dir(&folder)
                .ok()
                .and_then(|runs| runs.filter_map(Result::ok).map(|run| run.path()).max());
            run.map_or(0, |run| Run(run).rows("grpo").len())
        };
        wait_until(Duration::from_secs(60), || steps() >= 1);
        signal(ranks[0].id(), sign);
        let follower = ranks.pop().unwrap();
        let output = ended(follower);
        assert_eq!(output.status.code(), Some(1), "{sign}: {}", said(&output));
        assert!(said(&output).starts_with("error: rank 1: "), "{sign}: {}", said(&output));
        ranks[0].kill().unwrap();
        ranks[0].wait().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{sign}: rank 1 began a run of its own");
        fs::remove_dir_all(&folder).unwrap();
    }
}

/// What is unlike rank 0 is refused by all ranks, before anything is written.
#[test]
fn another_scenario_or_program_is_refused_by_all_ranks() {
    let place = Place::new();
    let refused = |ranks: Vec<Child>, what: &str| {
        for (rank, child) in ranks.into_iter().enumerate() {
            let output = ended(child);
            assert!(!output.status.success(), "rank {rank}");
            assert!(
                said(&output).contains(&format!("rank 1 has another {what} than rank 0")),
                "{}",
                said(&output)
            );
        }
        assert!(!place.0.path().join("runs").exists(), "a run was begun");
    };
    refused(launched(&place, &[&[], &["--set", "grpo.lr=2e-4"]], &[]), "scenario");
    let other = place.0.path().join("other");
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_sandbox")).unwrap();
    bytes.push(0);
    fs::copy(env!("CARGO_BIN_EXE_sandbox"), &other).unwrap();
    fs::write(&other, bytes).unwrap();
    let port = free_port();
    let mut first = place.sandbox(&["ranks.toml"]);
    let mut second = place.program(&other, &["ranks.toml"]);
    let ranks = [(0, &mut first), (1, &mut second)];
    let ranks = ranks.map(|(rank, command)| as_rank(command, rank, 2, port).spawn().unwrap());
    refused(ranks.into(), "program");
}

#[test]
fn ranks_of_a_launcher_and_ranks_of_the_command_line_exclude_each_other() {
    let place = Place::new();
    let mut command = place.sandbox(&["ranks.toml", "--ranks", "2"]);
    let output = as_rank(&mut command, 0, 2, 1).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--ranks 2: a launcher has started 2 ranks already"), "{}", said(&output));
    let mut command = place.sandbox(&["ranks.toml"]);
    let output = command.env("RANK", "5").env("WORLD_SIZE", "2").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("RANK=5: there are only 2 ranks"), "{}", said(&output));
}

/// A mistake that rank 0 finds ends all ranks, and nothing waits for a rank that could not start.
#[test]
fn a_mistake_ends_all_ranks() {
    let place = Place::new();
    fs::write(
        place.0.path().join("ranks.toml"),
        SCENARIO.replace(
            "[data.soundscapes]",
            "[data]\ntrain = { format = \"avqa\", path = \"none.jsonl\" }\n\n[data.soundscapes]",
        ),
    )
    .unwrap();
    let output = place.sandbox(&["ranks.toml", "--ranks", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("none.jsonl"), "{}", said(&output));
    assert!(!place.0.path().join("runs").exists());
}

/// Processes as a launcher starts them: `own[rank]` are the arguments of one rank.
fn launched(place: &Place, own: &[&[&str]], all: &[&str]) -> Vec<Child> {
    let port = free_port();
    let start = |(rank, own): (usize, &&[&str])| {
        let mut command = place.sandbox(&[&["ranks.toml", "--arm", "grpo"], all, own].concat());
        as_rank(&mut command, rank, 2, port).spawn().unwrap()
    };
    own.iter().enumerate().map(start).collect()
}

fn as_rank(command: &mut Command, rank: usize, size: usize, port: u16) -> &mut Command {
    command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
    command
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .env("GLOO_SOCKET_IFNAME", "lo")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let mut found: Vec<u32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    found.sort_unstable();
    found
}

/// Whether the process is there and not only waits to be reaped.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn signal(pid: u32, sign: &str) {
    let status = Command::new("kill").args([format!("-{sign}"), pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Polls until it is so.
fn wait_until(longest: Duration, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < longest, "not within {longest:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The exit code of a process that ends by itself.
fn end_of(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ended(mut child: Child) -> Output {
    end_of(&mut child);
    child.wait_with_output().unwrap()
}

/// Numbers that look random and are the same in every run of the test.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
