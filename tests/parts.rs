//! Runs that train other parts than the decoder or an adapter, fit the projector first, and replay texts.

use std::path::Path;

use audio::FeatureExtractor;
use records::ArmState;
use runtime::RunEvent;
use serde_json::{Value, json};
use workers::{AudioSource, Clip, ClipRequest};

use crate::runs::{Ran, registry, run, run_in};

/// A supervised arm on the tiny policy: three steps that fit the projector, then three that teach answers.
const SCENARIO: &str = r#"
[run]
name = "test"
seeds = [3]
steps = 6
device = "cpu"
threads = 1

[policy]
train = ["projector", "lora"]

[data]
train = { format = "avqa", path = "FOLDER/rows.jsonl" }

[align]
steps = 3
rows_per_step = 4
lr = 0.02

[sft]
rows_per_step = 3
replay.share = 0.4

[optimizer]
projector_lr = 1e-5

[eval]
suites = []

[checkpoint]
every = 1
keep = 10

[[arm]]
name = "a"
method = "sft"
"#;

/// Rows about clips whose files are empty: the features come from [`tones`].
fn write_rows(folder: &Path, change: impl Fn(&mut Value)) {
    let rows = (0..4).map(|row| {
        let (one, other) = if row % 2 == 0 { ("beep", "hiss") } else { ("hiss", "beep") };
        let mut row = json!({"id": row.to_string(), "question_text": "Which sound comes first?",
            "multi_choice": ["beep", "hiss"], "answer": row % 2, "question_relation": "Sound",
            "audio_path": format!("{one}-{other}.wav"), "transcript": format!("{one} {other}"),
            "spans": [[0.0, 0.5], [0.5, 1.0]]});
        change(&mut row);
        row.to_string() + "\n"
    });
    std::fs::write(folder.join("rows.jsonl"), rows.collect::<String>()).unwrap();
    for clip in ["beep-hiss.wav", "hiss-beep.wav"] {
        std::fs::write(folder.join(clip), "").unwrap();
    }
}

/// A second of sound: a high tone for `beep`, a low one for `hiss`, in the order of the file's name.
fn tones(request: &ClipRequest) -> Clip {
    let folder = scenarios::builtin_tiny_policy().unwrap();
    let features = FeatureExtractor::open(&folder).unwrap();
    let name = request.path.file_stem().unwrap().to_string_lossy().into_owned();
    let pitches: Vec<f32> = name.split('-').map(|word| if word == "beep" { 0.4 } else { 0.1 }).collect();
    let samples: Vec<f32> = (0..16_000).map(|i| 0.3 * (pitches[i / 8_000] * i as f32).sin()).collect();
    Ok(features.extract(&samples).into())
}

fn source() -> Option<AudioSource> {
    Some(std::sync::Arc::new(tones))
}

fn folder(change: impl Fn(&mut Value)) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), change);
    let scenario = SCENARIO.replace("FOLDER", &folder.path().display().to_string());
    (folder, scenario)
}

fn tensors(ran: &Ran, step: u64) -> Vec<(String, tch::Tensor)> {
    let checkpoint = ran.folder.path().join(format!("run/a/seed-3/checkpoints/step-{step:06}"));
    model::checkpoint::read_tensors(&checkpoint.join("adapter_model.safetensors")).unwrap()
}

