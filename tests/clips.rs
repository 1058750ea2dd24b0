//! Clips on their way to the model, with the built `sandbox`: long ones in windows, features on the disk, clips at URLs, and
//! the estimate of what all this takes. A test of the package `sandbox` (see bin/Cargo.toml), for which cargo builds that
//! binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

#[expect(dead_code, reason = "the other tests use the rest")]
mod scripted_server;
use scripted_server::{Act, Request, ScriptedServer};

#[expect(dead_code, reason = "the other tests use the rest")]
mod heard_clips;
use heard_clips::wav;

/// The window of the built-in policy, in samples @ 16 kHz: 3 s.
const WINDOW: usize = 48_000;

/// Writes a scenario of three steps about `clips`, with more keys.
fn scenario(dir: &Path, name: &str, clips: &[String], more: &str) {
    let row = |(number, clip): (usize, &String)| {
        let row = json!({"id": format!("q{number}"), "question_text": format!("Which is sound {number}?"),
            "multi_choice": ["beep", "buzz"], "answer": number % 2, "audio_path": clip});
        format!("{row}\n")
    };
    fs::write(dir.join("rows.jsonl"), clips.iter().enumerate().map(row).collect::<String>()).unwrap();
    let text = format!(
        "[run]\nname = \"r\"\nsteps = 3\nthreads = 1\ndevice = \"cpu\"\n[control]\nlisten = \"off\"\n\
         [policy]\nfrom_scratch = true\n[sampling]\nprompts_per_step = 2\ngroup_size = 2\nmax_new_tokens = 8\n\
         [eval]\nsuites = []\n[rewards]\naccuracy = {{ kind = \"accuracy\" }}\n[shaping]\nformula = \"accuracy\"\n\
         [[arm]]\nname = \"grpo\"\ndata.train = {{ format = \"avqa\", path = \"rows.jsonl\" }}\n{more}"
    );
    fs::write(dir.join(name), text).unwrap();
}

