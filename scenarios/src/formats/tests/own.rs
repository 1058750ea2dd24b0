//! Data as people bring it: tables, folders of the Hub, rows of ms-swift, and files as tools write them.

use std::io::Write;

use super::*;
use crate::source::{AnswerType, Columns, FileSource, Part, SplitBy};

/// A folder with two clips and a file of rows.
fn folder(name: &str, content: &[u8]) -> (tempfile::TempDir, FileSource) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("clips")).unwrap();
    for clip in ["clips/a.wav", "clips/b.wav"] {
        fs::write(folder.path().join(clip), "").unwrap();
    }
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    (folder, FileSource::new(DataFormat::Table, path))
}

fn open(source: &FileSource) -> Result<Dataset, String> {
    read_source(source, &RowFilter::default()).map_err(|error| error.to_string())
}

/// The questions of a file without problems.
fn rows_of(source: &FileSource) -> Vec<Arc<Question>> {
    let dataset = open(source).unwrap();
    assert_eq!(dataset.problems, []);
    dataset.questions.iter().collect()
}

fn table(name: &str, content: &str) -> Vec<Arc<Question>> {
    let (_folder, source) = folder(name, content.as_bytes());
    rows_of(&source)
}

/// Why a file cannot be used, or its only row that cannot, without its folder.
fn refused(source: &FileSource, folder: &tempfile::TempDir) -> String {
    let message = match open(source) {
        Err(message) => message,
        Ok(dataset) => match dataset.problems.as_slice() {
            [problem] => problem.message.clone(),
            problems => panic!("{problems:?}"),
        },
    };
    message.replace(&format!("{}/", folder.path().display()), "")
}

fn columns(text: &str) -> Box<Columns> {
    toml::from_str(text).unwrap()
}

const CSV: &str = "uid,path,question,options,label\r\n\
    7,clips/a.wav,\"What barks, here?\",\"['dog', 'cat']\",0\r\n\
    8,clips\\b.wav,What meows?,\"[\"\"dog\"\", \"\"cat\"\"]\",1\r\n";

#[test]
fn a_csv_is_read_by_the_usual_names_with_its_line_ends_quotes_and_backslashes() {
    let rows = table("mine.csv", CSV);
    let [first, second] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((first.id.as_str(), first.text.as_str()), ("7", "What barks, here?"));
    assert_eq!(
        (first.choices.as_slice(), first.answer.as_str()),
        (&["dog".to_owned(), "cat".to_owned()][..], "dog")
    );
    assert_eq!(second.answer, "cat");
    assert!(second.audio_path.ends_with("clips/b.wav"), "{second:?}");
}

#[test]
fn columns_are_named_by_the_scenario() {
    let content = "file\tq\tfirst\tsecond\tthird\tgold answer\tnote\n\
        clips/a.wav\tWhat barks?\tdog\tcat\t\tA\tloud\n\
        clips/b.wav\tWhat meows?\tdog\t\tcat\tB\t\n";
    let (_folder, mut source) = folder("mine.tsv", content.as_bytes());
    source.columns = columns(
        r#"audio = "file"
        question = "q"
        choices = ["first", "second", "third"]
        answer = "gold answer"
        kind = "note""#,
    );
    let rows = rows_of(&source);
    assert_eq!(
        (rows[0].answer.as_str(), rows[0].kind.as_deref(), rows[0].id.as_str()),
        ("dog", Some("loud"), "2")
    );
    assert_eq!((rows[1].answer.as_str(), rows[1].letters.as_str(), rows[1].choices.len()), ("cat", "AC", 2));
}