/// The names of the tensors that differ between the checkpoints of two steps.
fn changed(ran: &Ran, from: u64, to: u64) -> Vec<String> {
    let (from, to) = (tensors(ran, from), tensors(ran, to));
    from.into_iter().zip(to).filter(|(one, other)| one.1 != other.1).map(|(one, _)| one.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_projector_is_fitted_to_words_and_then_taught_with_the_adapter() {
    let (folder, scenario) = folder(|_| ());
    let ran = run_in(folder, &scenario, registry(), source(), false, |_, _| {}).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let metrics = ran.lines("metrics.jsonl");
    let fitted: Vec<bool> = metrics.iter().map(|line| line.get("align_accuracy").is_some()).collect();
    assert_eq!(fitted, [true, true, true, false, false, false]);
    // Three rows of a data set and two that are replayed per step: 0.4 of 5.
    assert_eq!(metrics[3]["groups_trained"], 3);
    let rates: Vec<f64> = metrics.iter().map(|line| line["lr"].as_f64().unwrap()).collect();
    assert!(rates[0] > rates[1] && rates[1] > rates[2] && rates[3] == 1e-4, "{rates:?}");

    let fit = changed(&ran, 1, 3);
    assert!(!fit.is_empty() && fit.iter().all(|name| name.contains("multi_modal_projector")), "{fit:?}");
    let taught = changed(&ran, 3, 6);
    assert!(taught.iter().any(|name| name.contains("lora_B")));
    assert!(taught.iter().any(|name| name.contains("multi_modal_projector")));

    let replayed = ran.lines("replay.jsonl");
    assert_eq!(replayed.len(), 120);
    assert!(replayed.iter().all(|line| !line["ids"].as_array().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fits_the_projector_ends_alike_wherever_it_was_stopped() {
    let (whole, scenario) = folder(|_| ());
    let whole = run_in(whole, &scenario, registry(), source(), false, |_, _| {}).await;
    for last in [2, 3, 4] {
        let (stopped, scenario) = folder(|_| ());
        let stopped = run_in(stopped, &scenario, registry(), source(), false, |event, stop| {
            if matches!(event, RunEvent::StepDone { step, .. } if *step == last) {
                stop.send(true).unwrap();
            }
        })
        .await;
        assert_eq!(stopped.only_arm(), &ArmState::Stopped);
        let resumed = run_in(stopped.folder, &scenario, registry(), source(), true, |_, _| {}).await;
        assert_eq!(resumed.only_arm(), &ArmState::Done);
        assert_eq!(
            resumed.timeless("metrics.jsonl"),
            whole.timeless("metrics.jsonl"),
            "stopped after {last}"
        );
        for ((name, one), (_, other)) in tensors(&resumed, 6).iter().zip(tensors(&whole, 6)) {
            assert_eq!(*one, other, "{name}, stopped after {last}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_words_are_left_out_and_data_without_any_is_refused() {
    let (some, scenario) = folder(|row| {
        if row["id"] == "1" {
            row["spans"] = json!([[0.0, 0.5]]);
        }
    });
    let ran = run_in(some, &scenario, registry(), source(), false, |_, _| {}).await;
    let metrics = ran.lines("metrics.jsonl");
    assert_eq!(metrics[0]["groups_excluded"], json!({"no_words": 1}));
    assert_eq!(metrics[0]["groups_trained"], 3);

    let (none, scenario) = folder(|row| row["transcript"] = Value::Null);
    let refused = run_in(none, &scenario, registry(), source(), false, |_, _| {}).await;
    let message = refused.outcome.unwrap_err().to_string();
    assert!(message.contains("rows.jsonl: no row has the columns `transcript` and `spans`"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpo_trains_tower_and_projector_without_an_adapter() {
    let scenario = crate::runs::SCENARIO.replace("[policy]", "[policy]\ntrain = [\"tower\", \"projector\"]");
    let ran = run(&scenario, registry(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let whole = run(&scenario, registry(), None).await;
    assert_eq!(ran.timeless("metrics.jsonl"), whole.timeless("metrics.jsonl"));
    let status = ran.status();
    let checkpoint = Path::new(status["checkpoint"].as_str().unwrap());
    assert!(
        checkpoint.join("model.safetensors").exists(),
        "without an adapter a checkpoint is a whole model"
    );
}

#[test]
fn settings_that_contradict_the_trained_parts_are_refused_at_their_place() {
    for (change, problem) in [
        (("train = [\"projector\", \"lora\"]", "train = \"lora\""), "`steps` in [align] is 3"),
        (("method = \"sft\"", "method = \"grpo\""), "`steps` in [align] is 3"),
        (("steps = 3", "steps = 6"), "`steps` in [align] is 6"),
        (
            ("train = [\"projector\", \"lora\"]", "train = [\"full\", \"lora\"]"),
            "policy.train has both full and lora",
        ),
        (("train = [\"projector\", \"lora\"]", "train = [\"head\"]"), "\"head\""),
        (("replay.share = 0.4", "replay.share = 1.0"), "`share` in [sft.replay] is 1"),
    ] {
        let text = SCENARIO.replace(change.0, change.1);
        assert_ne!(text, SCENARIO);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.toml");
        std::fs::write(&path, text).unwrap();
        let message = scenarios::load(&path, &[], &[], None).unwrap_err().to_string();
        assert!(message.contains(problem) && message.contains("test.toml:"), "{message}");
    }
}
