//! `sandbox annotate` with the built `sandbox`, a scripted server and llama.cpp. A test of the package `sandbox` (see
//! bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

#[expect(dead_code, reason = "the other tests use the rest")]
mod scripted_server;
use scripted_server::{Act, Request, ScriptedServer};

mod heard_clips;
use heard_clips::{clip, wav};

#[path = "judges/server.rs"]
mod judge_server;
use judge_server::JudgeServer;

const ROWS: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Writes rows about four clips, two about each.
fn rows(dir: &Path) {
    let mut text = String::new();
    for row in 0..ROWS {
        let name = format!("{}.wav", row / 2);
        fs::write(dir.join(&name), wav(8_000 + 1_600 * (row / 2))).unwrap();
        let row = json!({
            "id": row, "video_name": "v", "question_text": format!("Question {row}: which animal?"),
            "multi_choice": ["dog", "cat"], "answer": row % 2, "question_type": "Which", "audio_path": name,
        });
        text.push_str(&format!("{row}\n"));
    }
    fs::write(dir.join("train.jsonl"), text).unwrap();
}

/// Which row a request is about.
fn row_of(request: &Request) -> Option<usize> {
    let prompt = request.prompt();
    let (_, rest) = prompt.split_once("Question ")?;
    rest.split(':').next()?.parse().ok()
}

fn chain(answer: &str) -> String {
    format!(
        "<planning>Find the animal.</planning><caption>An animal calls.</caption><reasoning>It sounds like a {answer}.\
         </reasoning><summary>Therefore, the answer is {answer}.</summary>"
    )
}

/// What a good server answers: a caption of a clip, or a chain that concludes the right answer.
fn good(request: &Request) -> String {
    match (clip(request), row_of(request)) {
        (Some(clip), _) => format!("A call of {} samples.", clip.len()),
        (None, Some(row)) => chain(["dog", "cat"][row % 2]),
        (None, None) => "?".to_owned(),
    }
}

