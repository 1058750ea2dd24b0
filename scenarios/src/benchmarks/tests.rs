use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::{DataFormat, DataSource, FileSource, Split, Worlds, open_dataset};

const BENCHMARKS: [DataFormat; 5] =
    [DataFormat::Mmau, DataFormat::Mmar, DataFormat::AirBench, DataFormat::Mmsu, DataFormat::MmauPro];

/// Rows, predictions, the file for the published script, and the averages of that file, by `tests/fixtures/scores.py`.
fn golden(format: DataFormat) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/scores");
    let text = fs::read_to_string(folder.join(format.name()).with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A data file with these rows, and a clip for one of them.
fn source(folder: &Path, format: DataFormat, rows: &Value) -> FileSource {
    let path = folder.join("rows.json");
    fs::write(&path, rows.to_string()).unwrap();
    let clip = match format {
        DataFormat::AirBench => {
            let text = |key: &str| rows[0][key].as_str().unwrap().to_owned();
            PathBuf::from(format!("{}_{}", text("task_name"), text("dataset_name"))).join("a.wav")
        }
        _ => "a.wav".into(),
    };
    let clip = folder.join(clip);
    fs::create_dir_all(clip.parent().unwrap()).unwrap();
    fs::write(clip, "").unwrap();
    FileSource::new(format, &path)
}

fn predictions(golden: &Value) -> HashMap<String, String> {
    serde_json::from_value(golden["predictions"].clone()).unwrap()
}

/// The rows of a file in either layout.
fn rows_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    match text.starts_with('[') {
        true => serde_json::from_str(&text).unwrap(),
        false => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

// BENCH-1
#[test]
fn averages_are_those_that_the_published_script_computes_of_our_file() {
    for format in BENCHMARKS {
        let golden = golden(format);
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), format, &golden["rows"]);
        let predictions = predictions(&golden);

        let out = folder.path().join("predictions.jsonl");
        assert_eq!(write_predictions(&source, &predictions, &out).unwrap(), predictions.len());
        assert_eq!(rows_of(&out), *golden["file"].as_array().unwrap(), "{format:?}");

        let dataset = open_dataset(&DataSource::File(source), &Worlds::default(), Split::Train).unwrap();
        assert_eq!(dataset.problems, []);
        let scored: Vec<Scored> = dataset
            .questions
            .iter()
            .filter_map(|question| {
                let prediction = predictions.get(&question.id)?;
                let official = question.official.score(prediction, &question);
                let strict = *prediction == question.answer;
                Some(Scored { question, official, strict })
            })
            .collect();
        let mut averages = averages(format, &scored);
        let strict = averages.pop().unwrap();
        assert_eq!((strict.name.as_str(), strict.n), ("strict", predictions.len()));
        let expected = golden["averages"].as_array().unwrap();
        assert_eq!(averages.len(), expected.len(), "{format:?}: {averages:?}");
        for (average, expected) in averages.iter().zip(expected) {
            assert_eq!(
                (&*average.name, average.n as u64),
                (expected[0].as_str().unwrap(), expected[1].as_u64().unwrap())
            );
            assert!((average.value - expected[2].as_f64().unwrap()).abs() < 1e-12, "{average:?}");
        }
    }
}

fn scored(columns: &[(&str, &str)], official: Option<bool>, strict: bool) -> Scored {
    let metadata = columns.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    Scored { question: Arc::new(Question { metadata, ..Question::default() }), official, strict }
}

fn value(averages: &[Average], name: &str) -> Option<(usize, f64)> {
    averages.iter().find(|average| average.name == name).map(|average| (average.n, average.value))
}

#[test]
fn a_question_that_the_rule_leaves_out_counts_in_the_strict_average_only() {
    let category = [("category", "Perception"), ("sub-category", "Linguistics")];
    let all = [scored(&category, Some(true), true), scored(&category, None, false)];
    let averages = averages(DataFormat::Mmsu, &all);
    // One of one by the rule, one of two strictly.
    assert_eq!(value(&averages, "category Perception"), Some((1, 1.0)));
    assert_eq!(value(&averages, "total"), Some((1, 1.0)));
    assert_eq!(value(&averages, "strict"), Some((2, 0.5)));
}