async fn sandbox(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG");
    command.env("AUDIO_THINKER_CACHE", dir.join("cache")).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Trains and returns the folder of the arm.
async fn train(dir: &Path, scenario: &str, out: &str) -> PathBuf {
    let trained = sandbox(dir, &[scenario, "--out", out, "-q"]).await;
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let run = fs::read_dir(dir.join(out)).unwrap().next().unwrap().unwrap().path();
    run.join("grpo/seed-7")
}

fn rows(file: PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn check(dir: &Path, arguments: &[&str]) -> Value {
    let checked = sandbox(dir, &[&["check", "--json"], arguments].concat()).await;
    assert_eq!(checked.status.code(), Some(0), "{}{}", text(&checked.stdout), text(&checked.stderr));
    serde_json::from_slice::<Value>(&checked.stdout).unwrap()["scenarios"][0].clone()
}

#[tokio::test]
async fn a_long_clip_is_heard_in_windows_as_far_as_the_context_allows() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, samples) in
        [("short.wav", 8_000), ("long.wav", 2 * WINDOW + 16_000), ("longest.wav", 20 * WINDOW)]
    {
        fs::write(dir.join(name), wav(samples)).unwrap();
    }
    let clips = ["short.wav", "long.wav", "longest.wav"].map(str::to_owned);
    scenario(dir, "all.toml", &clips, "loader.window = \"all\"\n");
    let checked = check(dir, &["all.toml"]).await;
    let data = &checked["data"];
    let kinds: Vec<&str> =
        data["findings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["prompt too long"]);
    assert_eq!(data["sources"][0]["lengths"]["cut"]["clips"], 0);
    // A window has 75 tokens: 300 frames are 150 positions and 75 tokens; one second has 25.
    let tokens = &data["sources"][0]["prompt_tokens"];
    let (short, long) = (tokens["min"].as_u64().unwrap(), tokens["median"].as_u64().unwrap());
    // 12 tokens of the short clip, 175 of the long one, and what the template writes around two more windows.
    let around = long - short - (175 - 12);
    assert!((2..40).contains(&around), "{tokens}");

    let arm = train(dir, "all.toml", "runs").await;
    let problems = rows(arm.join("data-problems.jsonl"));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["cause"], "prompt_too_long");
    let message = problems[0]["message"].as_str().unwrap();
    let expected = "rows.jsonl:3: the clip has 20 windows of 3 s, of which ";
    assert!(message.contains(expected), "{message}");
    let fit: u64 = message.split_once("of which ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    // Twelve windows of 75 tokens are 900 of 1,024; thirteen are 975, and the question has more than 49.
    assert!((10..=12).contains(&fit), "{message}");
    for metrics in rows(arm.join("metrics.jsonl")) {
        // A group whose answers are all wrong has no advantages, but was asked.
        let equal = metrics["groups_excluded"]["equal_rewards"].as_u64().unwrap_or(0);
        let asked = metrics["groups_trained"].as_u64().unwrap() + equal;
        assert_eq!((&metrics["audio_truncated"], asked), (&json!(0), 2), "{metrics}");
    }

    let heard = sandbox(dir, &["listen", "--policy", "builtin:tiny", "--windows", "long.wav"]).await;
    let said = text(&heard.stdout);
    assert!(said.contains("windows  3 of 3 s, the last of 1.000 s") && !said.contains("cut"), "{said}");
    let heard =
        sandbox(dir, &["listen", "--policy", "builtin:tiny", "--windows", "--json", "long.wav"]).await;
    let record: Value = serde_json::from_slice(&heard.stdout).unwrap();
    assert_eq!((&record["windows"], &record["cut_at"]), (&json!(3), &Value::Null));
}

// FEATURES-1
#[tokio::test]
async fn a_run_with_features_on_the_disk_is_the_run_without() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let clips: Vec<String> = (0..4).map(|number| format!("{number}.wav")).collect();
    for (number, clip) in clips.iter().enumerate() {
        fs::write(dir.join(clip), wav(8_000 * (number + 1))).unwrap();
    }
    scenario(dir, "plain.toml", &clips, "");
    scenario(dir, "kept.toml", &clips, "loader.cache_dir = \"features\"\n");
    let completions = |arm: &Path| -> Vec<Value> {
        rows(arm.join("rollouts.jsonl")).iter().map(|row| row["completion"].clone()).collect()
    };
    let losses = |arm: &Path| -> Vec<Value> {
        rows(arm.join("metrics.jsonl")).iter().map(|row| row["loss"].clone()).collect()
    };
    let plain = train(dir, "plain.toml", "plain").await;
    for out in ["written", "read"] {
        let kept = train(dir, "kept.toml", out).await;
        assert_eq!(completions(&kept), completions(&plain), "{out}");
        assert_eq!(losses(&kept), losses(&plain), "{out}");
        let entries = fs::read_dir(dir.join("features"))
            .unwrap()
            .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
            .count();
        assert_eq!(entries, 4, "{out}");
    }
}

/// What the server has: clips, a page, a redirect to a clip, one to itself, half a clip, and errors.
fn serve(_: usize, request: &Request) -> Act {
    let found = |body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        Act::Raw([head.as_bytes(), body].concat())
    };
    let moved = |to: &str| {
        let head =
            format!("HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        Act::Raw(head.into_bytes())
    };
    match request.path.split('?').next().unwrap_or_default() {
        "/v1/a.wav" => found(&wav(8_000)),
        "/v1/b.wav" => found(&wav(16_000)),
        "/v1/moved.wav" => moved("/v1/b.wav"),
        "/v1/circle.wav" => moved("/v1/circle.wav"),
        "/v1/page.wav" => found(b"<!DOCTYPE html><html>log in</html>"),
        "/v1/huge.wav" => {
            Act::Raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2000000000\r\n\r\n".to_vec())
        }
        "/v1/half.wav" => {
            let clip = wav(8_000);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", clip.len());
            Act::Raw([head.as_bytes(), &clip[..clip.len() / 2]].concat())
        }
        _ => Act::Status(404, "connection: close\r\n", "none".into()),
    }
}