#[test]
fn json_in_every_layout_gives_the_same_rows() {
    let one = r#"{"id": 1, "audio": "clips/a.wav", "question": "What barks?", "choices": ["dog", "cat"], "answer": "dog", "x": NaN}"#;
    let two = r#"{"id": 2, "audio": {"path": "clips/b.wav", "bytes": null}, "question": "Größe?", "choices": ["big", "small"], "answer": "small"}"#;
    let lines = format!("{one}\n{two}\n");
    let expected = table("rows.jsonl", &lines)
        .iter()
        .map(|row| (row.id.clone(), row.answer.clone()))
        .collect::<Vec<_>>();
    assert_eq!(expected, [("1".into(), "dog".into()), ("2".into(), "small".into())]);
    let gzip = |text: &str| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let zstd = |text: &str| {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    };
    let object = format!("{{\"version\": 1,\n \"data\": [{one},\n{two}]}}");
    for (name, content) in [
        ("array.json", format!("[\n{one},\n{two}\n]").into_bytes()),
        ("object.json", object.clone().into_bytes()),
        ("line.json", object.replace('\n', " ").into_bytes()),
        ("bom.jsonl", format!("\u{feff}{lines}").into_bytes()),
        ("crlf.jsonl", lines.replace('\n', "\r\n").into_bytes()),
        ("packed.jsonl.gz", gzip(&lines)),
        ("packed", gzip(&lines)),
        ("packed.jsonl.zst", zstd(&lines)),
        ("frames.zst", [zstd(&format!("{one}\n")), zstd(two)].concat()),
        ("array.json.gz", gzip(&format!("[{one}, {two}]"))),
    ] {
        let (_folder, source) = folder(name, &content);
        let found: Vec<_> = rows_of(&source).iter().map(|row| (row.id.clone(), row.answer.clone())).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn parquet_rows_name_the_cells_of_their_clips() {
    let content = include_bytes!("../../../../audio/src/place/golden/table.parquet");
    let (folder, mut source) = folder("table.parquet", content);
    source.columns = columns(
        "audio = \"audio\"\nquestion = \"q\"\nchoices = \"options\"\nanswer = \"label\"\nid = \"uid\"",
    );
    let dataset = open(&source).unwrap();
    let first = dataset.questions.first().unwrap();
    assert_eq!((first.id.as_str(), first.answer.as_str(), first.start), ("7", "dog", Some(0.5)));
    assert_eq!(first.audio_path, folder.path().join("table.parquet#audio=0"));
    assert_eq!(first.metadata["turns"][0]["content"], "hi");
    // The second row has a choice that is null; the third has none.
    let problems: Vec<&str> =
        dataset.problems.iter().map(|problem| problem.message.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        problems,
        [
            "`options` is missing; write a list of texts such as [\"dog\", \"cat\"]",
            "`options` has 0 entries; write at least two, or set answer_type = \"text\""
        ]
    );
}

#[test]
fn folders_of_the_hub_are_read_by_their_metadata_or_their_shards() {
    let metadata = r#"{"file_name": "a.wav", "question": "What barks?", "choices": ["dog", "cat"], "answer": "dog"}
{"file_name": "b.wav", "question": "What meows?", "choices": ["dog", "cat"], "answer": "cat"}
"#;
    let (root, mut source) = folder("clips/metadata.jsonl", metadata.as_bytes());
    source.path = root.path().join("clips");
    let rows = rows_of(&source);
    assert_eq!((rows.len(), &rows[1].audio_path), (2, &root.path().join("clips/b.wav")));

    let row = |id: u8, clip: &str| {
        format!(
            "{{\"id\": {id}, \"audio\": \"clips/{clip}.wav\", \"question\": \"What?\", \"choices\": [\"x\", \"y\"], \"answer\": \"x\"}}\n"
        )
    };
    let (root, mut source) =
        folder("data/train-00000-of-00002.jsonl", (row(1, "a") + &row(2, "b")).as_bytes());
    fs::write(root.path().join("data/train-00001-of-00002.jsonl"), row(1, "a") + &row(3, "b")).unwrap();
    fs::write(root.path().join("data/test-00000-of-00001.jsonl"), row(9, "a")).unwrap();
    source.path = root.path().to_owned();
    assert!(
        open(&source)
            .unwrap_err()
            .ends_with("the folder has the splits \"test\", \"train\"; set split to one of them")
    );
    source.split = Some("train".into());
    let dataset = open(&source).unwrap();
    let ids: Vec<String> = dataset.questions.iter().map(|question| question.id.clone()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert!(
        dataset.problems[0]
            .message
            .contains("train-00001-of-00002.jsonl:1: id `1` is also that of line 1 of ")
    );
}

#[test]
fn a_missing_column_or_one_of_two_is_named_with_the_columns_and_what_to_write() {
    let (root, mut source) = folder("mine.csv", b"path,file_name,q,A,B,label\nclips/a.wav,a,What?,x,y,A\n");
    assert_eq!(
        refused(&source, &root),
        "mine.csv: the audio may be `path` or `file_name`; it has the columns `path`, `file_name`, `q`, `A`, `B`, `label`; \
         write columns = { audio = \"path\" }, or the other"
    );
    source.columns = columns("audio = \"path\"");
    assert_eq!(
        refused(&source, &root),
        "mine.csv: no column is the question by its name; it has the columns `path`, `file_name`, `q`, `A`, `B`, `label`; \
         write columns = { question = \"…\" }"
    );
    source.columns = columns("audio = \"path\"\nquestion = \"qq\"");
    assert!(
        refused(&source, &root)
            .starts_with("mine.csv: there is no column `qq`, which `columns.question` names; it has")
    );
    source.columns = columns("audio = \"path\"\nquestion = \"q\"");
    assert_eq!(rows_of(&source)[0].answer, "x");
    let (root, mut source) = folder("open.csv", b"audio,question,answer\nclips/a.wav,What?,dog\n");
    assert!(
        refused(&source, &root)
            .ends_with("write columns = { choices = \"…\" }, or set answer_type to \"text\" or \"number\"")
    );
    source.answer_type = Some(AnswerType::Text);
    assert_eq!(rows_of(&source)[0].answer, "dog");
}

#[test]
fn choices_in_one_text_need_a_separator() {
    let content =
        "audio,question,choices,answer\nclips/a.wav,What?,dog|cat,cat\nclips/b.wav,What?,cow | owl,owl\n";
    let (root, mut source) = folder("mine.csv", content.as_bytes());
    assert_eq!(
        refused(&source, &root),
        "mine.csv: `choices` is the text \"dog|cat\", and no list of choices; set choice_separator = \"|\", \
         or write [\"…\", \"…\"] in the cells"
    );
    source.choice_separator = Some("|".into());
    assert_eq!(rows_of(&source)[1].choices, ["cow", "owl"]);
}

#[test]
fn open_questions_ask_for_a_number_or_have_several_answers() {
    let content = r#"{"id": 1, "audio": "clips/a.wav", "question": "How fast?", "answer": 120}
{"id": 2, "audio": "clips/b.wav", "question": "How many?", "answer": ["3", "three or four"]}
"#;
    let (root, mut source) = folder("mine.jsonl", content.as_bytes());
    source.answer_type = Some(AnswerType::Text);
    let rows = rows_of(&source);
    assert_eq!(
        (rows[1].answer.as_str(), rows[1].other_answers.as_slice()),
        ("3", &["three or four".to_owned()][..])
    );
    assert_eq!(rows[0].tolerance, None);
    (source.answer_type, source.tolerance) = (Some(AnswerType::Number), Some(2.0));
    assert_eq!(
        refused(&source, &root),
        "mine.jsonl:2: `answer` is \"three or four\"; write a number, such as 3.5 or 1,000"
    );
    let first = open(&source).unwrap().questions.first().unwrap();
    assert_eq!(first.tolerance, Some(2.0));
    assert!(rewards::answer_matches("119", &first) && !rewards::answer_matches("117", &first));
}

#[test]
fn rows_of_ms_swift_are_read() {
    let content = r#"{"messages": [{"role": "system", "content": "You listen."}, {"role": "user", "content": "<audio>What barks?\nA. dog\nB. cat"}, {"role": "assistant", "content": "<answer>A</answer>"}], "audios": ["clips/a.wav"]}
{"messages": [{"role": "user", "content": "<audio>What is heard?"}], "audios": ["clips/b.wav"], "solution": "a cat"}
{"query": "<audio>How many? (A) one (B) two", "response": "two", "audios": ["clips/b.wav"], "extra": 1}
{"messages": [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "What?"}]}], "audios": ["a", "b"], "solution": "x"}
{"messages": [{"role": "user", "content": "What?"}], "audios": ["clips/a.wav"]}
"#;
    let (_root, mut source) = folder("swift.jsonl", content.as_bytes());
    source.format = DataFormat::Chat;
    let dataset = open(&source).unwrap();
    let rows: Vec<_> = dataset.questions.iter().collect();
    assert_eq!(
        (rows[0].text.as_str(), rows[0].answer.as_str(), rows[0].choices.len()),
        ("What barks?", "dog", 2)
    );
    assert_eq!(
        (rows[1].text.as_str(), rows[1].answer.as_str(), rows[1].choices.len()),
        ("What is heard?", "a cat", 0)
    );
    assert_eq!((rows[2].answer.as_str(), &rows[2].metadata["extra"]), ("two", &1.into()));
    assert!(rows[1].audio_path.ends_with("clips/b.wav"));
    let problems: Vec<&str> = dataset
        .problems
        .iter()
        .map(|problem| problem.message.rsplit("swift.jsonl:").next().unwrap())
        .collect();
    assert_eq!(
        problems,
        [
            "4: `audios` has 2 clips; write one: a question is about one clip",
            "5: the row has no answer; write \"solution\": \"…\", or a turn of the assistant after the question",
        ]
    );
}