#[test]
fn the_mean_of_tasks_gives_each_task_the_same_weight() {
    let row = |task| [("task_name", task), ("dataset_name", "x")];
    let mut all = vec![scored(&row("Sound_AQA"), Some(true), true); 3];
    all.push(scored(&row("Music_AQA"), Some(false), false));
    let found = averages(DataFormat::AirBench, &all);
    // (3/3 + 0/1) / 2, against 3/4 in total.
    assert_eq!(value(&found, "mean of tasks"), Some((4, 0.5)));
    assert_eq!(value(&found, "total"), Some((4, 0.75)));
    assert_eq!(value(&found, "dataset Sound_AQA_x"), Some((3, 1.0)));
    // Audio-Thinker's average needs all five tasks.
    assert_eq!(value(&found, "mean of Audio-Thinker's five tasks"), None);
    for task in &AUDIO_THINKER_TASKS[2..] {
        all.push(scored(&row(task), Some(true), true));
    }
    all.push(scored(&row("Speech_Grounding"), Some(false), false));
    let found = averages(DataFormat::AirBench, &all);
    // (1 + 0 + 1 + 1 + 1) / 5; the sixth task does not count.
    assert_eq!(value(&found, "mean of Audio-Thinker's five tasks"), Some((7, 0.8)));
}

#[test]
fn no_question_has_no_average() {
    for format in BENCHMARKS.into_iter().chain([DataFormat::Avqa]) {
        assert_eq!(averages(format, &[]), []);
    }
}

#[test]
fn mmar_is_written_in_the_layout_of_the_files_name() {
    let golden = golden(DataFormat::Mmar);
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), DataFormat::Mmar, &golden["rows"]);
    for (name, first) in [("out.json", "[\n{"), ("out.jsonl", "{")] {
        let out = folder.path().join(name);
        write_predictions(&source, &predictions(&golden), &out).unwrap();
        assert!(fs::read_to_string(&out).unwrap().starts_with(first));
    }
}

#[test]
fn an_empty_prediction_for_mmsu_is_a_hyphen_so_that_the_script_does_not_use_the_letter_before() {
    let golden = golden(DataFormat::Mmsu);
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), DataFormat::Mmsu, &golden["rows"]);
    let predictions = ["B", " \n\x1c", "None"].iter().enumerate();
    let predictions = predictions.map(|(row, text)| (format!("row_{row}"), (*text).to_owned())).collect();
    let out = folder.path().join("out.jsonl");
    assert_eq!(write_predictions(&source, &predictions, &out).unwrap(), 3);
    let responses: Vec<Value> = rows_of(&out).iter().map(|row| row["response"].clone()).collect();
    assert_eq!(responses, ["B", "-", "-"]);
}

#[test]
fn a_prediction_for_an_unknown_row_or_a_file_that_cannot_be_written_is_refused() {
    let golden = golden(DataFormat::Mmau);
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), DataFormat::Mmau, &golden["rows"]);
    let out = folder.path().join("out.json");
    let stray = HashMap::from([("nobody".to_owned(), "dog".to_owned())]);
    let message = write_predictions(&source, &stray, &out).unwrap_err().to_string();
    let expected = "no row has the id `nobody`, for which there is a prediction; give the file that the questions were read from";
    assert!(message.ends_with(expected), "{message}");
    assert!(!out.exists());
    // A file in place of the folder.
    fs::write(folder.path().join("no"), "").unwrap();
    let nowhere = folder.path().join("no/out.json");
    let message = write_predictions(&source, &HashMap::new(), &nowhere).unwrap_err().to_string();
    assert!(message.contains("no/out.json: cannot be written: "), "{message}");
}
