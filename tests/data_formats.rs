//! Every data format from its file to the third training step, with the built `sandbox`: `sandbox check --all --strict`
//! finds nothing, and the completions are about the rows of the file. A test of the package `sandbox` (see bin/Cargo.toml),
//! for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const ROWS: usize = 8;
const CHOICES: [&str; 4] = ["low", "middle", "high", "shrill"];

/// A quarter of a second of a tone, as WAV at 8 kHz.
fn tone(row: usize) -> Vec<u8> {
    let hertz = 200.0 * 2f64.powi(row as i32 % 4) + row as f64;
    let wave = |at: usize| (8_000.0 * (at as f64 * hertz * std::f64::consts::TAU / 8_000.0).sin()) as i16;
    let samples: Vec<u8> = (0..2_000).flat_map(|at| wave(at).to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend([8_000_u32, 16_000].map(u32::to_le_bytes).concat());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    bytes.extend(samples);
    bytes
}

fn question(row: usize) -> String {
    format!("Which tone is number {row}?")
}

fn answer(row: usize) -> &'static str {
    CHOICES[row % 4]
}

/// The rows that `row` makes, as JSON lines.
fn lines(row: impl Fn(usize) -> Value) -> Vec<u8> {
    (0..ROWS).map(|number| format!("{}\n", row(number))).collect::<String>().into_bytes()
}

/// The rows that `row` makes, as one JSON array.
fn array(row: impl Fn(usize) -> Value) -> Vec<u8> {
    Value::from((0..ROWS).map(row).collect::<Vec<_>>()).to_string().into_bytes()
}

