//! Rows of the data that can't be used: each costs itself only, and is named.

use std::path::Path;

use ::run::RunError;
use records::ArmState;
use report::write_report;
use runtime::RunEvent;
use serde_json::{Value, json};

use crate::runs::{Ran, counts, lines, registry, run_in};

/// A mono WAV file of half a second at 16 kHz.
fn write_wav(path: &Path, sample: impl Fn(usize) -> i16) {
    let samples: Vec<u8> = (0..8000).flat_map(|index| sample(index).to_le_bytes()).collect();
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend([1u16, 1].map(u16::to_le_bytes).concat());
    bytes.extend([16_000u32, 32_000].map(u32::to_le_bytes).concat());
    bytes.extend([2u16, 16].map(u16::to_le_bytes).concat());
    bytes.extend(b"data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    bytes.extend(samples);
    std::fs::write(path, bytes).unwrap();
}

fn row(id: usize) -> Value {
    json!({"id": id, "question_text": "Which sound is it?", "multi_choice": ["beep", "buzz"], "answer": id % 2,
        "audio_path": "tone.wav"})
}

/// What to change of a row to make it unusable, and the cause that is recorded.
fn bad_rows() -> Vec<(&'static str, Value)> {
    vec![
        ("empty_question", json!({"question_text": " ? "})),
        ("repeated_choices", json!({"multi_choice": ["beep", "Beep "]})),
        ("answer_not_a_choice", json!({"answer": 2})),
        ("prompt_too_long", json!({"question_text": "sound ".repeat(2000)})),
        ("audio_silent", json!({"audio_path": "silent.wav"})),
        ("audio_unreadable", json!({"audio_path": "nowhere.wav"})),
        ("audio_unreadable", json!({"audio_path": "text.wav"})),
        ("prompt_unusable", json!({"question_text": "Which <|AUDIO|> is it?"})),
    ]
}

/// Writes `good` good rows and all bad ones, the bad ones first, as `file` of a folder with the clips.
fn write_rows(folder: &Path, file: &str, good: usize, bad: &[(&str, Value)]) {
    write_wav(&folder.join("tone.wav"), |index| (8000.0 * (index as f64 * 0.2).sin()) as i16);
    write_wav(&folder.join("silent.wav"), |_| 0);
    std::fs::write(folder.join("text.wav"), "no audio").unwrap();
    let mut rows = Vec::new();
    for (place, (_, change)) in bad.iter().enumerate() {
        let mut row = row(100 + place);
        row.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        rows.push(row.to_string());
    }
    rows.extend((0..good).map(|id| row(id).to_string()));
    std::fs::write(folder.join(file), rows.join("\n")).unwrap();
}

/// An arm that is trained on `train.jsonl` and evaluated on `suite.jsonl` beside the scenario.
fn scenario(method: &str, data: &str) -> String {
    format!(
        r#"
[run]
name = "test"
seeds = [3]
steps = 4
device = "cpu"
threads = 1
[policy]
from_scratch = true
[data]
train = {{ format = "avqa", path = "train.jsonl" }}
{data}
[sampling]
group_size = 3
prompts_per_step = 6
max_new_tokens = 6
[sft]
rows_per_step = 6
[rewards]
noise = {{ kind = "by-length" }}
[shaping]
formula = "noise"
[eval]
every = 2
suites = [{{ format = "avqa", path = "suite.jsonl", name = "suite" }}]
[[arm]]
name = "a"
method = "{method}"
"#
    )
}

async fn ran(scenario: &str, write: impl FnOnce(&Path)) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    run_in(folder, scenario, registry(), None, false, |_, _| {}).await
}

fn causes(problems: &[Value], phase: &str) -> Vec<String> {
    let of_phase = problems.iter().filter(|problem| problem["phase"] == phase);
    let mut causes: Vec<String> = of_phase.map(|found| found["cause"].as_str().unwrap().to_owned()).collect();
    causes.sort();
    causes
}

fn expected() -> Vec<String> {
    let mut causes: Vec<String> = bad_rows().into_iter().map(|(cause, _)| cause.to_owned()).collect();
    causes.sort();
    causes
}

