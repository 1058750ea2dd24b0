use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use records::{RunDir, keep_lines};
use serde_json::{Value, json};

use super::*;
use crate::fabricate;

/// An event as a reader sees it.
#[derive(Debug, Default, PartialEq)]
struct Read {
    time: f64,
    step: u64,
    version: String,
    scalars: Vec<(String, f32)>,
}

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bits(&'a [u8]),
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Bits(take(&mut bytes, 8)),
            2 => {
                let length = varint(&mut bytes) as usize;
                Field::Bits(take(&mut bytes, length))
            }
            5 => Field::Bits(take(&mut bytes, 4)),
            other => panic!("stored as {other}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn scalar(value: &[u8]) -> (String, f32) {
    match fields(value)[..] {
        [(1, Field::Bits(tag)), (2, Field::Bits(number))] => {
            (String::from_utf8(tag.to_vec()).unwrap(), f32::from_le_bytes(number.try_into().unwrap()))
        }
        _ => panic!("a value is a tag and a number"),
    }
}

fn read_event(bytes: &[u8]) -> Read {
    let mut event = Read::default();
    for field in fields(bytes) {
        match field {
            (1, Field::Bits(time)) => event.time = f64::from_le_bytes(time.try_into().unwrap()),
            (2, Field::Number(step)) => event.step = step,
            (3, Field::Bits(version)) => event.version = String::from_utf8(version.to_vec()).unwrap(),
            (5, Field::Bits(summary)) => {
                for value in fields(summary) {
                    let (1, Field::Bits(value)) = value else { panic!("a summary has values") };
                    event.scalars.push(scalar(value));
                }
            }
            (7, Field::Bits(session)) => assert_eq!(session, [8, 1], "status START"),
            (field, _) => panic!("field {field}"),
        }
    }
    event
}

/// The whole events of a file, and the bytes of an incomplete last one.
fn read_file(path: &Path) -> (Vec<Read>, usize) {
    let bytes = fs::read(path).unwrap();
    let (mut bytes, mut events) = (&bytes[..], Vec::new());
    while bytes.len() >= 12 {
        let (length, mut rest) = (u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize, &bytes[12..]);
        if rest.len() < length + 4 {
            break;
        }
        let content = take(&mut rest, length);
        assert_eq!(take(&mut rest, 4), record::masked_checksum(content).to_le_bytes());
        events.push(read_event(content));
        bytes = rest;
    }
    (events, bytes.len())
}

/// The only event file of a folder.
fn only_file(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

/// Steps with this tag and their values.
fn series(events: &[Read], tag: &str) -> Vec<(u64, f32)> {
    let of_event = |event: &Read| {
        let found: Vec<_> = event.scalars.iter().filter(|(name, _)| name == tag).collect();
        assert!(found.len() <= 1);
        found.first().map(|(_, number)| (event.step, *number))
    };
    events.iter().filter_map(of_event).collect()
}

#[test]
fn the_events_of_an_arm_have_every_number_of_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let arm = fabricate::grpo_arm(&RunDir::new(folder.path().join("run")));
    let events = EventFile::rewrite(&folder.path().join("events"), &arm).unwrap();
    let (events, torn) = read_file(events.place().as_ref());
    assert_eq!(torn, 0);
    assert_eq!(events[0].version, "brain.Event:2");
    assert_eq!(series(&events, "train/reward"), [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]);
    assert_eq!(series(&events, "train/components/format").len(), 4);
    assert_eq!(
        series(&events, "train/missing_causes/think/timed_out"),
        [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    );
    assert_eq!(series(&events, "train/reward_metrics/think/length")[3], (4, 2.5));
    // A score that is null was not measured.
    assert_eq!(series(&events, "train/components/think"), []);
    assert!(series(&events, "train/step").is_empty() && series(&events, "train/format_version").is_empty());
    // 3 of 4 right, 2 of 4 think, the one verdict is 0.25, 50 tokens in 4 completions.
    assert_eq!(series(&events, "eval/mmau/accuracy"), [(0, 0.75), (2, 0.75), (4, 0.75)]);
    assert_eq!(series(&events, "eval/mmau/think_rate")[0], (0, 0.5));
    assert_eq!(series(&events, "eval/mmau/consistency")[0], (0, 0.25));
    assert_eq!(series(&events, "eval/mmau/completion_tokens")[0], (0, 12.5));
    assert_eq!(series(&events, "eval/mmau/think_quality"), []);
    let order: Vec<u64> = events[2..].iter().map(|event| event.step).collect();
    assert_eq!(order, [0, 1, 2, 2, 3, 4, 4]);
}

#[test]
fn times_of_recorded_rows_lie_their_durations_apart_and_end_when_the_file_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let arm = fabricate::grpo_arm(&RunDir::new(folder.path().join("run")));
    let written = crate::curves::last_written(&arm);
    let (events, _) = read_file(EventFile::rewrite(folder.path(), &arm).unwrap().place().as_ref());
    // Three evaluations of 5 s and four steps of 10 s: 55 s.
    let before_the_end: Vec<i64> =
        events[1..].iter().map(|event| (written - event.time).round() as i64).collect();
    assert_eq!(before_the_end, [55, 50, 40, 30, 25, 15, 5, 0]);
}

/// EXPORT-1.
#[test]
fn a_rewrite_after_truncation_has_no_step_twice_and_none_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let events_folder = folder.path().join("events");
    let arm = fabricate::grpo_arm(&RunDir::new(folder.path().join("run")));
    let mut events = EventFile::rewrite(&events_folder, &arm).unwrap();
    // The run goes on, is killed while it writes step 6, and is resumed from the checkpoint after step 3.
    events.append_step(&fabricate::step(5)).unwrap();
    let mut file = OpenOptions::new().append(true).open(events.place()).unwrap();
    file.write_all(&record::framed(&[0; 99])[..50]).unwrap();
    let (before, torn) = read_file(&only_file(&events_folder));
    assert_eq!((series(&before, "train/reward").len(), torn), (5, 50));
    let up_to_3 = |line: &str| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64() <= Some(3);
    keep_lines(&arm.metrics(), up_to_3).unwrap();
    keep_lines(&arm.evaluations(), up_to_3).unwrap();

    let mut events = EventFile::rewrite(&events_folder, &arm).unwrap();
    for step in [4, 5, 6] {
        events.append_step(&fabricate::step(step)).unwrap();
    }
    events.append_evaluation(&fabricate::evaluation(6)).unwrap();
    let (after, torn) = read_file(&only_file(&events_folder));
    let steps: Vec<u64> = series(&after, "train/reward").iter().map(|(step, _)| *step).collect();
    assert_eq!((steps, torn), (vec![1, 2, 3, 4, 5, 6], 0));
    assert_eq!(series(&after, "eval/mmau/accuracy"), [(0, 0.75), (2, 0.75), (6, 0.75)]);
}