/// The rows that `cells` makes, under a first line with the names of the columns.
fn delimited(first: &str, cells: impl Fn(usize) -> String) -> Vec<u8> {
    (0..ROWS).map(cells).fold(first.to_owned(), |text, line| text + "\n" + &line).into_bytes()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

/// A data set: its file, what it contains, and what the scenario says of it.
struct Case {
    file: &'static str,
    content: Vec<u8>,
    source: &'static str,
}

fn case(file: &'static str, source: &'static str, content: Vec<u8>) -> Case {
    Case { file, content, source }
}

/// A row with one key per choice, as AIR-Bench and MMSU have them.
fn lettered(row: usize, more: Value) -> Value {
    let mut value = json!({"question": question(row), "choice_a": CHOICES[0], "choice_b": CHOICES[1],
        "choice_c": CHOICES[2], "choice_d": CHOICES[3], "answer_gt": answer(row)});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

/// A row with a list of choices and the text of one as its answer.
fn listed(row: usize, more: Value) -> Value {
    let mut value = json!({"id": format!("q{row}"), "question": question(row), "choices": CHOICES,
        "answer": answer(row)});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

fn clip(row: usize) -> String {
    format!("clips/{row}.wav")
}

fn cases() -> Vec<Case> {
    let asked = |row: usize| format!("<audio>{}\nA. low\nB. middle\nC. high\nD. shrill", question(row));
    let own = |row: usize| listed(row, json!({"audio": clip(row)}));
    vec![
        case(
            "avqa.jsonl",
            "format = \"avqa\"",
            lines(|row| {
                json!({"id": row, "question_text": question(row), "multi_choice": CHOICES, "answer": row % 4,
                    "audio_path": clip(row)})
            }),
        ),
        case(
            "mmau.json",
            "format = \"mmau\"",
            array(|row| listed(row, json!({"audio_id": clip(row), "task": "sound", "difficulty": "easy"}))),
        ),
        case(
            "mmau-pro.json",
            "format = \"mmau-pro\"",
            array(|row| listed(row, json!({"audio_path": [clip(row)], "category": "sound"}))),
        ),
        case(
            "mmar.jsonl",
            "format = \"mmar\"",
            lines(|row| listed(row, json!({"audio_path": clip(row), "modality": "sound"}))),
        ),
        case(
            "mmsu.json",
            "format = \"mmsu\"",
            array(|row| lettered(row, json!({"id": format!("q{row}"), "audio_path": clip(row)}))),
        ),
        case(
            "air-bench.json",
            "format = \"air-bench\", audio_root = \"clips\"",
            array(|row| {
                let place = json!({"uniq_id": row, "task_name": "Sound_AQA", "dataset_name": "tones",
                    "path": format!("{row}.wav")});
                lettered(row, place)
            }),
        ),
        case(
            "audio-mcq.jsonl",
            "format = \"audio-mcq\"",
            lines(|row| listed(row, json!({"audio_path": clip(row), "source_dataset": "tones"}))),
        ),
        case(
            "chat.jsonl",
            "format = \"chat\"",
            lines(|row| {
                json!({"messages": [{"role": "user", "content": asked(row)}, {"role": "assistant", "content": answer(row)}],
                    "audios": [clip(row)]})
            }),
        ),
        case(
            "query.jsonl",
            "format = \"chat\", answer_type = \"text\"",
            lines(|row| json!({"query": question(row), "solution": answer(row), "audios": [clip(row)]})),
        ),
        case("lines.jsonl.gz", "format = \"table\"", gzip(&lines(own))),
        case("array.json", "format = \"table\"", array(own)),
        case(
            "table.csv",
            "format = \"table\", choice_separator = \"|\", columns = { audio = \"wav\" }",
            delimited("wav,question,choices,answer", |row| {
                format!("{},\"{}\",low|middle|high|shrill,{}", clip(row), question(row), answer(row))
            }),
        ),
        case(
            "letters.tsv",
            "format = \"table\", answer_is = \"letter\"",
            delimited("audio\tquestion\tA\tB\tC\tD\tanswer", |row| {
                let letter = ["A", "B", "C", "D"][row % 4];
                format!("{}\t{}\tlow\tmiddle\thigh\tshrill\t{letter}", clip(row), question(row))
            }),
        ),
        case(
            "open.csv",
            "format = \"table\", answer_type = \"number\", tolerance = 1",
            delimited("audio;question;answer", |row| {
                format!("{};How many hertz has tone {row}?;{}", clip(row), 200 << (row % 4))
            }),
        ),
        case("tones.parquet", "format = \"table\"", include_bytes!("fixtures/data/tones.parquet").to_vec()),
        case(
            "folder/metadata.csv",
            "format = \"table\", choice_separator = \";\"",
            delimited("file_name,question,choices,answer", |row| {
                format!("../{},{},low;middle;high;shrill,{}", clip(row), question(row), answer(row))
            }),
        ),
    ]
}

fn write_clips(dir: &Path) {
    let clips = dir.join("clips");
    fs::create_dir_all(clips.join("Sound_AQA_tones")).unwrap();
    for row in 0..ROWS {
        fs::write(clips.join(format!("{row}.wav")), tone(row)).unwrap();
        fs::write(clips.join(format!("Sound_AQA_tones/{row}.wav")), tone(row)).unwrap();
    }
}

fn sandbox(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG").output().unwrap()
}

#[test]
fn every_data_format_is_read_checked_and_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    write_clips(dir.path());
    for Case { file, content, source } in cases() {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        // A folder is named, not the file in it.
        let named = file.split_once('/').map_or(file, |(folder, _)| folder);
        let scenario = format!(
            "[run]\nname = \"r\"\nsteps = 3\nthreads = 1\n[control]\nlisten = \"off\"\n[policy]\nfrom_scratch = true\n\
             [data]\nmax_unusable_fraction = 0\ntrain = {{ path = \"{named}\", {source} }}\n\
             [sampling]\nprompts_per_step = 4\ngroup_size = 2\nmax_new_tokens = 8\n[eval]\nsuites = []\n\
             [rewards]\naccuracy = {{ kind = \"accuracy\" }}\n[shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"grpo\"\n"
        );
        let name = file.replace(['/', '.'], "-");
        let toml = format!("{name}.toml");
        fs::write(dir.path().join(&toml), scenario).unwrap();
        let checked = sandbox(dir.path(), &["check", "--all", "--strict", &toml]);
        let said = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(
            checked.status.code(),
            Some(0),
            "{file}: {said}{}",
            String::from_utf8_lossy(&checked.stderr)
        );
        assert!(said.contains("8 usable") || said.contains("rows      8"), "{file}: {said}");

        let out = format!("runs-{name}");
        let trained = sandbox(dir.path(), &[&toml, "--out", &out, "-q"]);
        assert!(trained.status.success(), "{file}: {}", String::from_utf8_lossy(&trained.stderr));
        let run = fs::read_dir(dir.path().join(&out)).unwrap().next().unwrap().unwrap().path();
        let read = |file: &str| -> Vec<Value> {
            let text = fs::read_to_string(run.join("grpo/seed-7").join(file)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        assert_eq!(read("metrics.jsonl").len(), 3, "{file}");
        let rollouts = read("rollouts.jsonl");
        assert_eq!(rollouts.len(), 3 * 4 * 2, "{file}");
        // Three steps of four prompts go over the eight rows once and a half.
        let golds: BTreeSet<&str> = rollouts.iter().map(|row| row["answer_gold"].as_str().unwrap()).collect();
        assert_eq!(golds.len(), 4, "{file}: {golds:?}");
    }
}