#[test]
fn rows_of_audio_mcq_are_read() {
    let content = r#"{"source_dataset": "AudioCaps", "id": "0", "question_type": "sound", "audio_path": "clips/a.wav", "question": "What is the water doing?", "choices": ["Water is pouring steadily", "Water splashing continuously"], "answer": "Water splashing continuously"}
{"source_dataset": "Clotho", "id": "0", "question_type": "temporal", "audio_path": "clips/b.wav", "question": "What comes first?", "choices": ["rain", "thunder"], "answer": "thunder", "gemini_cot": "A rumble, then rain."}
"#;
    let (_root, mut source) = folder("data.jsonl", content.as_bytes());
    source.format = DataFormat::AudioMcq;
    let rows = rows_of(&source);
    assert_eq!(
        (rows[0].id.as_str(), rows[0].kind.as_deref(), rows[0].answer.as_str()),
        ("AudioCaps_0", Some("sound"), "Water splashing continuously")
    );
    assert_eq!(
        (rows[1].id.as_str(), rows[1].reasoning.as_deref()),
        ("Clotho_0", Some("A rumble, then rain."))
    );
    assert_eq!(rows[1].metadata["source_dataset"], "Clotho");
}

#[test]
fn files_that_are_no_text_are_named_with_what_to_write_instead() {
    let wide: Vec<u8> = "id,question".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, content, expected) in [
        (
            "a.csv",
            [&b"\xff\xfe"[..], &wide].concat(),
            "it is a text in UTF-16; write it in UTF-8: `iconv -f UTF-16 -t UTF-8 IN > OUT`",
        ),
        (
            "b.csv",
            wide.clone(),
            "it is a text in UTF-16; write it in UTF-8: `iconv -f UTF-16 -t UTF-8 IN > OUT`",
        ),
        (
            "a.xlsx",
            b"PK\x03\x04\x14\0\0\0[Content_Types].xml".to_vec(),
            "it is an Excel workbook; export it as CSV in UTF-8",
        ),
        (
            "a.zip",
            b"PK\x03\x04\x14\0\0\0rows.csv".to_vec(),
            "it is a zip archive; unpack it and write the path of the file in it",
        ),
        (
            "a.pkl",
            b"\x80\x04\x95\0\0".to_vec(),
            "it is a Python pickle, which may run code when it is read; write it with `to_json(\"rows.jsonl\", orient=\"records\", lines=True)` or `to_parquet`",
        ),
        (
            "a.arrow",
            b"ARROW1\0\0".to_vec(),
            "it is an Arrow file; write it with `Dataset.to_parquet` or `to_json`",
        ),
        (
            "a.jsonl",
            b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
            "it is a pointer of Git LFS, not the file; fetch the file with `git lfs pull`",
        ),
        (
            "a.html",
            b"<!doctype html><html>".to_vec(),
            "it is a web page; download the file itself, not the page that shows it",
        ),
        (
            "a.bz2",
            b"BZh91AY".to_vec(),
            "it is compressed with bzip2; compress it with gzip or zstd, or unpack it",
        ),
    ] {
        let (root, source) = folder(name, &content);
        assert_eq!(refused(&source, &root), format!("{name}: {expected}"));
    }
}

