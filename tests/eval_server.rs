//! `sandbox eval --server` with the built `sandbox` and a scripted server that hears the clips it is sent. A test of the
//! package `sandbox` (see bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

#[expect(dead_code, reason = "the other tests use the rest")]
mod scripted_server;
use scripted_server::{Act, Request, ScriptedServer};

mod heard_clips;
use heard_clips::{clip, wav};

const KEY: &str = "sk-planted-0123456789";
const QUESTIONS: usize = 12;

/// Writes a suite of clips that are 1, 2, 3 or 4 tenths of a second long, and asks how long.
fn suite(dir: &Path) {
    let mut rows = String::new();
    for row in 0..QUESTIONS {
        let tenths = row % 4 + 1;
        let name = format!("{row}.wav");
        fs::write(dir.join(&name), wav(1_600 * tenths)).unwrap();
        let row = serde_json::json!({
            "id": format!("q{row}"), "question_text": format!("Question {row}: how long is it?"),
            "multi_choice": ["one tenth", "two tenths", "three tenths", "four tenths"], "answer": tenths - 1,
            "audio_path": name,
        });
        rows.push_str(&format!("{row}\n"));
    }
    fs::write(dir.join("lengths.jsonl"), rows).unwrap();
}

/// What a model that hears answers: how long the clip is, in tenths of a second.
fn heard(request: &Request) -> String {
    let Some(clip) = clip(request) else { return "<answer>I hear nothing</answer>".to_owned() };
    let word = ["none", "one tenth", "two tenths", "three tenths", "four tenths"][clip.len() / 1_600];
    match clip.iter().all(|&sample| sample == 0) {
        true => "<answer>silence</answer>".to_owned(),
        false => format!("<think>It ends after {word}, so it is {word}.</think><answer>{word}</answer>"),
    }
}

fn sandbox(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG").env("EVAL_KEY", KEY);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn eval(dir: &Path, url: &str, options: &[&str]) -> Command {
    let common = [
        "eval",
        "--server",
        url,
        "--model",
        "org/listener",
        "--suite",
        "avqa=lengths.jsonl",
        "--concurrency",
        "2",
    ];
    sandbox(dir, &[&common, options].concat())
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(!text.contains(KEY), "{text}");
    text
}

/// The directories of the evaluations below a folder, in the order of their names.
fn run_dirs(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir.join("runs"))
        .map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect());
    found.sort();
    found
}

fn lines(run: &Path, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("listener").join(seed(run)).join(file));
    text.unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The folder of the only seed.
fn seed(run: &Path) -> String {
    let arm = fs::read_dir(run.join("listener")).unwrap().next().unwrap().unwrap();
    arm.file_name().into_string().unwrap()
}

