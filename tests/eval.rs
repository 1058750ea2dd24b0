//! `sandbox eval` with the built `sandbox` and the built-in policy: controls, checkpoints of a run, predictions, and an
//! evaluation that is killed. A test of the package `sandbox` (see bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn sandbox(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG");
    command
}

fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let output: Output = sandbox(dir, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(dir: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(dir, arguments)).unwrap()
}

/// The only run directory in `dir`.
fn run_dir(dir: &Path) -> PathBuf {
    let mut found = fs::read_dir(dir.join("runs")).unwrap();
    let run_dir = found.next().unwrap().unwrap().path();
    assert!(found.next().is_none());
    run_dir
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A row as its evaluation and question determine it: without times.
fn without_times(mut row: Value) -> Value {
    row.as_object_mut().unwrap().remove("eval_seconds");
    row
}

const WORLD: [&str; 8] = [
    "eval",
    "--policy",
    "builtin:tiny",
    "--suite",
    "builtin:soundscapes",
    "--json",
    // Several processes with several threads each would wait for each other.
    "--set",
    "run.threads=1",
];

#[test]
fn one_flag_reports_what_survives_without_hearing() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [&WORLD[..], &["--controls", "--limit", "240", "--max-new-tokens", "64"]].concat();
    let found = json(dir.path(), &arguments);
    let hearing = &found["summary"]["hearing"][0];
    let accuracy = |score: &Value| score["accuracy"]["value"].as_f64().unwrap();
    assert!(accuracy(hearing) > 0.6, "{hearing}");
    let controls = hearing["controls"].as_array().unwrap();
    assert_eq!(controls.len(), 5);
    for score in controls {
        let (name, accuracy, chance) =
            (score["control"].as_str().unwrap(), accuracy(score), score["chance"].as_f64().unwrap());
        if name == "shuffled_choices" {
            assert!(accuracy > 0.6, "{score}");
        } else {
            // 240 answers have a standard error of 2.8 points at chance.
            assert!((accuracy - chance).abs() < 0.12, "{name}: {accuracy}, chance {chance}");
        }
    }
    let eval = &found["summary"]["arms"][0]["evals"]["builtin:soundscapes"];
    // The questions after the limit are said to be left out.
    assert!(eval["asked"].as_str().unwrap().starts_with("240 of "), "{eval}");
    assert!(eval["unusable"]["beyond_limit"].as_u64().unwrap() > 0);
}

#[test]
fn several_samples_give_mean_pass_and_majority() {
    let dir = tempfile::tempdir().unwrap();
    let arguments =
        [&WORLD[..], &["--samples", "4", "--limit", "20", "--temperature", "1", "--max-new-tokens", "32"]]
            .concat();
    let found = json(dir.path(), &arguments);
    let eval = &found["summary"]["arms"][0]["evals"]["builtin:soundscapes"];
    let number = |key: &str| eval[key].as_f64().unwrap();
    let mean = eval["overall"]["accuracy"]["value"].as_f64().unwrap();
    assert_eq!(eval["overall"]["counts"]["n"], 80);
    assert!(number("pass_at_k") >= mean && number("pass_at_k") >= number("majority_at_k"));
    assert!(number("tokens_per_second") > 0.0);
}

/// Spoken numbers, each in a file format of its own.
const WORDS: [(&str, &[u8]); 4] = [
    ("one.wav", include_bytes!("fixtures/spoken/one.wav")),
    ("two.flac", include_bytes!("fixtures/spoken/two.flac")),
    ("three.mp3", include_bytes!("fixtures/spoken/three.mp3")),
    ("four.opus", include_bytes!("fixtures/spoken/four.opus")),
];

