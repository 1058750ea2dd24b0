//! The command line: runs the built `sandbox` and checks its exit codes and output. This test belongs to the package
//! `sandbox` (see bin/Cargo.toml), so cargo builds that binary for it. The test itself does not link libtorch.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

#[path = "judges/server.rs"]
mod judge_server;
use judge_server::JudgeServer;

/// Starts from random weights, because these tests do not depend on the policy.
const UNTRAINED: &str = "policy.from_scratch=true";

/// The root folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Runs `sandbox` in a folder.
fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asserts that the input is refused with exit code 2 and one line, which is returned, and that no
/// run directory is created.
fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    let (said, printed) = (text(&output.stderr), text(&output.stdout));
    assert_eq!(output.status.code(), Some(2), "{said}{printed}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert_eq!(printed, "");
    assert!(!dir.join("runs").exists(), "unusable input must not create a run directory");
    said
}

/// Writes `mine.toml`, a copy of `smoke.toml` with one line replaced, and returns its name.
fn changed(dir: &Path, line: &str, by: &str) -> String {
    let scenario = fs::read_to_string(root().join("scenarios/smoke.toml")).unwrap();
    assert!(scenario.contains(line), "smoke.toml must contain {line}");
    fs::write(dir.join("mine.toml"), scenario.replacen(line, by, 1)).unwrap();
    "mine.toml".to_owned()
}

#[test]
fn a_missing_scenario_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let said = refused(dir.path(), &["scenarios/ablatoin.toml"]);
    assert!(said.contains("scenarios/ablatoin.toml"), "{said}");
}

#[test]
fn a_misspelt_key_is_refused_with_its_line_and_the_nearest_name() {
    let dir = tempfile::tempdir().unwrap();
    let mine = changed(dir.path(), "steps = 4", "stpes = 4");
    let said = refused(dir.path(), &[&mine]);
    let scenario = fs::read_to_string(dir.path().join(&mine)).unwrap();
    let line = scenario.lines().position(|line| line.starts_with("stpes")).unwrap() + 1;
    assert!(said.contains(&format!("mine.toml:{line}:1: ")), "{said}");
    assert!(said.contains("`stpes`") && said.contains("did you mean `steps`?"), "{said}");
}

#[test]
fn a_formula_with_an_unknown_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mine = changed(dir.path(), "\"accuracy + w_format * format\"", "\"acuracy + w_format * format\"");
    let said = refused(dir.path(), &[&mine]);
    assert!(said.contains("mine.toml:") && said.contains("acuracy") && said.contains("accuracy"), "{said}");
}

#[test]
fn a_misspelt_set_or_arm_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let smoke = root().join("scenarios/smoke.toml").display().to_string();
    let said = refused(dir.path(), &[&smoke, "--set", "grpo.clpi=0.3"]);
    assert!(said.contains("--set grpo.clpi=0.3") && said.contains("clip"), "{said}");
    let said = refused(dir.path(), &[&smoke, "--arm", "gpro"]);
    assert!(said.contains("gpro") && said.contains("grpo"), "{said}");
}