/// The records without what differs from run to run.
fn records(run: &Path) -> [Vec<Value>; 3] {
    let mut evaluations = lines(run, "eval.jsonl");
    for row in &mut evaluations {
        row.as_object_mut().unwrap().remove("eval_seconds").unwrap();
    }
    [evaluations, lines(run, "rollouts.jsonl"), lines(run, "data-problems.jsonl")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_evaluated_and_recorded_as_a_policy_is() {
    let dir = tempfile::tempdir().unwrap();
    suite(dir.path());
    let server = ScriptedServer::start(|_, request| {
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(
            (&request.body["model"], &request.body["max_tokens"]),
            (&"org/listener".into(), &256.into())
        );
        Act::Say(heard(request))
    })
    .await;
    let options =
        ["--controls", "--samples", "2", "--api-key-env", "EVAL_KEY", "--clip-seconds", "0.3", "--json"];
    let output = eval(dir.path(), &server.url, &options).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // As it is, five controls, two samples of each.
    assert_eq!(server.asked(), QUESTIONS * 6 * 2);
    // How many requests overlap depends on the machine; more than allowed never do.
    assert!(server.busiest() <= 2, "{}", server.busiest());

    let run = &run_dirs(dir.path())[0];
    let [evaluations, rollouts, problems] = records(run);
    assert_eq!((evaluations.len(), rollouts.len(), problems.len()), (6, QUESTIONS * 12, 0));
    let of = |control: &str| {
        let row = evaluations.iter().find(|row| row["control"].as_str().unwrap_or_default() == control);
        row.unwrap_or_else(|| panic!("{control}"))
    };
    // Clips of four tenths are cut to three, so a quarter of the answers is wrong.
    let whole = of("");
    assert_eq!((&whole["overall"]["n"], &whole["overall"]["correct"]), (&24.into(), &18.into()));
    assert_eq!((&whole["truncated_clips"], &whole["overall"]["think"]), (&3.into(), &24.into()));
    assert_eq!((&whole["overall"]["consistency_n"], &whole["pass_at_k"]), (&24.into(), &9.into()));
    for (control, correct) in [("silence", 0), ("no_audio", 0), ("shuffled_choices", 18), ("noise", 18)] {
        assert_eq!(of(control)["overall"]["correct"], correct, "{control}");
    }
    let other = of("other_clip")["overall"]["correct"].as_u64().unwrap();
    assert!(other < 18, "{other}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["benchmarks"][0]["asked"], QUESTIONS);

    for arguments in [["verify"], ["report"]] {
        let output = sandbox(dir.path(), &arguments).arg(run).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    let status = fs::read_to_string(run.join("listener").join(seed(run)).join("status.json")).unwrap();
    assert!(status.contains("\"done\""), "{status}");
    let scenario = fs::read_to_string(run.join("scenario.toml")).unwrap();
    assert!(scenario.contains("org/listener") && scenario.contains(&server.url) && !scenario.contains(KEY));

    // Nothing is asked again when a finished evaluation is resumed.
    let before = server.asked();
    let output = sandbox(dir.path(), &["eval", "--resume"]).arg(run).output().await.unwrap();
    assert_eq!((output.status.code(), server.asked()), (Some(0), before), "{}", said(&output));
}

/// EVAL-3
#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_that_was_killed_or_interrupted_goes_on_and_asks_no_answered_question_again() {
    let dir = tempfile::tempdir().unwrap();
    suite(dir.path());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let server = ScriptedServer::start(move |_, request| {
        noted.lock().unwrap().push(request.prompt());
        Act::SayAfter(Duration::from_millis(60), heard(request))
    })
    .await;
    let options = ["--control", "no_audio"];
    let output = eval(dir.path(), &server.url, &options).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let unbroken = records(&run_dirs(dir.path())[0]);
    let whole = asked.lock().unwrap().len();
    assert_eq!(whole, 2 * QUESTIONS);

    for signal in ["KILL", "INT"] {
        let known = run_dirs(dir.path());
        asked.lock().unwrap().clear();
        let mut child = eval(dir.path(), &server.url, &options).spawn().unwrap();
        for most in [5, 12, 19] {
            while asked.lock().unwrap().len() < most {
                if let Some(status) = child.try_wait().unwrap() {
                    panic!("{signal} {most}: {status}: {}", said(&child.wait_with_output().await.unwrap()));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let process = child.id().unwrap().to_string();
            let killed = Command::new("kill").args(["-s", signal, &process]).status().await.unwrap();
            assert!(killed.success());
            let output = child.wait_with_output().await.unwrap();
            let code = if signal == "INT" { Some(130) } else { None };
            assert_eq!(output.status.code(), code, "{}", said(&output));
            let run = run_dirs(dir.path()).into_iter().find(|run| !known.contains(run)).unwrap();
            if signal == "INT" {
                assert!(said(&output).contains("to continue: sandbox eval --resume "), "{}", said(&output));
            }
            child = sandbox(dir.path(), &["eval", "--resume"]).arg(&run).spawn().unwrap();
        }
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let run = run_dirs(dir.path()).into_iter().find(|run| !known.contains(run)).unwrap();
        assert_eq!(records(&run), unbroken, "{signal}");
        // Three kills may each cost the two requests in flight; an interrupt waits for them.
        let again = asked.lock().unwrap().len() - whole;
        assert!(again <= if signal == "INT" { 0 } else { 6 }, "{signal}: {again} asked again");
    }
}

/// EVAL-5
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_no_audio_ends_the_evaluation_at_once_with_one_message() {
    let dir = tempfile::tempdir().unwrap();
    suite(dir.path());
    let refusal = r#"{"error": {"message": "audio input is not supported - hint: you may need to provide the mmproj"}}"#;
    for status in [400, 500] {
        let server = ScriptedServer::start(move |_, _| Act::Status(status, "", refusal.to_owned())).await;
        let output = eval(dir.path(), &server.url, &[]).output().await.unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.matches("takes no audio").count(), 1, "{text}");
        assert!(
            text.contains(&server.url) && text.contains("name another with --server and --model"),
            "{text}"
        );
        assert!(server.asked() <= 2, "{}", server.asked());
    }
}

/// EVAL-4
#[tokio::test(flavor = "multi_thread")]
async fn failures_that_pass_are_retried_and_a_question_that_is_refused_is_left_out_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    suite(dir.path());
    let server = ScriptedServer::start(|number, request| match number % 4 {
        1 => Act::Status(500, "", "busy".to_owned()),
        _ if request.prompt().contains("Question 7:") => {
            Act::Status(400, "", r#"{"error": "the content policy forbids this question"}"#.to_owned())
        }
        _ => Act::Say(heard(request)),
    })
    .await;
    let output = eval(dir.path(), &server.url, &[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let [evaluations, rollouts, problems] = records(&run_dirs(dir.path())[0]);
    assert_eq!(evaluations[0]["unusable"], serde_json::json!({ "server_failed": 1 }));
    assert_eq!((&evaluations[0]["asked"], &evaluations[0]["questions"]), (&11.into(), &12.into()));
    assert_eq!((&evaluations[0]["overall"]["correct"], rollouts.len()), (&11.into(), 11));
    assert_eq!((&problems[0]["cause"], &problems[0]["row"]), (&"server_failed".into(), &8.into()));
    assert!(
        problems[0]["message"].as_str().unwrap().contains("the content policy forbids"),
        "{}",
        problems[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_of_which_nothing_can_be_asked_fails_with_the_first_reason() {
    let dir = tempfile::tempdir().unwrap();
    suite(dir.path());
    let server = ScriptedServer::start(|_, _| {
        Act::Status(404, "", r#"{"error": "the model org/listener does not exist"}"#.to_owned())
    })
    .await;
    let output = eval(dir.path(), &server.url, &[]).output().await.unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("no question could be asked; the first: http_4xx: "), "{text}");
    assert!(server.asked() <= 2);

    let output = eval(dir.path(), "http://127.0.0.1:9/v1", &[]).output().await.unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("no server answers at http://127.0.0.1:9/v1; start it, or correct --server"),
        "{text}"
    );
}
