//! `sandbox ask --chat` with scripted lines. A test of the package `sandbox` (see bin/Cargo.toml), for which cargo builds
//! that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// What a conversation printed on standard output and on standard error; it ends without an error.
struct Said {
    out: String,
    err: String,
}

/// Holds a conversation of these lines with a policy.
fn talk(policy: &str, options: &[&str], path: Option<&Path>, lines: &[String]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args([
        "ask",
        "--policy",
        policy,
        "--device",
        "cpu",
        "--temperature",
        "0",
        "--max-new-tokens",
        "12",
    ]);
    command.args(["--chat"]).args(options).env_remove("RUST_LOG");
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!(output.status.code(), Some(0), "{}{}", said.out, said.err);
    said
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// What `sandbox ask` without `--chat` answers.
fn answer(policy: &str, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["ask", "--policy", policy, "--device", "cpu", "--temperature", "0", "--max-new-tokens", "12"])
        .args(more)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_first_answer_is_that_of_one_question_and_the_second_depends_on_it() {
    let clip = fixture("audio/tone_0p5s.wav");
    let clip = clip.to_str().unwrap();
    let alone = answer("builtin:tiny", &["--audio", clip, "--choices", "beep,buzz", "which comes first?"]);
    let set = [format!("/clip {clip}"), "/choices beep, buzz".to_owned(), "which comes first?".to_owned()];
    let said = talk("builtin:tiny", &[], None, &set);
    assert_eq!(said.out, alone, "{}", said.err);
    assert!(said.err.contains("tone_0p5s.wav (0.5 s) goes with the next question"), "{}", said.err);

    let tokens = |err: &str| err.matches(" per second").count();
    let question = || "which comes first?".to_owned();
    let twice = talk("builtin:tiny", &[], None, &[&set[..], &[question()]].concat());
    assert!(twice.out.starts_with(&alone) && twice.out.len() > alone.len(), "{}", twice.out);
    assert_eq!(tokens(&twice.err), 2, "{}", twice.err);
    // After /clear there is no earlier turn, so the first question without its clip is a new one.
    let cleared = talk("builtin:tiny", &[], None, &[&set[..], &["/clear".to_owned()], &set].concat());
    assert_eq!(cleared.out, format!("{alone}{alone}"), "{}", cleared.err);
}

#[test]
fn what_is_wrong_with_a_line_is_printed_and_the_conversation_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("broken.wav"), "RIFF").unwrap();
    let broken = dir.path().join("broken.wav").display().to_string();
    let said = talk(
        "builtin:tiny",
        &[],
        None,
        &[
            "/sing".to_owned(),
            "/clip none.wav".to_owned(),
            format!("/clip {broken}"),
            format!("/clip {}", tempfile::tempdir().unwrap().path().display()),
            "/temperature hot".to_owned(),
            "/adapter nowhere".to_owned(),
            "/ab".to_owned(),
            "hello <|AUDIO|>".to_owned(),
            String::new(),
            "/help".to_owned(),
            "hello".to_owned(),
            "/quit".to_owned(),
            "never asked".to_owned(),
        ],
    );
    for problem in [
        "error: /sing: no such command; /help lists them",
        "error: none.wav: no such audio file",
        "broken.wav: ",
        "error: /temperature hot: write a number, 0 or more, as in /temperature 0.7",
        "error: /ab: no adapter is in use; write /ab DIR, or name one by /adapter DIR",
        "nowhere",
    ] {
        assert!(said.err.contains(problem), "{problem}: {}", said.err);
    }
    assert_eq!(said.err.matches("error: ").count(), 8, "{}", said.err);
    assert!(said.out.contains("/temperature T        0 always takes the most likely token"), "{}", said.out);
    assert_eq!(said.err.matches(" per second").count(), 1, "one question is answered: {}", said.err);
}

#[test]
fn a_number_picks_a_clip_of_the_folder_that_was_listed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.wav", "a.WAV"] {
        fs::copy(fixture("audio/tone_0p5s.wav"), dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("notes.txt"), "no clip").unwrap();
    let list = format!("/clip {}", dir.path().display());
    let said = talk("builtin:tiny", &[], None, &[list, "3".to_owned(), "2".to_owned()]);
    assert_eq!(said.out, "   1  a.WAV\n   2  b.wav\n");
    assert!(said.err.contains("error: 3: write a number from 1 to 2"), "{}", said.err);
    assert!(said.err.contains("b.wav (0.5 s) goes with the next question"), "{}", said.err);
}

#[test]
fn two_policies_answer_the_same_question_each_with_its_label() {
    let model = fixture("qwen2_audio/model").display().to_string();
    let adapter = fixture("lora/qwen2_audio_lm_only/adapter").display().to_string();
    let base = answer(&model, &["what is it?"]);
    let adapted = answer(&model, &["--adapter", &adapter, "what is it?"]);
    assert_ne!(base, adapted, "the adapter changes the answer");
    let expected = format!("A with {adapter}:\n{adapted}B without an adapter:\n{base}");
    let said =
        talk(&model, &[], None, &[format!("/adapter {adapter}"), "/ab".to_owned(), "what is it?".to_owned()]);
    assert_eq!(said.out, expected, "{}", said.err);
    let said = talk(&model, &[], None, &[format!("/ab {adapter}"), "what is it?".to_owned()]);
    assert_eq!(
        said.out,
        format!("A without an adapter:\n{base}B with {adapter}:\n{adapted}"),
        "{}",
        said.err
    );
    let said = talk(
        &model,
        &["--adapter", &adapter],
        None,
        &lines(&["/ab", "/ab off", "/adapter off", "what is it?"]),
    );
    assert_eq!(said.out, base, "{}", said.err);
}

#[test]
fn when_the_context_is_full_the_first_turns_are_left_out() {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("qwen3_tied/model")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let path = copy.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = 64.into();
    fs::write(&path, config.to_string()).unwrap();
    let model = copy.path().display().to_string();
    let long = "x y z ".repeat(40);
    let said =
        talk(&model, &[], None, &lines(&["what is it?", "and this?", "and that?", &long, "what is it?"]));
    assert!(said.err.contains("the context of 64 tokens is full; the first "), "{}", said.err);
    assert!(said.err.contains("exceed the model's context of 64"), "{}", said.err);
    assert_eq!(said.err.matches(" per second").count(), 4, "{}", said.err);
}

#[test]
fn a_recording_is_made_by_a_program_on_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    fs::create_dir(&none).unwrap();
    let said = talk("builtin:tiny", &[], Some(&none), &lines(&["/record 1"]));
    assert!(said.err.contains("error: /record: neither arecord nor ffmpeg is on the PATH"), "{}", said.err);

    let program = |name: &str, script: &str| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        let file = folder.join("arecord");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    };
    let tone = fixture("audio/tone_0p5s.wav");
    let works = program("works", &format!("for last; do :; done; /bin/cp '{}' \"$last\"", tone.display()));
    let said = talk("builtin:tiny", &[], Some(&works), &lines(&["/record 0.5", "what is it?"]));
    assert!(said.err.contains(".wav (0.5 s) goes with the next question"), "{}", said.err);
    let fails = program("fails", "echo 'no such device' >&2; exit 1");
    let said = talk("builtin:tiny", &[], Some(&fails), &lines(&["/record"]));
    assert!(said.err.contains("no such device; name a file by /clip instead"), "{}", said.err);
}
