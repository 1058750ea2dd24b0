//! Lines of the records of a run: journal, metrics, rollouts, evaluations, status, and a checkpoint's state.

use records::{
    ArmId, CheckpointState, Evaluation, JournalEntry, Rollout, RunDir, Status, StepMetrics, for_each_line,
    json_lines,
};
use serde::de::DeserializeOwned;

use super::Target;
use crate::scratch;

pub const TARGET: Target = Target {
    name: "journal",
    dictionary: &[
        "\n",
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\"format_version\":",
        "\"arm\":",
        "\"seed\":",
        "\"action\":",
        "\"change\"",
        "\"pause\"",
        "\"step\":",
        "\"version\":",
        "\"weights\":",
        "\"formula\":",
        "\"rewards\":",
        "\"kind\":",
        "null",
        "1e400",
        "-1",
        "18446744073709551616",
        "\\u0000",
        "\\ud800",
        "{\"a\":",
        "[[[[[[[[",
    ],
    longest: 16 * 1024,
    run,
};

fn run(input: &[u8]) {
    read_as::<JournalEntry>(input);
    read_as::<StepMetrics>(input);
    read_as::<Rollout>(input);
    read_as::<Evaluation>(input);
    read_as::<Status>(input);
    read_as::<CheckpointState>(input);
    let path = scratch::file(RunDir::JOURNAL, input);
    let run = RunDir::new(scratch::folder());
    if let Err(error) = run.read_journal() {
        assert!(error.to_string().contains("control.jsonl"), "a message names the file: {error}");
    }
    let mut lines = 0;
    let _ = for_each_line(&path, |line| {
        lines += line.len();
        serde_json::from_slice::<JournalEntry>(line).map(drop)
    });
    assert!(lines <= input.len());
    let arm = run.arm(&ArmId::new("arm", 7));
    std::fs::create_dir_all(arm.path()).expect("the scratch folder is writable");
    std::fs::write(arm.metrics(), input).expect("the scratch folder is writable");
    let _ = arm.read_metrics();
    let _ = arm.cut_back_to(None);
}

/// A row that can be read can be written, and is then read as the same row.
fn read_as<T: DeserializeOwned + serde::Serialize>(input: &[u8]) {
    for line in input.split(|&byte| byte == b'\n') {
        if let Ok(row) = serde_json::from_slice::<T>(line) {
            let written = json_lines([&row]).remove(0);
            let again: T =
                serde_json::from_str(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(json_lines([&again]), [written]);
        }
    }
}