#[test]
fn rows_that_python_or_a_hand_wrote_are_named_by_their_line() {
    let good =
        r#"{"id": 1, "audio": "clips/a.wav", "question": "What?", "choices": ["x", "y"], "answer": "x"}"#;
    for (bad, expected) in [
        (
            "{'id': 2, 'question': 'What?'}",
            "a Python dict with single quotes, not a JSON object; write it with `json.dumps`, which uses double quotes",
        ),
        (
            r#"{"id": 2, "question": "What?",}"#,
            "not a JSON object: trailing comma at line 1 column 31; remove the comma in front of the closing bracket",
        ),
    ] {
        let (root, source) = folder("rows.jsonl", format!("{good}\n{bad}\n").as_bytes());
        assert_eq!(refused(&source, &root), format!("rows.jsonl:2: {expected}"));
    }
    let (root, source) = folder("rows.json", format!("[{good},\n]").as_bytes());
    assert!(refused(&source, &root).ends_with("remove the comma in front of the closing bracket"));
    let (root, source) = folder(
        "rows.csv",
        b"id,audio,question,A,B,answer\n1,clips/a.wav,Well, what?,x,y,x\n2,clips/a.wav,What?,x,y,x\n",
    );
    assert_eq!(
        refused(&source, &root),
        "rows.csv:2: 7 cells, where the first line names 6 columns; quote cells that contain the separator, as in \"a, b\""
    );
    let (root, source) = folder("rows.csv", b"id,audio,audio\n1,a,b\n");
    assert_eq!(
        refused(&source, &root),
        "rows.csv:1: two columns are named `audio`; name each column differently"
    );
    let (root, source) = folder("rows.csv", b"audio,question,A,B,answer\nd:\\x\\a.wav,What?,x,y,x\n");
    assert!(
        refused(&source, &root)
            .ends_with("set audio_root, and write paths with `/`: `\\` separates folders on Windows only")
    );
}

#[test]
fn one_file_serves_for_training_and_is_held_out_in_part() {
    let mut content = "id,audio,question,A,B,answer\n".to_owned();
    for id in 0..200 {
        content += &format!("{id},clips/{}.wav,What?,x,y,x\n", id / 2);
    }
    let (root, mut source) = folder("rows.csv", content.as_bytes());
    for clip in 0..100 {
        fs::write(root.path().join(format!("clips/{clip}.wav")), "").unwrap();
    }
    (source.holdout, source.split_seed, source.split_by) = (Some(0.2), Some(7), Some(SplitBy::Audio));
    let mut clips = |part| {
        source.part = Some(part);
        rows_of(&source).iter().map(|row| row.audio_path.clone()).collect::<Vec<_>>()
    };
    let (train, heldout) = (clips(Part::Train), clips(Part::Heldout));
    assert_eq!(train.len() + heldout.len(), 200);
    assert!((20..=60).contains(&heldout.len()), "{}", heldout.len());
    assert!(heldout.iter().all(|clip| !train.contains(clip)));
}
