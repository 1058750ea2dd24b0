use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::json;

use super::*;
use crate::fabricate;

type Rows = Vec<Map<String, Value>>;

fn parquet_rows(path: &Path) -> Rows {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let value = |field: &Field| match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Long(value) => json!(value),
        Field::Double(value) => json!(value),
        Field::Str(value) => json!(value),
        other => panic!("{other:?}"),
    };
    let row = |row: parquet::record::Row| {
        row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
    };
    reader.get_row_iter(None).unwrap().map(|found| row(found.unwrap())).collect()
}

fn json_rows(path: &Path) -> Rows {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows as texts, because CSV has no other values.
fn csv_rows(path: &Path) -> Vec<Vec<(String, String)>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names = reader.headers().unwrap().clone();
    let row = |row: csv::StringRecord| {
        names.iter().zip(row.iter()).map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    };
    reader.records().map(|found| row(found.unwrap())).collect()
}

fn as_texts(rows: &Rows) -> Vec<Vec<(String, String)>> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    rows.iter().map(|row| row.iter().map(|(name, value)| (name.clone(), text(value))).collect()).collect()
}

/// The JSON tables of a run, in the order steps, evaluations, rollouts.
fn exported(run: &RunDir) -> Vec<Rows> {
    let out = tempfile::tempdir().unwrap();
    export(run, Format::Json, out.path()).unwrap().iter().map(|path| json_rows(path)).collect()
}

/// EXPORT-2.
#[test]
fn all_formats_have_the_same_columns_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let run = fabricate::run(&folder.path().join("run"));
    let out = folder.path().join("tables");
    let [parquet, csv, json] = Format::ALL.map(|format| export(&run, format, &out).unwrap());
    let mut lengths = Vec::new();
    for ((parquet, csv), json) in parquet.iter().zip(&csv).zip(&json) {
        let rows = json_rows(json);
        assert_eq!(parquet_rows(parquet), rows);
        assert_eq!(csv_rows(csv), as_texts(&rows));
        lengths.push(rows.len());
    }
    assert_eq!(lengths, [5, 3, 2]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 9, "no draft is left");
}

#[test]
fn values_are_those_of_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let tables = exported(&fabricate::run(folder.path()));
    let [steps, evaluations, rollouts] = &tables[..] else { panic!() };
    let grpo = &steps[1];
    assert_eq!((&grpo["arm"], &grpo["seed"], &grpo["step"]), (&json!("grpo+atar"), &json!(7), &json!(2)));
    assert_eq!((&grpo["reward"], &grpo["components.format"]), (&json!(0.5), &json!(0.5)));
    assert_eq!((&grpo["components.think"], &grpo["target_tokens"]), (&json!(null), &json!(null)));
    assert_eq!(grpo["missing_causes.think.timed_out"], 2);
    assert_eq!(grpo["reward_metrics.think.length"], 2.5);
    let sft = &steps[4];
    assert_eq!(
        (&sft["arm"], &sft["loss"], &sft["target_tokens"]),
        (&json!("sft"), &json!(2.5e-9), &json!(9))
    );
    assert_eq!((&sft["reward"], &sft["components.format"]), (&json!(null), &json!(null)));
    assert_eq!(evaluations[0]["overall.correct"], 3);
    assert_eq!(evaluations[0]["by_kind.count.consistency_sum"], 0.25);
    assert_eq!(rollouts[0]["choices"], r#"["a","b"]"#);
    assert_eq!(rollouts[0]["question"], "Which, \"a\" or\nb? ü");
    assert_eq!((&rollouts[0]["think"], &rollouts[0]["correct"]), (&json!(null), &json!(true)));
}