#[test]
fn an_arm_without_records_has_an_empty_event_file_and_other_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let arm = RunDir::new(folder.path()).arm(&records::ArmId::new("base", 1));
    let (events, _) = read_file(EventFile::rewrite(folder.path(), &arm).unwrap().place().as_ref());
    assert_eq!(events.len(), 2);
    assert!(folder.path().join("notes.txt").exists());
}

#[test]
fn rows_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let arm = fabricate::grpo_arm(&RunDir::new(folder.path().join("run")));
    let mut events = EventFile::rewrite(folder.path(), &arm).unwrap();
    assert!(matches!(events.append_step(&json!({"loss": 1.0})), Err(ExportError::NoStep)));
    assert!(matches!(events.append_evaluation(&json!({"step": 1})), Err(ExportError::Evaluation(_))));
}

#[test]
fn a_control_of_a_suite_has_tags_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let arm = RunDir::new(folder.path()).arm(&records::ArmId::new("base", 1));
    let mut events = EventFile::rewrite(folder.path(), &arm).unwrap();
    let mut row = fabricate::evaluation(3);
    row["control"] = "silence".into();
    events.append_evaluation(&row).unwrap();
    let (events, _) = read_file(events.place().as_ref());
    assert_eq!(series(&events, "eval/mmau (silence)/accuracy"), [(3, 0.75)]);
}