// FETCH-1, FETCH-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clips_at_urls_are_downloaded_once_and_only_if_that_is_wanted() {
    let server = ScriptedServer::start(serve).await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let names =
        ["a.wav?key=secret", "moved.wav", "circle.wav", "page.wav", "half.wav", "huge.wav", "none.wav"];
    let clips = names.map(|name| format!("{}/{name}", server.url));

    scenario(dir, "no.toml", &clips, "data.max_unusable_fraction = 1.0\n");
    let refused = sandbox(dir, &["no.toml", "--out", "no", "-q"]).await;
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("`audio_path` is a URL (http); set data.fetch = true, which downloads"), "{said}");
    assert_eq!(server.asked(), 0);

    scenario(dir, "yes.toml", &clips, "data.fetch = true\ndata.max_unusable_fraction = 1.0\n");
    let checked = check(dir, &["yes.toml"]).await;
    let kinds = |checked: &Value| -> Vec<(String, String)> {
        let findings = checked["data"]["findings"].as_array().unwrap().iter();
        findings
            .map(|one| [&one["kind"], &one["message"]].map(|text| text.as_str().unwrap().to_owned()))
            .map(|[kind, message]| (kind, message))
            .collect()
    };
    assert_eq!(kinds(&checked).len(), 7, "{checked}");
    assert!(kinds(&checked).iter().all(|(kind, _)| kind == "not fetched"), "{checked}");
    assert_eq!(server.asked(), 0, "a check without --fetch fetches nothing");

    let checked = check(dir, &["yes.toml", "--fetch"]).await;
    let found = kinds(&checked);
    assert_eq!(found.len(), 5, "{found:?}");
    for (row, (name, problem)) in (3..).zip([
        ("circle.wav", "too many redirects"),
        ("page.wav", "what was fetched is no clip: not audio but"),
        ("half.wav", ""),
        ("huge.wav", "the clip is longer than 1000000000 bytes"),
        ("none.wav", "the server answered 404"),
    ]) {
        let expected = format!("rows.jsonl:{row}: {}/{name}: {problem}", server.url);
        let is_it = |(kind, message): &(String, String)| {
            kind == "not fetched"
                && message.contains(&expected[..expected.len() - problem.len()])
                && message.contains(problem)
        };
        assert!(found.iter().any(is_it), "{expected}: {found:?}");
    }
    let cached = |dir: &Path| fs::read_dir(dir.join("cache/fetched")).unwrap().count();
    assert_eq!(cached(dir), 2, "nothing is left of what failed");

    // What is there is not fetched again; what failed is tried again.
    let before = server.asked();
    let arm = train(dir, "yes.toml", "yes").await;
    // circle: six requests, page 1, half 2 (it may have been the network), huge 1, none 1.
    assert_eq!(server.asked() - before, 11);
    let problems = rows(arm.join("data-problems.jsonl"));
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(problems.iter().all(|problem| problem["cause"] == "audio_unreadable"));
    assert_eq!(rows(arm.join("rollouts.jsonl")).len(), 3 * 2 * 2);
    let written = fs::read_to_string(arm.join("rollouts.jsonl")).unwrap();
    assert!(!written.contains("secret"));
}

#[tokio::test]
async fn a_check_estimates_the_memory_and_the_time_of_a_step() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("a.wav"), wav(8_000)).unwrap();
    let clips = vec!["a.wav".to_owned()];
    scenario(dir, "a.toml", &clips, "");
    let checked = check(dir, &["a.toml"]).await;
    let needs = &checked["needs"];
    let arm = &needs["arms"][0];
    // Two layers of 4 · 96² + 3 · 96 · 256 weights, and a vocabulary of 480 in and out: 313,344 weights.
    assert_eq!(arm["trained"], 2 * (4 * 96 * 96 + 3 * 96 * 256) + 2 * 480 * 96);
    assert_eq!((&arm["arm"], &arm["dtype"]), (&json!("grpo"), &json!("f32")));
    // Features of a window of 3 s: 128 bands of 300 frames in f32.
    assert_eq!(arm["features_bytes"], 128 * 300 * 4);
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&needs["memory_bytes"]) > number(&arm["device_bytes"]));
    assert!(number(&arm["step_seconds"]) > 0.0 && number(&needs["flops"]) > 1e8, "{needs}");
    let said = text(&sandbox(dir, &["check", "a.toml"]).await.stdout);
    assert!(said.contains("estimate: ") && said.contains(" per step, "), "{said}");
    let skipped = check(dir, &["a.toml", "--no-files"]).await;
    assert_eq!(skipped["needs"], Value::Null);
}