#[test]
fn a_run_without_rows_has_the_columns_of_the_row_types_with_their_kinds() {
    let names = |table: &Table| -> Vec<String> {
        table.columns().in_order().iter().map(|column| format!("{} {:?}", column.name, column.kind)).collect()
    };
    let [steps, evaluations, rollouts] = table::ALL.each_ref().map(names);
    assert_eq!(steps[..4], ["arm Text", "seed Integer", "format_version Integer", "step Integer"]);
    for column in
        ["reward Float", "distinct_completions Integer", "target_tokens Integer", "judge_requests Integer"]
    {
        assert!(steps.iter().any(|found| found == column), "{column} in {steps:?}");
    }
    assert_eq!(evaluations[3..6], ["step Integer", "suite Text", "control Text"]);
    assert!(evaluations.contains(&"overall.chance_sum Float".to_owned()));
    assert_eq!(rollouts[3..7], ["phase Text", "step Integer", "suite Text", "control Text"]);
    for column in ["choices Text", "correct_official Boolean", "audio_start Float", "tokens Integer"] {
        assert!(rollouts.iter().any(|found| found == column), "{column} in {rollouts:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path());
    assert_eq!(exported(&run), [Rows::new(), Rows::new(), Rows::new()]);
    let parquet = export(&run, Format::Parquet, folder.path()).unwrap();
    let reader = SerializedFileReader::new(File::open(&parquet[0]).unwrap()).unwrap();
    assert_eq!(reader.metadata().file_metadata().schema().get_fields().len(), steps.len());
}

#[test]
fn a_column_holds_the_values_of_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path());
    let arm = fabricate::grpo_arm(&run);
    let large = u64::MAX;
    fabricate::write(
        &arm.metrics(),
        &[
            json!({"step": 1, "loss": 1, "weights": {"a": 1}, "later": null, "large": large}),
            json!({"step": 2, "weights": {"a": 0.5}, "later": "text", "flag": true}),
            json!({"step": 3, "later": [1], "flag": null}),
        ],
    );
    let steps = &exported(&run)[0];
    let column = |name: &str| -> Vec<&Value> { steps.iter().map(|row| &row[name]).collect() };
    assert_eq!(column("loss"), [&json!(1.0), &json!(null), &json!(null)]);
    assert_eq!(column("weights.a"), [&json!(1.0), &json!(0.5), &json!(null)]);
    assert_eq!(column("later"), [&json!(null), &json!("text"), &json!("[1]")]);
    assert_eq!(column("flag"), [&json!(null), &json!(true), &json!(null)]);
    // Too large for a column of integers, and not exact as a float.
    assert_eq!(column("large")[0], &json!(large.to_string()));
}

#[test]
fn rows_of_several_groups_come_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path());
    let arm = fabricate::grpo_arm(&run);
    let rows: Vec<Value> = (1..=40_000).map(|step| json!({"step": step, "phase": "train"})).collect();
    fabricate::write(&arm.rollouts(), &rows);
    let parquet = export(&run, Format::Parquet, folder.path()).unwrap();
    let reader = SerializedFileReader::new(File::open(&parquet[2]).unwrap()).unwrap();
    assert_eq!(reader.num_row_groups(), 3);
    let steps: Vec<u64> = parquet_rows(&parquet[2]).iter().map(|row| row["step"].as_u64().unwrap()).collect();
    assert!(steps.iter().copied().eq(1..=40_000));
}

#[test]
fn a_torn_last_line_is_left_out_and_a_broken_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path());
    let arm = fabricate::grpo_arm(&run);
    fs::write(arm.metrics(), "{\"step\":1}\n{\"st").unwrap();
    assert_eq!(exported(&run)[0].len(), 1);
    fs::write(arm.metrics(), "{\"step\":1}\n{\"st\n{\"step\":3}\n").unwrap();
    let out = folder.path().join("tables");
    let error = export(&run, Format::Csv, &out).unwrap_err().to_string();
    assert!(
        error.ends_with("metrics.jsonl: 1 of its lines can't be read; `sandbox verify` says what is damaged")
    );
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "no draft is left");
}

#[test]
fn records_of_a_newer_format_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path());
    let arm = fabricate::grpo_arm(&run);
    fs::write(arm.rollouts(), "{\"format_version\":2,\"step\":1}\n").unwrap();
    let error = export(&run, Format::Parquet, &folder.path().join("tables")).unwrap_err().to_string();
    assert!(error.contains("rollouts.jsonl: written in format 2 by a newer sandbox"), "{error}");
}