/// Writes an MMAU file about spoken numbers, and returns its name as a suite.
fn mmau(dir: &Path) -> &'static str {
    for (name, content) in WORDS {
        fs::write(dir.join(name), content).unwrap();
    }
    // The built-in policy knows numbers, not these words.
    let choices = ["1", "2", "3", "4"];
    let tasks = ["sound", "music", "speech"];
    let row = |row: usize| {
        serde_json::json!({
            "id": format!("id-{row}"), "audio_id": WORDS[row % 4].0,
            "question": format!("Question {row}: which number is spoken?"), "choices": choices, "answer": choices[row % 4],
            "task": tasks[row % 3], "split": "test-mini", "difficulty": "easy",
        })
    };
    fs::write(dir.join("mmau.json"), Value::from((0..40).map(row).collect::<Vec<_>>()).to_string()).unwrap();
    "mmau=mmau.json"
}

// EVAL-3. The kernel kills the process at its first write beyond a file's size limit: in the draft, in the rows of the
// evaluations or in the rollouts, at the same byte on every machine.
#[test]
fn a_killed_evaluation_goes_on_and_records_what_an_unbroken_one_records() {
    let dir = tempfile::tempdir().unwrap();
    let suite = mmau(dir.path());
    let arguments = |out: &str| {
        let asked = ["eval", "--policy", "builtin:tiny", "--suite", suite, "--batch", "2", "--controls"];
        let more =
            ["--temperature", "1", "--max-new-tokens", "24", "--samples", "4", "--set", "run.threads=1"];
        [&asked[..], &more, &["--out", out, "-q"]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(sandbox(dir.path(), &[]).args(arguments("whole/runs")).status().unwrap().success());
    let whole = run_dir(&dir.path().join("whole"));
    let rows = |run: &Path, file: &str| -> Vec<Value> {
        lines(&run.join("policy/seed-7").join(file)).into_iter().map(without_times).collect()
    };

    let mut drafts = 0;
    // In the shell's blocks, which are of 512 or 1024 bytes.
    for blocks in ["16", "32", "64", "128", "400"] {
        let place = format!("killed-{blocks}");
        let killed = Command::new("sh")
            .args(["-c", "ulimit -c 0; ulimit -f \"$0\"; exec \"$@\"", blocks, env!("CARGO_BIN_EXE_sandbox")])
            .args(arguments(&format!("{place}/runs")))
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(killed.status.code(), None, "{blocks}: {}", String::from_utf8_lossy(&killed.stderr));
        let killed = run_dir(&dir.path().join(place));
        let draft = killed.join("policy/seed-7/eval-draft.jsonl");
        drafts += usize::from(fs::read_to_string(&draft).is_ok_and(|text| text.lines().count() > 3));
        succeed(dir.path(), &["eval", "--resume", killed.to_str().unwrap(), "-q"]);
        assert!(!draft.exists(), "what is recorded needs no draft");
        for file in ["eval.jsonl", "rollouts.jsonl"] {
            assert_eq!(rows(&killed, file), rows(&whole, file), "{blocks}: {file}");
        }
    }
    assert!(drafts > 0, "no process left a draft with answered batches");
    // The predictions are rows of the file, with the key that the benchmark's script reads.
    let predictions = fs::read_to_string(whole.join("policy/seed-7/predictions/mmau.json")).unwrap();
    let predictions: Vec<Value> = serde_json::from_str(&predictions).unwrap();
    assert_eq!(predictions.len(), 40);
    assert!(predictions.iter().all(|row| row["model_output"].is_string() && row["task"].is_string()));
}

/// The ids of the rows for which `wanted` is true, sorted.
fn ids(path: &Path, wanted: impl Fn(&Value) -> bool, id: &str) -> Vec<String> {
    let rows = lines(path).into_iter().filter(wanted);
    let mut ids: Vec<String> = rows.map(|row| row[id].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn training_leaves_out_the_rows_that_the_policy_answers_without_their_clips() {
    let dir = tempfile::tempdir().unwrap();
    let suite = mmau(dir.path());
    let asked = ["eval", "--policy", "builtin:tiny", "--suite", suite, "--control", "no_audio"];
    let more = ["--temperature", "0", "--max-new-tokens", "24", "--set", "run.threads=1", "-q"];
    succeed(dir.path(), &[&asked[..], &more, &["--out", "heard/runs"]].concat());
    let rollouts = run_dir(&dir.path().join("heard")).join("policy/seed-7/rollouts.jsonl");
    let answered = ids(&rollouts, |row| row["control"] == "no_audio" && row["correct_lenient"] == true, "id");
    assert!((1..40).contains(&answered.len()), "{answered:?}");

    let scenario = "[run]\nname = \"r\"\nsteps = 3\nthreads = 1\n[control]\nlisten = \"off\"\n\
        [data]\ntrain = { format = \"mmau\", path = \"mmau.json\" }\nfilter = \"needs-audio\"\nmax_unusable_fraction = 0\n[prompt]\nstyle = \"adaptive\"\n\
        [sampling]\nprompts_per_step = 2\ngroup_size = 2\nmax_new_tokens = 24\n[eval]\nsuites = []\n\
        [rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"grpo\"\n";
    fs::write(dir.path().join("r.toml"), scenario).unwrap();
    let cache = dir.path().join("cache");
    let train = |out: &str| {
        let trained = sandbox(dir.path(), &["r.toml", "--out", out, "-q"])
            .env("AUDIO_THINKER_CACHE", &cache)
            .output()
            .unwrap();
        assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
        let arm = run_dir(&dir.path().join(out).join("..")).join("grpo/seed-7");
        let left_out = ids(&arm.join("data-problems.jsonl"), |_| true, "id");
        let trained = ids(&arm.join("rollouts.jsonl"), |_| true, "id");
        assert_eq!(left_out, answered);
        assert!(trained.iter().all(|id| !answered.contains(id)), "{trained:?}");
    };
    train("first/runs");
    let kept = fs::read_dir(cache.join("needs-audio")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(lines(&kept).len(), 40);

    // What was kept is believed and not asked again, also after a line that a killed process left unfinished.
    let mut text = fs::read_to_string(&kept).unwrap();
    text.truncate(text.len() - 9);
    fs::write(&kept, &text).unwrap();
    train("second/runs");
    let after = fs::read_to_string(&kept).unwrap();
    assert!(after.starts_with(&text), "{after}");
    assert_eq!(after.lines().count(), 41, "the unfinished line, and its row again");
}

#[test]
fn the_checkpoints_of_a_run_are_evaluated_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = "[run]\nname = \"r\"\nsteps = 2\n[control]\nlisten = \"off\"\n[checkpoint]\nevery = 1\nkeep = 5\n\
        [sampling]\nprompts_per_step = 1\ngroup_size = 2\nmax_new_tokens = 8\n[eval]\nevery = 1\nlimit = 8\n\
        [rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"grpo\"\n";
    fs::write(dir.path().join("r.toml"), scenario).unwrap();
    succeed(dir.path(), &["r.toml", "-q"]);
    let trained = run_dir(dir.path());
    let trained = trained.to_str().unwrap();
    for (step, expected) in
        [("all", vec!["grpo@1", "grpo@2"]), ("last", vec!["grpo@2"]), ("1", vec!["grpo@1"])]
    {
        let found = json(dir.path(), &["eval", "--run", trained, "--step", step, "--json", "--out", step]);
        let arms = found["summary"]["arms"].as_array().unwrap();
        let names: Vec<&str> = arms.iter().map(|arm| arm["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
    }
    let best = json(dir.path(), &["eval", "--run", trained, "--step", "best", "--json", "--out", "best"]);
    assert_eq!(best["summary"]["arms"].as_array().unwrap().len(), 1);
    let refused = sandbox(dir.path(), &["eval", "--run", trained, "--step", "7"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said.contains("there is no checkpoint of step 7; write one of 1, 2, last, best or all"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_evaluated_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["eval"][..], "nothing to evaluate; name a policy with --policy DIR"),
        (&["eval", "--policy", "builtin:tiny"], "no suite to evaluate on; name one, such as --suite mmau="),
        (&["eval", "--policy", "builtin:tiny", "--suite", "mmua=x.json"], "did you mean `mmau`?"),
        (&["eval", "--policy", "builtin:tiny", "--suite", "mmau=x.json"], "x.json"),
    ] {
        let output = sandbox(dir.path(), arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(!dir.path().join("runs").exists(), "nothing is left behind");
    }
}