#[test]
fn a_dry_run_prints_a_valid_scenario() {
    let dir = tempfile::tempdir().unwrap();
    let smoke = root().join("scenarios/smoke.toml").display().to_string();
    let output =
        run(dir.path(), &[&smoke, "--dry-run", "--set", "grpo.lr=3e-4", "--arm", "grpo", "--seeds", "4,5"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::write(dir.path().join("resolved.toml"), &output.stdout).unwrap();
    assert!(text(&output.stdout).contains("0.0003"));
    let output = run(dir.path(), &["check", "resolved.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).starts_with("resolved.toml: valid; arms: grpo\n"),
        "{}",
        text(&output.stdout)
    );
    assert!(!dir.path().join("runs").exists());
}

#[test]
fn check_reports_every_scenario_and_fails_if_one_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let mine = changed(dir.path(), "steps = 4", "steps = 0");
    let smoke = root().join("scenarios/smoke.toml").display().to_string();
    let output = run(dir.path(), &["check", &smoke, &mine]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("smoke.toml: valid"));
    assert!(text(&output.stderr).contains("mine.toml:"), "{}", text(&output.stderr));
}

/// Writes `mine.toml`, which trains on `train.jsonl` with three clips, of which `gone.wav` is missing.
fn with_data(dir: &Path) -> String {
    fs::create_dir(dir.join("clips")).unwrap();
    let mut rows = String::new();
    for (number, name) in ["a.wav", "b.wav", "gone.wav"].iter().enumerate() {
        rows += &format!(
            "{{\"id\": \"{number}\", \"question_text\": \"What is {name}?\", \"multi_choice\": [\"a\", \"b\"], \
             \"answer\": 0, \"audio_path\": \"{name}\"}}\n"
        );
        if *name != "gone.wav" {
            // Mono, 16 bits, 16 kHz, one second.
            let mut wav = b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\x7d\0\0".to_vec();
            wav.extend(
                (0..16_000i32).flat_map(|i| (((i * (number as i32 + 7)) % 9000) as i16).to_le_bytes()),
            );
            fs::write(dir.join("clips").join(name), wav).unwrap();
        }
    }
    fs::write(dir.join("train.jsonl"), rows).unwrap();
    let scenario = "[data]\ntrain = { format = \"avqa\", path = \"train.jsonl\", audio_root = \"clips\" }\n\
                    [eval]\nsuites = []\n[rewards]\naccuracy = { kind = \"accuracy\" }\n\
                    [shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"a\"\n";
    fs::write(dir.join("mine.toml"), scenario).unwrap();
    "mine.toml".to_owned()
}

#[test]
fn check_lists_what_is_odd_about_the_data_and_fails_for_it_if_strict() {
    let dir = tempfile::tempdir().unwrap();
    let mine = with_data(dir.path());
    let output = run(dir.path(), &["check", &mine]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(printed.contains("  rows      3, 2 usable, 1 audio_unreadable\n"), "{printed}");
    let place = |name: &str| dir.path().join(name).display().to_string();
    let (row, clip) = (place("train.jsonl:3"), place("clips/gone.wav"));
    let finding = format!("1 finding\n  missing: {row}: {clip}: no such audio file;");
    assert!(printed.contains(&finding), "{printed}");
    assert!(printed.contains("  prompts   "), "{printed}");
    let output = run(dir.path(), &["check", "--strict", "--all", &mine]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let output = run(dir.path(), &["check", "--json", &mine]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checked = &json["scenarios"][0];
    assert_eq!(
        (&checked["valid"], &checked["data"]["sources"][0]["clips"]["found"]),
        (&true.into(), &2.into())
    );
    assert_eq!(checked["data"]["findings"][0]["kind"], "missing");
}

#[test]
fn check_refuses_a_wrong_audio_root_with_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let mine = with_data(dir.path());
    fs::rename(dir.path().join("clips"), dir.path().join("moved")).unwrap();
    let said = refused(dir.path(), &["check", &mine]);
    assert!(said.contains("`audio_root` in [data.train]: there is no folder "), "{said}");
    // A folder without the clips is as wrong.
    fs::create_dir(dir.path().join("clips")).unwrap();
    let said = refused(dir.path(), &["check", &mine]);
    assert!(said.contains("set audio_root to the folder that the paths are relative to"), "{said}");
}

#[test]
fn check_without_files_accepts_a_scenario_whose_model_is_not_on_this_machine() {
    let paper = root().join("scenarios/audio-thinker-qwen2-audio.toml").display().to_string();
    let output = run(root(), &["check", "--no-files", &paper]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = run(root(), &["check", "--no-files", &paper, "gone.toml"]);
    assert_eq!(output.status.code(), Some(2), "the scenario file itself must exist");
}

#[test]
fn a_folder_without_a_run_can_be_neither_reported_nor_resumed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refused(dir.path(), &["report", "."]).contains("not a run directory"));
    assert!(refused(dir.path(), &["report", "gone"]).contains("gone"));
    assert!(refused(dir.path(), &["--resume", "gone"]).contains("gone"));
}

#[test]
fn a_run_ends_with_its_report_which_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let smoke = root().join("scenarios/smoke.toml").display().to_string();
    let output = run(
        dir.path(),
        &[&smoke, "--arm", "base", "--arm", "grpo", "--set", "run.steps=2", "--set", UNTRAINED],
    );
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(printed.contains("Accuracy") && printed.contains("report.html"), "{printed}");
    // Standard error is not a terminal, so progress is shown as lines instead of bars.
    assert!(said.contains("grpo (seed 7): step 2/2") && !said.contains('\u{1b}'), "{said}");
    let run_dir = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    for file in ["scenario.toml", "environment.json", "run.log", "summary.json", "summary.md", "report.html"]
    {
        assert!(run_dir.join(file).is_file(), "{file}");
    }
    fs::remove_file(run_dir.join("report.html")).unwrap();
    let output = run(dir.path(), &["report", &run_dir.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(run_dir.join("report.html").is_file());
}

#[test]
fn a_quiet_run_prints_only_its_results() {
    let dir = tempfile::tempdir().unwrap();
    let smoke = root().join("scenarios/smoke.toml").display().to_string();
    let output =
        run(dir.path(), &[&smoke, "--arm", "base", "--quiet", "--out", "elsewhere", "--set", UNTRAINED]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    assert!(text(&output.stdout).contains("elsewhere/smoke-"));
}

#[test]
fn ask_streams_the_answer_that_json_records() {
    let dir = tempfile::tempdir().unwrap();
    let clip = root().join("tests/fixtures/audio/tone_0p5s.wav");
    let ask = |more: &[&str]| {
        let question =
            ["ask", "--policy", "builtin:tiny", "--audio", clip.to_str().unwrap(), "which comes first?"];
        let output = run(dir.path(), &[&question, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let greedy = ["--choices", "beep,buzz", "--temperature", "0"];
    let shown = ask(&greedy);
    let record: serde_json::Value = serde_json::from_str(&ask(&[&greedy[..], &["--json"]].concat())).unwrap();
    assert_eq!(shown.trim_end(), record["text"], "the whole answer must be streamed");
    assert!(shown.contains("<answer>"), "{shown}");
    let count = |key: &str| record[key].as_array().unwrap().len();
    assert_eq!(count("completion_ids"), count("logprobs"));
    assert!(record["user_text"].as_str().unwrap().contains("beep, buzz"));
}

#[test]
fn a_question_about_a_missing_clip_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let said =
        run(dir.path(), &["ask", "--policy", "builtin:tiny", "--audio", "a.wav", "--device", "cpu", "what?"]);
    assert_eq!(said.status.code(), Some(2));
    assert_eq!(text(&said.stderr), "error: a.wav: no such audio file; correct the path or fetch the clip\n");
}

/// `--json` has a line for each file in their order, also for one that can't be heard, and the written samples are those
/// that were heard.
#[test]
fn listen_describes_every_file_and_writes_what_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = |name: &str| root().join("tests/fixtures/audio").join(name).display().to_string();
    let (tone, long) = (fixture("tone_0p5s.wav"), fixture("mix_31s.wav"));
    let output = run(
        dir.path(),
        &["listen", &tone, "none.wav", &long, "--policy", "builtin:tiny", "--json", "--wav-dir", "out"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: 1 of 3 files cannot be heard\n");
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: Vec<&str> = lines.iter().map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(files, [tone.as_str(), "none.wav", long.as_str()]);
    assert_eq!((&lines[0]["heard_seconds"], &lines[0]["cut_at"]), (&0.5.into(), &Value::Null));
    assert_eq!(lines[1]["problem"], "missing");
    // The window of the tiny policy is shorter than 31 s.
    assert_eq!(lines[2]["seconds"], 31.0);
    let heard = lines[2]["heard_seconds"].as_f64().unwrap();
    assert!(heard < 31.0 && lines[2]["cut_at"] == heard, "{}", lines[2]);
    assert_eq!(lines[2]["wav"], "out/0002.wav");
    // 56 bytes of header, and 4 bytes for each sample @ 16 kHz.
    let written = fs::metadata(dir.path().join("out/0002.wav")).unwrap().len();
    assert_eq!(written, 56 + (heard * 64_000.0) as u64);
    assert!(!dir.path().join("out/0001.wav").exists());
}

#[test]
fn listen_prints_a_block_and_draws_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let clip = dir.path().join("tone.wav");
    fs::copy(root().join("tests/fixtures/audio/tone_0p5s.wav"), &clip).unwrap();
    let output = run(dir.path(), &["listen", "tone.wav", "--seconds", "0.25", "--png", "mel.png"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.starts_with("tone.wav\n  format   WAV, "), "{said}");
    assert!(said.contains("  heard    0.000 s to 0.250 s, then it is cut\n"), "{said}");
    let png = fs::read(dir.path().join("mel.png")).unwrap();
    // 25 frames of 10 ms are 50 = 0x32 columns, and 128 bands 256 = 0x100 rows.
    assert_eq!(png[16..24], [0, 0, 0, 0x32, 0, 0, 1, 0]);

    for (arguments, reason) in [
        (&["tone.wav", "--wav", "./tone.wav"][..], "would be replaced"),
        (&["tone.wav", "tone.wav", "--wav", "out.wav"], "--wav is for one file, and 2 are named"),
        (&["tone.wav", "--seconds", "0"], "write more than 0 and at most 14400"),
        (&["tone.wav", "--seconds", "NaN"], "write more than 0 and at most 14400"),
        (&["tone.wav", "--start", "inf"], "write seconds, 0 or more"),
    ] {
        let said = refused(dir.path(), &[&["listen"], arguments].concat());
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(fs::read(clip).unwrap(), fs::read(root().join("tests/fixtures/audio/tone_0p5s.wav")).unwrap());
}

/// Copies a model of the fixtures into `dir`.
fn model(dir: &Path, family: &str) -> std::path::PathBuf {
    let copy = dir.join("model");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(root().join("tests/fixtures").join(family).join("model")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}

/// Changes a file of a model and returns the error for a scenario with that model, paths relative to its folder.
fn refused_policy(family: &str, change: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let policy = model(dir.path(), family);
    change(&policy);
    let scenario = root().join("scenarios/smoke.toml");
    let path = format!("policy.path={}", policy.display());
    let output = run(dir.path(), &[scenario.to_str().unwrap(), "--set", &path]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let (_, error) = said.trim_end().split_once("\nerror: ").unwrap();
    assert_eq!(error.lines().count(), 1, "{said}");
    error.replace(&format!("{}/", policy.display()), "")
}

/// Replaces a text in a file, which must contain it.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} must contain {from}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_refused_with_the_file_and_the_remedy() {
    let said = refused_policy("qwen3_untied", |dir| {
        fs::remove_file(dir.join("model-00002-of-00004.safetensors")).unwrap();
    });
    assert!(
        said.contains("model.safetensors.index.json: names the shard `model-00002-of-00004.safetensors`"),
        "{said}"
    );
    assert!(said.contains("fetch it"), "{said}");

    let said = refused_policy("qwen2_audio", |dir| {
        let weights = fs::read(dir.join("model.safetensors")).unwrap();
        fs::write(dir.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    });
    assert!(said.contains("model.safetensors: not a whole safetensors file"), "{said}");
    assert!(said.contains("fetch it again"), "{said}");

    let said = refused_policy("qwen2_5_omni", |dir| {
        edit(&dir.join("config.json"), "\"qwen2_5_omni_thinker\"", "\"gemma3\"")
    });
    assert!(said.contains("config.json: model_type is `gemma3`"), "{said}");
    assert!(said.contains("and the text-only `llama`, `qwen2` and `qwen3`"), "{said}");

    let said = refused_policy("qwen2_audio", |dir| {
        edit(&dir.join("config.json"), "\"vocab_size\": 304", "\"vocab_size\": 305")
    });
    assert!(
        said.contains("model.safetensors: tensor `language_model.model.embed_tokens.weight` has shape [304,"),
        "{said}"
    );
    assert!(said.contains("config.json asks for [305,"), "{said}");

    let said = refused_policy("qwen2_5_omni", |dir| {
        edit(&dir.join("config.json"), "\"encoder_layers\": 2", "\"encoder_layers\": 3")
    });
    assert!(said.contains("model.safetensors: tensor `audio_tower.layers.2."), "{said}");
    assert!(said.contains("is missing; config.json asks for it"), "{said}");

    let said =
        refused_policy("qwen2_5_omni", |dir| edit(&dir.join("tokenizer.json"), "<|AUDIO|>", "<|SOUND|>"));
    assert!(
        said.contains("tokenizer.json: has no token `<|AUDIO|>`, which config.json says is token 291"),
        "{said}"
    );

    let said = refused_policy("qwen2_audio", |dir| {
        fs::write(dir.join("config.json"), "model_type: qwen2_audio").unwrap()
    });
    assert!(said.contains("config.json: is not JSON"), "{said}");

    let said = refused_policy("qwen3_tied", |_| ());
    assert!(said.contains("Qwen3 is a text-only model"), "{said}");
}

/// Writes `mine.toml`: the smoke scenario with `code` as the Python reward `format`, which its formula uses.
fn with_plugin(dir: &Path, code: &str) -> String {
    fs::write(dir.join("mine.py"), code).unwrap();
    let format = "format = { kind = \"format\" }";
    changed(dir, format, "format = { kind = \"python\", file = \"mine.py\" }")
}

#[test]
fn check_starts_plugins_and_shows_what_they_score() {
    let dir = tempfile::tempdir().unwrap();
    let mine = with_plugin(
        dir.path(),
        "def reward(completions, correct): return [1.5 if c else None for c in correct]",
    );
    let output = run(dir.path(), &["check", &mine]);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(printed.starts_with("mine.toml: valid; arms: "), "{printed}");
    assert!(
        printed.contains("mine.toml: reward `format` answered after ")
            && printed.contains("two trial completions score 1.500 and none"),
        "{printed}"
    );
}

#[test]
fn check_shows_how_code_for_other_trainers_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let code = "\
def reward(prompts, completions, completion_ids, log_metric, solution, unit, **kwargs):
    assert unit == ['beats', 'beats'] and solution == ['5', '5'], (unit, solution)
    return [float(gold in completion[0]['content']) for completion, gold in zip(completions, solution)]
";
    let mine = with_plugin(dir.path(), code);
    // The trial is about the first row of the data, so that its columns are there.
    fs::copy(root().join("tests/fixtures/audio/chirp_3s.wav"), dir.path().join("a.wav")).unwrap();
    let row =
        r#"{"id": "1", "audio": "a.wav", "question": "How many?", "choices": ["3", "5"], "answer": "5", "#;
    fs::write(
        dir.path().join("mine.jsonl"),
        format!("{row}\"unit\": \"beats\", \"prompts\": \"theirs\"}}\n"),
    )
    .unwrap();
    let scenario = fs::read_to_string(dir.path().join(&mine)).unwrap();
    let data = "[data]\ntrain = { format = \"table\", path = \"mine.jsonl\" }\n";
    let scenario = if scenario.contains("[data]\n") {
        scenario.replacen("[data]\n", data, 1)
    } else {
        format!("{scenario}\n{data}")
    };
    fs::write(dir.path().join(&mine), scenario).unwrap();
    let output = run(dir.path(), &["check", &mine]);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let call = "reward(prompts, completions, completion_ids, log_metric, solution, unit, **columns)";
    let expected = format!(
        "two trial completions score 1.000 and 0.000; trl: {call}; warning: the data's column `prompts`"
    );
    assert!(printed.contains(&expected), "{printed}");
    let output = run(dir.path(), &["check", "--json", &mine]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let calls = &found["scenarios"][0]["calls"];
    assert_eq!((&calls[0]["reward"], &calls[0]["convention"]), (&"format".into(), &"trl".into()), "{found}");
    assert_eq!(calls[0]["call"], call);
    assert_eq!(calls[0]["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_plugin_that_does_not_work_is_refused_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mine = with_plugin(dir.path(), "import not_there\n");
    for arguments in [vec![mine.as_str()], vec!["check", mine.as_str()]] {
        let said = refused(dir.path(), &arguments);
        assert!(said.contains("reward `format`") && said.contains("No module named 'not_there'"), "{said}");
    }
    fs::remove_file(dir.path().join("mine.py")).unwrap();
    let said = refused(dir.path(), &[&mine]);
    assert!(said.contains("mine.toml:") && said.contains("there is no file"), "{said}");
}

#[test]
fn a_run_trains_with_a_reward_in_python() {
    let dir = tempfile::tempdir().unwrap();
    let mine = with_plugin(
        dir.path(),
        "print('hello, log')\ndef reward(tokens, **columns): return [1.0 / (1 + n) for n in tokens]",
    );
    let output = run(dir.path(), &[&mine, "--arm", "grpo", "--set", "run.steps=2", "--set", UNTRAINED]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let run_dir = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(run_dir.join("run.log")).unwrap().contains("hello, log"));
    // The scenario in the run directory has the file's absolute path, so it can be checked from any folder.
    let resolved = run_dir.join("scenario.toml").display().to_string();
    let output = run(Path::new("/"), &["check", &resolved]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_plugin_ends_when_the_sandbox_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    // It ignores the end of its input and every signal that can be ignored.
    let code = "
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
def reward(completions, step, total_steps):
    if total_steps > 1:
        with open('pid.part', 'w') as file: file.write(str(os.getpid()))
        os.rename('pid.part', 'pid')
        while True: time.sleep(1)
    return [0.0 for _ in completions]
";
    let mine = with_plugin(dir.path(), code);
    let mut sandbox = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args([&mine, "--arm", "grpo", "--quiet", "--set", UNTRAINED])
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    let pid = dir.path().join("pid");
    wait_until("the plug-in has been called", || pid.exists());
    sandbox.kill().unwrap();
    sandbox.wait().unwrap();
    let stat = Path::new("/proc").join(fs::read_to_string(&pid).unwrap()).join("stat");
    // A zombie counts as ended: process 1 may need some time to reap it.
    wait_until("the plug-in has ended", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
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

const JUDGE: &str = "tests/fixtures/qwen3_untied/model";

/// Starts a real judge server; returns it and the arguments that make a scenario use it.
fn judged() -> (JudgeServer, Vec<String>) {
    let server = JudgeServer::start(&root().join(JUDGE));
    let url = format!("judge.base_url={}", server.url);
    let settings = ["judge.kind=openai", &url, "judge.model=judge", "judge.cache.disk=false"];
    (server, sets(&settings))
}

fn sets(settings: &[&str]) -> Vec<String> {
    settings.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]).collect()
}

/// Runs arms of the ablation for two steps and returns the run directory.
fn small_ablation(dir: &Path, arms: &[&str], judge: &[String]) -> PathBuf {
    let ablation = root().join("scenarios/ablation.toml");
    let small = [
        "--no-control --set run.steps=2 --set sampling.prompts_per_step=2 --set sampling.group_size=4",
        "--set data.soundscapes.train_clips=12 --set data.soundscapes.heldout_clips=3 --set eval.limit=6",
    ];
    let mut arguments = vec![ablation.to_str().unwrap(), "--out", "runs"];
    arguments.extend(small.iter().flat_map(|line| line.split(' ')));
    arguments.extend(judge.iter().map(String::as_str));
    arguments.extend(arms.iter().flat_map(|arm| ["--arm", arm]));
    let output = run(dir, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stderr), text(&output.stdout));
    fs::read_dir(dir.join("runs")).unwrap().next().unwrap().unwrap().path()
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_ablation_records_the_same_with_a_judge_behind_a_server_and_with_the_same_model_run_locally() {
    let (_server, served) = judged();
    let path = format!("judge.path={}", root().join(JUDGE).display());
    let local = sets(&["judge.kind=local", &path, "judge.device=cpu", "judge.cache.disk=false"]);
    let eight =
        ["base", "sft", "sft+cot", "grpo", "grpo+cot", "grpo+atar", "grpo+atar+cr", "grpo+atar+cr+tr"];
    for (prompting, arms) in [("instruct", &eight[7..]), ("base", &eight[..])] {
        let prompting = sets(&[&format!("judge.prompting={prompting}")]);
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let there = small_ablation(dirs[0].path(), arms, &[&served[..], &prompting].concat());
        let here = small_ablation(dirs[1].path(), arms, &[&local[..], &prompting].concat());
        let (mut requests, mut tokens) = (0.0, 0.0);
        for arm in arms.iter().filter(|arm| arm.starts_with("grpo+")) {
            let file = |run: &Path, name: &str| lines(&run.join(arm).join("seed-7").join(name));
            for line in [file(&here, "metrics.jsonl"), file(&there, "metrics.jsonl")].concat() {
                requests += line["judge_requests"].as_f64().unwrap();
                tokens += line["judge_reply_tokens"].as_f64().unwrap();
                assert_eq!(line["judge_failures"], serde_json::json!({}), "{arm}");
                assert_eq!(line["missing"]["think"], 0, "{arm}");
                assert_eq!(line["think_quality"].is_number(), line["judge_requests"] != 0, "{arm}");
            }
            // The same verdicts lead to the same rewards, and those to the same policy.
            let rollouts = file(&here, "rollouts.jsonl");
            assert!(!rollouts.is_empty());
            assert_eq!(rollouts, file(&there, "rollouts.jsonl"), "{arm}");
        }
        // Arms share cached verdicts, so only the first arm that needs one uses tokens for it.
        assert!(requests > 0.0 && tokens > 5.0, "{requests} requests, {tokens} tokens");
    }
}

#[test]
fn sandbox_judge_prints_the_results_of_a_real_server() {
    let (_server, judged) = judged();
    let dir = tempfile::tempdir().unwrap();
    let scenario = root().join("scenarios/judge-attacks.toml");
    let sets = "judge.calibration=[\"builtin:general\", \"builtin:attacks\"]";
    let mut arguments =
        vec!["judge", scenario.to_str().unwrap(), "--set", sets, "--set", "judge.max_chars=1000"];
    arguments.extend(judged.iter().map(String::as_str));
    let output = run(dir.path(), &arguments);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}{printed}", text(&output.stderr));
    for line in [
        "openai judge at http://127.0.0.1:",
        "consistency         agrees ",
        "attacks resisted    ",
        "verdicts per second",
        " reply tokens, ",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    assert!(!printed.contains("no verdict"), "{printed}");
}