fn sandbox(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn annotate(dir: &Path, url: &str, options: &[&str]) -> Command {
    let common = [
        "annotate",
        "avqa=train.jsonl",
        "--server",
        url,
        "--model",
        "writer",
        "--out",
        "cot.jsonl",
        "--json",
    ];
    sandbox(dir, &[&common, options].concat())
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn summary(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

fn written(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("cot.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_clip_is_captioned_once_and_each_row_gets_its_chain_with_its_provenance() {
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let server = ScriptedServer::start(|_, request| Act::Say(good(request))).await;
    let output = annotate(dir.path(), &server.url, &[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(server.asked(), ROWS / 2 + ROWS, "a caption per clip, a chain per row");
    let found = summary(&output);
    assert_eq!((&found["kept"], &found["open"], &found["requests"]), (&8.into(), &0.into(), &12.into()));
    assert_eq!((&found["prompt_tokens"], &found["reply_tokens"]), (&1_200.into(), &120.into()));
    let rows = written(dir.path());
    assert_eq!(rows.len(), ROWS);
    for row in &rows {
        let number: usize = row["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            (&row["answer"], &row["question_type"], &row["video_name"]),
            (&(number % 2).into(), &"Which".into(), &"v".into())
        );
        assert_eq!(row["caption"], format!("A call of {} samples.", 8_000 + 1_600 * (number / 2)));
        let reasoning = row["reasoning"].as_str().unwrap();
        assert!(reasoning.starts_with("Find the animal.\n\nAn animal calls.\n\n"), "{reasoning}");
        let made = &row["annotation"];
        assert_eq!(
            (&made["model"], &made["caption_model"], &made["attempt"]),
            (&"writer".into(), &"writer".into(), &1.into())
        );
        assert_eq!(made["prompt"].as_str().unwrap().len(), 16);
        assert!(Path::new(row["audio_path"].as_str().unwrap()).is_absolute());
    }
    // Nothing is left to ask.
    let output = annotate(dir.path(), &server.url, &[]).output().await.unwrap();
    assert_eq!((output.status.code(), server.asked()), (Some(0), 12), "{}", said(&output));
    assert_eq!(summary(&output), found);
    let output = annotate(dir.path(), &server.url, &["--no-caption"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("begun with other settings (the source of captions differs)"),
        "{}",
        said(&output)
    );
}

/// ANNOTATE-1
#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_that_is_killed_goes_on_and_asks_no_row_twice() {
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let server = ScriptedServer::start(move |_, request| {
        noted.lock().unwrap().push(request.prompt());
        Act::SayAfter(Duration::from_millis(60), good(request))
    })
    .await;
    let options = ["--concurrency", "1"];
    for (most, signal, code) in [(3, "KILL", None), (6, "INT", Some(130)), (9, "KILL", None)] {
        let child = annotate(dir.path(), &server.url, &options).spawn().unwrap();
        while asked.lock().unwrap().len() < most {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // In the pause of the server, so that its answer is lost.
        let process = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &process]).status().await.unwrap().success());
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), code, "{}", said(&output));
    }
    let output = annotate(dir.path(), &server.url, &options).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(summary(&output)["kept"], ROWS);
    let ids: BTreeSet<String> = written(dir.path()).iter().map(|row| row["id"].to_string()).collect();
    assert_eq!((ids.len(), written(dir.path()).len()), (ROWS, ROWS), "each row is written once");
    // A kill may cost the one answer in flight.
    assert!(asked.lock().unwrap().len() <= 12 + 2, "{:?}", asked.lock().unwrap());
}

/// ANNOTATE-2
#[tokio::test(flavor = "multi_thread")]
async fn chains_with_a_wrong_conclusion_are_asked_again_and_then_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let seeds = Arc::new(Mutex::new(Vec::new()));
    let noted = seeds.clone();
    let server = ScriptedServer::start(move |_, request| {
        let row = row_of(request).unwrap();
        let seed = request.body["seed"].as_u64().unwrap();
        noted.lock().unwrap().push((row, seed));
        Act::Say(match row {
            // Right at the second attempt, never, and without a part.
            0 if seed == 1 => chain("cat"),
            1 => chain("dog"),
            2 => chain("dog").replace("<planning>", ""),
            _ => good(request),
        })
    })
    .await;
    let output =
        annotate(dir.path(), &server.url, &["--no-caption", "--attempts", "2"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let found = summary(&output);
    assert_eq!(found["dropped"], json!({ "part_missing": 1, "wrong_conclusion": 1 }));
    assert_eq!((&found["kept"], &found["requests"]), (&6.into(), &(ROWS + 3).into()));
    let rows = written(dir.path());
    let first = rows.iter().find(|row| row["id"] == "0").unwrap();
    assert_eq!((&first["annotation"]["attempt"], &first["caption"]), (&2.into(), &Value::Null));
    assert!(seeds.lock().unwrap().contains(&(1, 2)));
    // Dropped rows are not asked again.
    let before = server.asked();
    let output =
        annotate(dir.path(), &server.url, &["--no-caption", "--attempts", "2"]).output().await.unwrap();
    assert_eq!((server.asked(), &summary(&output)), (before, &found));
}

/// ANNOTATE-3
#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_stops_the_annotation_which_a_larger_one_continues() {
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let server = ScriptedServer::start(|_, request| Act::Say(good(request))).await;
    for (budget, asked) in [(["--max-requests", "5"], 5), (["--max-tokens-total", "770"], 7)] {
        let options = [&["--concurrency", "1"][..], &budget].concat();
        let output = annotate(dir.path(), &server.url, &options).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let found = summary(&output);
        assert_eq!((&found["stopped"], server.asked()), (&"budget".into(), asked), "{found}");
        assert_eq!(found["requests"], asked);
    }
    let output = annotate(dir.path(), &server.url, &[]).output().await.unwrap();
    assert_eq!((&summary(&output)["kept"], server.asked()), (&ROWS.into(), 12), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_of_a_file_are_used_and_a_server_without_audio_is_named() {
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let captions: String = (0..ROWS - 1)
        .map(|row| format!("{{\"id\": \"{row}\", \"caption\": \"Caption {row}.\"}}\n"))
        .collect();
    fs::write(dir.path().join("captions.jsonl"), captions).unwrap();
    let server = ScriptedServer::start(|_, request| match clip(request) {
        Some(_) => Act::Status(400, "", r#"{"error": "writer is not a multimodal model"}"#.to_owned()),
        None => {
            assert!(request.prompt().contains(&format!("Caption {}.", row_of(request).unwrap())));
            Act::Say(good(request))
        }
    })
    .await;
    let output = annotate(dir.path(), &server.url, &[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the captioning model takes no audio ("), "{}", said(&output));
    fs::remove_file(dir.path().join("cot.jsonl")).unwrap();
    fs::remove_file(dir.path().join("cot.jsonl.journal")).unwrap();
    let output = annotate(dir.path(), &server.url, &["--captions", "captions.jsonl"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(summary(&output)["dropped"], json!({ "no_caption": 1 }));
    assert_eq!(written(dir.path()).len(), ROWS - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_trains() {
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let server = ScriptedServer::start(|_, request| Act::Say(good(request))).await;
    let output = annotate(dir.path(), &server.url, &[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let scenario = "[run]\nname = \"cot\"\nsteps = 3\nthreads = 1\n[policy]\nfrom_scratch = true\n\
        [data]\ntrain = { format = \"avqa\", path = \"cot.jsonl\" }\n[eval]\nevery = 0\nat_start = false\n\
        suites = []\n[sft]\ntarget = \"reasoning\"\nrows_per_step = 2\n[[arm]]\nname = \"sft-cot\"\nmethod = \"sft\"\n";
    fs::write(dir.path().join("cot.toml"), scenario).unwrap();
    let output = sandbox(dir.path(), &["cot.toml", "--no-control"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let run = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let arm = fs::read_dir(run.join("sft-cot")).unwrap().next().unwrap().unwrap().path();
    let metrics = fs::read_to_string(arm.join("metrics.jsonl")).unwrap();
    let steps: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), 3);
    for step in &steps {
        assert_eq!(step["groups_trained"], 2, "{step}");
    }
}

/// A random model writes no chains, so that each row is asked, answered and dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_is_asked_and_what_a_random_model_writes_is_dropped() {
    let installed = std::env::var_os("JUDGE_SERVER_PYTHON").is_some()
        || scenarios::cache_dir().join("judge-server/requirements.txt").exists();
    if !installed {
        eprintln!("skipped: tests/judge_server/install fetches llama.cpp's server");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let server = JudgeServer::start(&root().join("tests/fixtures/qwen3_untied/model"));
    let options = ["--no-caption", "--max-tokens", "24", "--limit", "4"];
    let output = annotate(dir.path(), &server.url, &options).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let found = summary(&output);
    assert_eq!(
        (&found["kept"], &found["open"], &found["requests"]),
        (&0.into(), &0.into(), &4.into()),
        "{found}"
    );
    let dropped = found["dropped"].as_object().unwrap();
    assert_eq!(dropped.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 4, "{found}");
    assert!(dropped.keys().all(|cause| ["truncated", "part_missing"].contains(&cause.as_str())), "{found}");
    assert!(found["prompt_tokens"].as_u64().unwrap() > 4 * 50, "{found}");
    // A server without audio can't caption.
    fs::remove_file(dir.path().join("cot.jsonl.journal")).unwrap();
    let output = annotate(dir.path(), &server.url, &["--limit", "1"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("takes no audio"), "{}", said(&output));
}