// DATA-4
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_unusable_row_costs_itself_only_in_training_and_evaluation() {
    for method in ["grpo", "sft"] {
        let ran = ran(&scenario(method, ""), |folder| {
            write_rows(folder, "train.jsonl", 9, &bad_rows());
            write_rows(folder, "suite.jsonl", 3, &bad_rows());
        })
        .await;
        assert_eq!(ran.only_arm(), &ArmState::Done, "{method}");
        let problems = ran.lines("data-problems.jsonl");
        assert_eq!(causes(&problems, "train"), expected(), "{method}");
        assert_eq!(causes(&problems, "eval"), expected(), "{method}");
        for problem in &problems {
            let bad = &bad_rows()[problem["row"].as_u64().unwrap() as usize - 1];
            assert_eq!(problem["cause"], bad.0);
            let (file, message) = (problem["file"].as_str().unwrap(), problem["message"].as_str().unwrap());
            assert!(message.starts_with(&format!("{file}:{}: ", problem["row"])), "{problem}");
        }
        // What needs no clip is found before the first step.
        let late = ["audio_silent", "audio_unreadable"];
        for problem in problems.iter().filter(|problem| problem["phase"] == "train") {
            assert_eq!(late.contains(&problem["cause"].as_str().unwrap()), problem["step"] != 0, "{problem}");
        }
        for line in ran.lines("eval.jsonl") {
            let unusable: u64 =
                line["unusable"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
            assert_eq!(
                (line["overall"]["n"].as_u64(), unusable, line["questions"].as_u64()),
                (Some(3), 8, Some(11))
            );
            assert_eq!(line["unreadable_clips"], 2);
        }
        let (dispatched, trained, excluded) = counts(&ran.status()["groups"]);
        assert!(trained > 0 && excluded["audio_silent"] > 0, "{excluded:?}");
        assert!(!excluded.contains_key("prompt_too_long"), "it was left out before");
        assert_eq!(dispatched, trained + excluded.values().sum::<u64>());
        assert_eq!(ran.lines("metrics.jsonl")[3]["unusable_rows"], 8);
        let summary = write_report(&records::RunDir::new(ran.folder.path().join("run"))).unwrap();
        assert!(summary.terminal_table(200).contains("(3 of 11 asked)"), "{}", summary.terminal_table(200));
        let notes = summary.notes.join("\n");
        assert!(
            notes.contains("8 rows of the training data can't be used")
                && notes.contains("2 audio_unreadable"),
            "{notes}"
        );
    }
}

// DATA-4
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_arm_lists_no_row_twice_and_ends_like_one_that_was_not_stopped() {
    let write = |folder: &Path| {
        write_rows(folder, "train.jsonl", 9, &bad_rows());
        write_rows(folder, "suite.jsonl", 3, &bad_rows());
    };
    let whole = ran(&scenario("grpo", ""), write).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let stopped = run_in(folder, &scenario("grpo", ""), registry(), None, false, |event, stop| {
        if matches!(event, RunEvent::StepDone { step: 2, .. }) {
            stop.send(true).unwrap();
        }
    })
    .await;
    assert_eq!(stopped.only_arm(), &ArmState::Stopped);
    let resumed = run_in(stopped.folder, &scenario("grpo", ""), registry(), None, true, |_, _| {}).await;
    assert_eq!(resumed.only_arm(), &ArmState::Done);
    let rows = |ran: &Ran| {
        let problems = ran.lines("data-problems.jsonl");
        let mut rows: Vec<String> = problems
            .iter()
            .map(|found| format!("{} {} {}", found["suite"], found["row"], found["step"]))
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(rows(&resumed), rows(&whole));
    assert_eq!(resumed.timeless("metrics.jsonl"), whole.timeless("metrics.jsonl"));
}

// DATA-5
#[tokio::test(flavor = "multi_thread")]
async fn too_many_unusable_rows_end_the_arm_before_the_first_step_or_when_they_are_met() {
    let early = bad_rows()[..4].to_vec();
    let strict = scenario("grpo", "max_unusable_fraction = 0.3");
    let known = ran(&strict, |folder| {
        write_rows(folder, "train.jsonl", 9, &early);
        write_rows(folder, "suite.jsonl", 3, &[]);
    })
    .await;
    let Err(RunError::Input(error)) = &known.outcome else { panic!("{:?}", known.outcome) };
    let message = error.to_string();
    assert!(
        message.contains("4 of 13 rows can't be used") && message.contains("max_unusable_fraction = 0.3"),
        "{message}"
    );
    assert_eq!(known.lines("data-problems.jsonl").len(), 4, "the rows that the message counts are listed");

    let met = ran(&strict, |folder| {
        write_rows(folder, "train.jsonl", 5, &bad_rows()[4..7]);
        write_rows(folder, "suite.jsonl", 3, &[]);
    })
    .await;
    let reason = met.only_arm().failure().unwrap();
    assert!(reason.contains("of 8 rows of the training set can't be used"), "{reason}");
}

// DATA-5
#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_usable_row_is_refused_before_the_first_step() {
    for (good, place) in [((0, 3), "train.jsonl"), ((9, 0), "suite.jsonl")] {
        let ran = ran(&scenario("grpo", "max_unusable_fraction = 1.0"), |folder| {
            write_rows(folder, "train.jsonl", good.0, &bad_rows());
            write_rows(folder, "suite.jsonl", good.1, &bad_rows());
        })
        .await;
        let Err(RunError::Input(error)) = &ran.outcome else { panic!("{:?}", ran.outcome) };
        let message = error.to_string();
        assert!(message.contains("none of the 8 rows can be used") && message.contains(place), "{message}");
        assert!(message.contains("`question_text` is missing or empty"), "the first is named: {message}");
        let listed = lines(&ran.folder.path().join("run/a/seed-3/data-problems.jsonl"));
        assert!(listed.len() >= 4, "{listed:?}");
    }
}
