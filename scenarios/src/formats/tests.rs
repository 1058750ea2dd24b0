use std::fs;
use std::sync::Arc;

use rewards::Difficulty;

use super::*;
use crate::rows::RowCause;

/// Reads `text` as a file in this format, in a folder with `a.wav`.
fn read_text(format: DataFormat, text: &str, filter: &RowFilter) -> Result<Dataset, ScenarioError> {
    let folder = tempfile::tempdir().unwrap();
    read_text_in(folder.path(), format, text, filter)
}

fn read_text_in(
    folder: &Path,
    format: DataFormat,
    text: &str,
    filter: &RowFilter,
) -> Result<Dataset, ScenarioError> {
    let path = folder.join("rows");
    fs::write(&path, text).unwrap();
    for audio in ["a.wav", "Sound_AQA_clotho/a.wav"] {
        let audio = folder.join(audio);
        fs::create_dir_all(audio.parent().unwrap()).unwrap();
        fs::write(audio, "").unwrap();
    }
    read(format, &path, folder, filter)
}

fn questions(format: DataFormat, text: &str) -> Vec<Arc<Question>> {
    let dataset = read_text(format, text, &RowFilter::default()).unwrap();
    assert_eq!(dataset.problems, []);
    dataset.questions.iter().collect()
}

/// Why the file cannot be used, or else its only row that cannot.
fn problem(format: DataFormat, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let message = match read_text_in(folder.path(), format, text, &RowFilter::default()) {
        Err(error) => error.to_string(),
        Ok(dataset) => {
            let [problem] = dataset.problems.as_slice() else { panic!("{:?}", dataset.problems) };
            problem.message.clone()
        }
    };
    message.replace(&folder.path().display().to_string(), "")
}

const AVQA: &str = r#"{"id": 183, "video_name": "-HG3_30", "video_id": 341, "question_text": "What is in the video?", "multi_choice": ["dog", "cat", "bird", "car"], "answer": 1, "question_relation": "View", "question_type": "Which", "dataset_name": "AVQA", "audio_path": "a.wav"}

{"id": 184, "question_text": "What color is heard?", "multi_choice": ["red", "blue"], "answer": 0, "question_relation": "Sound", "audio_path": "a.wav"}
{"id": 185, "question_text": "Which is first?", "multi_choice": ["beep", "buzz"], "answer": 0, "audio_path": "b.wav", "difficulty": "hard", "kind": "first", "steps": ["beep 1"], "reasoning": "It beeps."}
"#;

#[test]
fn avqa_rows_answer_by_index_and_ask_about_audio() {
    let rows = questions(DataFormat::Avqa, AVQA);
    assert_eq!(rows.len(), 3);
    let first = &rows[0];
    assert_eq!((first.id.as_str(), first.text.as_str()), ("183", "What is in the audio?"));
    assert_eq!((first.answer.as_str(), first.choices.len()), ("cat", 4));
    assert!(first.audio_path.ends_with("a.wav") && first.audio_path.is_absolute());
    assert_eq!((first.difficulty, &first.kind, &first.steps), (None, &None, &None));
    // Columns that the reader does not use become metadata; the others do not.
    assert_eq!(first.metadata["video_name"], "-HG3_30");
    assert!(!first.metadata.contains_key("multi_choice"));
    let last = &rows[2];
    assert_eq!((last.difficulty, last.kind.as_deref()), (Some(Difficulty::Hard), Some("first")));
    assert_eq!(last.steps.as_deref(), Some(&["beep 1".to_owned()][..]));
    assert_eq!(last.reasoning.as_deref(), Some("It beeps."));
}

#[test]
fn filters_exclude_rows_and_stop_at_the_limit() {
    let ids = |filter| -> Vec<String> {
        read_text(DataFormat::Avqa, AVQA, &filter)
            .unwrap()
            .questions
            .iter()
            .map(|question| question.id.clone())
            .collect()
    };
    assert_eq!(ids(RowFilter { drop_view: true, ..RowFilter::default() }), ["184", "185"]);
    assert_eq!(ids(RowFilter { drop_color: true, ..RowFilter::default() }), ["183", "185"]);
    assert_eq!(ids(RowFilter { limit: Some(1), ..RowFilter::default() }), ["183"]);
    // The limit counts selected rows, and later rows are not read.
    let broken_after = AVQA.to_owned() + "{";
    let filter = RowFilter { drop_view: true, limit: Some(2), ..RowFilter::default() };
    let dataset = read_text(DataFormat::Avqa, &broken_after, &filter).unwrap();
    assert_eq!((dataset.questions.len(), dataset.problems), (2, vec![]));
}

const MMAU: &str = r#"
[
  {
    "id": "3fe6", "audio_id": "./a.wav", "question": "Who speaks?",
    "choices": ["Man", "Woman", "Child"], "answer": "Man",
    "dataset": "AudioSet", "task": "sound", "split": "test-mini",
    "category": "Reasoning", "sub-category": "Acoustic Source Inference", "difficulty": "medium"
  },
  {
    "id": "72fb", "audio_id": "./a.wav", "question": "And now?",
    "choices": ["A child", "A woman"], "answer": " a Woman"
  }
]
"#;

#[test]
fn mmau_rows_answer_by_text() {
    let rows = questions(DataFormat::Mmau, MMAU);
    assert_eq!((rows[0].id.as_str(), rows[0].answer.as_str(), rows[0].choices.len()), ("3fe6", "Man", 3));
    assert_eq!((rows[0].difficulty, rows[0].kind.as_deref()), (Some(Difficulty::Medium), Some("sound")));
    assert_eq!(rows[0].metadata["sub-category"], "Acoustic Source Inference");
    assert_eq!(rows[1].answer, "A woman", "spelled like the choice");
}

#[test]
fn mmar_rows_may_have_a_chain_of_thought() {
    let rows = questions(
        DataFormat::Mmar,
        r#"{"id": "m1", "audio_path": "./a.wav", "question": "Who?", "choices": ["he", "she"], "answer": "she", "modality": "mix-speech", "thinking": "A high voice.", "timestamp": null}
{"id": "m2", "audio_path": "./a.wav", "question": "How many?", "choices": [1, 2], "answer": 2}"#,
    );
    assert_eq!(
        (rows[0].reasoning.as_deref(), rows[0].kind.as_deref()),
        (Some("A high voice."), Some("mix-speech"))
    );
    assert_eq!((rows[1].choices.as_slice(), rows[1].answer.as_str()), (&["1".into(), "2".into()][..], "2"));
}

#[test]
fn air_bench_rows_have_a_key_per_choice_and_a_folder_per_task() {
    let rows = questions(
        DataFormat::AirBench,
        r#"[{"path": "a.wav", "question": "What is it?", "choice_a": "dog", "choice_b": "cat", "choice_c": "bird", "choice_d": "", "answer_gt": "cat", "task_name": "Sound_AQA", "dataset_name": "clotho", "uniq_id": 17}]"#,
    );
    assert_eq!(rows[0].choices, ["dog", "cat", "bird"]);
    assert_eq!((rows[0].id.as_str(), rows[0].answer.as_str()), ("Sound_AQA_clotho_17", "cat"));
    assert!(rows[0].audio_path.ends_with("Sound_AQA_clotho/a.wav"));
    assert_eq!(
        (rows[0].kind.as_deref(), &rows[0].metadata["dataset_name"]),
        (Some("Sound_AQA"), &"clotho".into())
    );
}

#[test]
fn a_wrong_row_is_reported_with_what_to_write_instead() {
    let row = |change: (&str, &str)| AVQA.replacen(change.0, change.1, 1);
    for (change, expected) in [
        (
            (r#""answer": 1"#, r#""answer": 4"#),
            "/rows:1: `answer` is 4; write the index of a choice, from 0 to 3",
        ),
        (
            (r#""answer": 1"#, r#""answer": "cat""#),
            "/rows:1: `answer` is \"cat\"; write the index of a choice, from 0 to 3",
        ),
        (
            (r#""id": 184"#, r#""id": 183"#),
            "/rows:3: id `183` is also that of line 1; give each row an id of its own",
        ),
        ((r#""id": 184, "#, ""), "/rows:3: `id` is missing or empty; write \"id\": \"…\""),
        ((r#"["red", "blue"]"#, r#"["red"]"#), "/rows:3: `multi_choice` has 1 entries; write at least two"),
        (
            (r#"["red", "blue"]"#, r#""red""#),
            "/rows:3: `multi_choice` is \"red\"; write a list of texts such as [\"dog\", \"cat\"]",
        ),
        (("\"hard\"", "\"tough\""), "/rows:4: `difficulty` is \"tough\"; write easy, medium or hard"),
        (("\"kind\": \"first\"", "\"kind\": {}"), "/rows:4: `kind` is an object; write a text"),
    ] {
        assert_eq!(problem(DataFormat::Avqa, &row(change)), expected);
    }
}

#[test]
fn an_answer_that_is_no_choice_is_reported_with_the_first_line_of_its_row() {
    let text = MMAU.replace("\" a Woman\"", "\"nobody\"");
    assert_eq!(
        problem(DataFormat::Mmau, &text),
        "/rows:9: `answer` is \"nobody\"; write the text of one of the choices [\"A child\", \"A woman\"]"
    );
}

#[test]
fn text_that_is_not_json_is_reported_with_its_line() {
    let message = problem(DataFormat::Avqa, "{\"id\": 1,\n");
    assert!(message.starts_with("/rows:1: not a JSON object: EOF"), "{message}");
    let message =
        problem(DataFormat::Mmau, &MMAU.replace("\"choices\": [\"A child\"", "\"choices\" [\"A child\""));
    assert!(message.starts_with("/rows:11: not JSON: expected `:`"), "{message}");
    assert_eq!(problem(DataFormat::Avqa, "7"), "/rows:1: found 7; write an object such as {\"id\": …}");
    assert_eq!(problem(DataFormat::Mmau, "[7]"), "/rows:1: found 7; write an object such as {\"id\": …}");
}

#[test]
fn a_file_without_questions_or_without_its_audio_is_refused() {
    assert_eq!(
        problem(DataFormat::Avqa, " \n"),
        "/rows: it has no questions, or the filters exclude all of them; change [data]"
    );
    assert_eq!(
        problem(DataFormat::Avqa, &AVQA.replace("a.wav", "c.wav")),
        "/rows: the audio files of its rows are missing: there is no /c.wav; set audio_root to the folder that the paths are relative to"
    );
    let missing = read(DataFormat::Avqa, Path::new("/nowhere.jsonl"), Path::new(""), &RowFilter::default());
    let message = missing.unwrap_err().to_string();
    assert!(message.starts_with("/nowhere.jsonl: cannot be read: No such file"), "{message}");
}

// DATA-3
#[test]
fn a_row_that_cannot_be_used_is_listed_with_its_cause_and_the_others_are_read() {
    let good = |id: u32| {
        format!(
            r#"{{"id": {id}, "question_text": "Who?", "multi_choice": ["he", "she"], "answer": 0, "audio_path": "a.wav"}}"#
        )
    };
    let text = [
        good(1),
        good(2).replace("Who?", " ?! "),
        good(3).replace("\"she\"", "\" HE \""),
        good(4).replace("\"answer\": 0", "\"answer\": 2"),
        "{".to_owned(),
        good(1),
        good(7).replace("[\"he\", \"she\"]", "[\"he\"]"),
        good(8).replace("audio_path", "audio"),
        good(9).replace("\"he\"", "\"\""),
        good(10),
    ];
    let dataset = read_text(DataFormat::Avqa, &text.join("\n"), &RowFilter::default()).unwrap();
    let kept: Vec<String> = dataset.questions.iter().map(|question| question.id.clone()).collect();
    assert_eq!((kept.join(" ").as_str(), dataset.rows()), ("1 10", 10));
    assert_eq!(dataset.line_of(&dataset.questions.get(1).unwrap()), 10);
    let found: Vec<_> =
        dataset.problems.iter().map(|found| (found.line, found.id.as_deref(), found.cause)).collect();
    assert_eq!(
        found,
        [
            (2, Some("2"), RowCause::EmptyQuestion),
            (3, Some("3"), RowCause::RepeatedChoices),
            (4, Some("4"), RowCause::AnswerNotAChoice),
            (5, None, RowCause::NotJson),
            (6, Some("1"), RowCause::DuplicateId),
            (7, Some("7"), RowCause::TooFewChoices),
            (8, Some("8"), RowCause::BadColumn),
            (9, Some("9"), RowCause::AnswerNotAChoice),
        ]
    );
}

// DATA-3
#[test]
fn bytes_that_are_not_utf_8_cost_the_row_they_are_in() {
    let row = |id: &[u8]| {
        [br#"{"id": ""#, id, br#"", "question_text": "Who?", "multi_choice": ["he", "she"], "answer": 0, "audio_path": "a.wav"}"#].concat()
    };
    let (good, bad) = (row(b"good"), row(b"b\xffd"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.wav"), "").unwrap();
    let path = folder.path().join("rows");
    let lines = [bad.as_slice(), &good].join(&b"\n"[..]);
    let array = [b"[\n", bad.as_slice(), b",\n", &good, b"]"].concat();
    for (bytes, line) in [(lines, 1), (array, 2)] {
        fs::write(&path, bytes).unwrap();
        let dataset = read(DataFormat::Avqa, &path, folder.path(), &RowFilter::default()).unwrap();
        assert_eq!(dataset.questions.len(), 1);
        let [problem] = dataset.problems.as_slice() else { panic!("{:?}", dataset.problems) };
        assert_eq!((problem.line, problem.cause), (line, RowCause::NotUtf8));
    }
}

#[test]
fn a_file_of_which_no_row_can_be_used_lists_them_all() {
    let dataset = read_text(DataFormat::Avqa, "{\n{\n", &RowFilter::default()).unwrap();
    assert_eq!((dataset.questions.len(), dataset.problems.len()), (0, 2));
}

/// An AVQA row with this clip and further columns.
fn row_with(clip: &str, more: &str) -> String {
    format!(
        r#"{{"id": 1, "question_text": "Who?", "multi_choice": ["he", "she"], "answer": 0, "audio_path": {clip}{more}}}"#
    )
}

/// The clip's path of a row, without the folders of the data and of the cache; or why the row cannot be used.
fn clip_of(format: DataFormat, row: &str) -> Result<String, String> {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("a.wav"), "").unwrap();
    let path = folder.path().join("rows");
    // The second row has a clip that exists.
    let good = row_with("\"a.wav\"", "").replace("\"id\": 1", "\"id\": 2");
    let good = if format == DataFormat::Avqa { format!("\n{good}") } else { String::new() };
    fs::write(&path, format!("{row}{good}")).unwrap();
    let dataset = read_with_cache(format, &path, folder.path(), &RowFilter::default(), cache.path())
        .map_err(|error| error.to_string())?;
    let short = |text: &str| {
        let text = text.replace(&folder.path().display().to_string(), "ROOT");
        text.replace(&cache.path().display().to_string(), "CACHE")
    };
    match dataset.problems.first() {
        Some(problem) => Err(short(&problem.message)),
        None => Ok(short(&dataset.questions.first().unwrap().audio_path.display().to_string())),
    }
}

#[test]
fn the_column_with_the_clip_may_be_a_place_in_an_archive_or_a_url() {
    for (clip, expected) in [
        (r#""b.wav""#, "ROOT/b.wav"),
        (r#""../b.wav""#, "ROOT/../b.wav"),
        (r#""/data/b.wav""#, "/data/b.wav"),
        (r#""shard-0.tar!000017.flac""#, "ROOT/shard-0.tar!000017.flac"),
        (r#""x.parquet#audio=3""#, "ROOT/x.parquet#audio=3"),
        (r#""/data/x.parquet#audio=3""#, "/data/x.parquet#audio=3"),
        (r#""file:///data/a%20b.wav""#, "/data/a b.wav"),
        (r#""FILE://localhost/data/shard.tar!b.wav""#, "/data/shard.tar!b.wav"),
        (r#""file:/data/b.wav""#, "/data/b.wav"),
        (r#"{"path": "b.wav", "bytes": null}"#, "ROOT/b.wav"),
        (r#"{"path": "file:///b.wav"}"#, "/b.wav"),
        ("17", "ROOT/17"),
    ] {
        assert_eq!(clip_of(DataFormat::Avqa, &row_with(clip, "")).as_deref(), Ok(expected), "{clip}");
    }
}

#[test]
fn sound_in_a_row_is_kept_in_the_cache_under_its_hash() {
    // "abc" in base64, and its SHA-256 from FIPS 180-2.
    let expected = "CACHE/clips/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for clip in [
        r#"{"path": "b.wav", "bytes": "YWJj"}"#,
        r#"{"bytes": "YW\nJj"}"#,
        r#"{"bytes": "data:audio/wav;base64,YWJj"}"#,
        r#""data:audio/wav;base64,YWJj""#,
        r#""data:;base64,YWJj""#,
    ] {
        assert_eq!(clip_of(DataFormat::Avqa, &row_with(clip, "")).as_deref(), Ok(expected), "{clip}");
    }
    // The bytes fb ff: `+/8=` in one alphabet, `-_8` in the other.
    let kept = [r#"{"bytes": "+/8="}"#, r#"{"bytes": "-_8"}"#]
        .map(|clip| clip_of(DataFormat::Avqa, &row_with(clip, "")).unwrap());
    assert_eq!(kept[0], kept[1]);
    // The folder of AIR-Bench's task is put in front of paths only.
    let air = |clip: &str| {
        let row = r#"[{"path": CLIP, "question": "What?", "choice_a": "dog", "choice_b": "cat", "answer_gt": "cat", "task_name": "Sound", "dataset_name": "x", "uniq_id": 1}]"#;
        clip_of(DataFormat::AirBench, &row.replace("CLIP", clip))
    };
    let message = air(r#""s.tar!b.wav""#).unwrap_err();
    assert!(message.contains("there is no") && message.contains("/Sound_x/s.tar!b.wav"), "{message}");
    assert_eq!(air(r#"{"bytes": "YWJj"}"#).as_deref(), Ok(expected));
}

#[test]
fn a_url_is_the_file_that_it_is_downloaded_to_if_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    let url = "HTTPS://example.org/a%20b.wav?x=1";
    std::fs::write(&file, row_with(&format!("{url:?}"), "")).unwrap();
    let filter = RowFilter { fetch: true, ..RowFilter::default() };
    let cache = folder.path().join("cache");
    let dataset = read_with_cache(DataFormat::Avqa, &file, folder.path(), &filter, &cache).unwrap();
    let path = dataset.questions.first().unwrap().audio_path.clone();
    assert_eq!(path.parent(), Some(cache.join("fetched").as_path()));
    assert_eq!(dataset.url_of(&path), Some(url));
    assert_eq!(dataset.remote().collect::<Vec<_>>(), [(path.as_path(), url)]);
    assert!(!cache.exists(), "reading rows fetches nothing");
}

#[test]
fn a_clip_that_cannot_be_used_is_refused_with_its_line_and_column() {
    for (clip, expected) in [
        (
            r#""https://example.org/a.wav""#,
            "`audio_path` is a URL (https); set data.fetch = true, which downloads such clips, or fetch the clip first and write its path",
        ),
        (
            r#"{"path": "s3://bucket/a.wav"}"#,
            "`audio_path.path` is a URL (s3); fetch the clip first and write its path: nothing is fetched from the net",
        ),
        (
            r#""file://server/a.wav""#,
            "`audio_path` is a file URL of the host `server`; write file:/// and the path on this machine",
        ),
        (
            r#"{"bytes": "YW*j"}"#,
            "`audio_path.bytes` is not base64: invalid symbol 42, offset 2.; write the bytes of the audio file as base64",
        ),
        (r#"{"bytes": [82, 73]}"#, "`audio_path.bytes` is a list; write the bytes of the file as base64"),
        (r#"{"bytes": " "}"#, "`audio_path.bytes` is empty; write the bytes of the audio file as base64"),
        (
            r#""data:audio/wav,abc""#,
            "`audio_path` is a data URL without base64; write data:audio/wav;base64,…",
        ),
        (
            r#"{"path": "a.wav", "array": [0.0, 0.1], "sampling_rate": 16000}"#,
            "`audio_path` holds decoded samples (`array`); write the file's path, or its bytes as base64, without `array`",
        ),
        ("{}", "`audio_path` has neither `bytes` nor `path`; write the path of its file"),
        ("[1]", "`audio_path` is a list; write the path of its file"),
        ("null", "`audio_path` is missing or empty; write \"audio_path\": \"…\""),
    ] {
        let found = clip_of(DataFormat::Avqa, &row_with(clip, ""));
        assert_eq!(found, Err(format!("ROOT/rows:1: {expected}")), "{clip}");
    }
}

#[test]
fn a_clip_in_an_archive_that_exists_shows_that_the_root_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    fs::write(&path, row_with("\"s.tar!a.wav\"", "")).unwrap();
    let read = || read(DataFormat::Avqa, &path, folder.path(), &RowFilter::default());
    assert!(read().unwrap_err().to_string().contains("the audio files of its rows are missing"));
    fs::write(folder.path().join("s.tar"), "").unwrap();
    assert_eq!(read().unwrap().questions.len(), 1);
}

#[test]
fn a_row_may_be_about_a_part_of_its_clip() {
    let part = |more: &str| {
        let rows = questions(DataFormat::Avqa, &row_with("\"a.wav\"", more));
        assert_eq!(rows[0].metadata.keys().collect::<Vec<_>>(), Vec::<&String>::new());
        (rows[0].start, rows[0].end)
    };
    assert_eq!(part(""), (None, None));
    assert_eq!(part(r#", "start": 1.5, "end": 4"#), (Some(1.5), Some(4.0)));
    assert_eq!(part(r#", "start_seconds": "30.000", "end_seconds": "40.000""#), (Some(30.0), Some(40.0)));
    assert_eq!(part(r#", "start": null, "end": 2"#), (None, Some(2.0)));
    assert_eq!(part(r#", "start": 0, "start_seconds": 0.0"#), (Some(0.0), None));
    for format in [DataFormat::Mmau, DataFormat::Mmar, DataFormat::AirBench] {
        let row = r#"{"id": 1, "uniq_id": 1, "question": "Who?", "choices": ["he", "she"], "choice_a": "he", "choice_b": "she", "answer": "he", "answer_gt": "he", "task_name": "Sound_AQA", "dataset_name": "clotho", "path": "a.wav", "audio_path": "a.wav", "audio_id": "a.wav", "end": 2}"#;
        assert_eq!(questions(format, row)[0].end, Some(2.0), "{format:?}");
    }
}

#[test]
fn a_part_that_is_none_is_refused_with_its_line() {
    let seconds = "write seconds from the beginning of the clip";
    for (more, expected) in [
        (r#", "start": -1"#, format!("`start` is -1; {seconds}, such as 2.5")),
        (r#", "end": "NaN""#, format!("`end` is \"NaN\"; {seconds}, such as 2.5")),
        (r#", "start_seconds": "00:12""#, format!("`start_seconds` is \"00:12\"; {seconds}, such as 2.5")),
        (r#", "start": [1]"#, format!("`start` is a list; {seconds}, such as 2.5")),
        (r#", "start": 2, "end": 2.0"#, format!("`end` is 2, which is not after `start`, 2; {seconds}")),
        (r#", "end_seconds": 0"#, format!("`end_seconds` is 0, which is not after the beginning; {seconds}")),
        (
            r#", "start": 1, "start_seconds": 2"#,
            "`start` and `start_seconds` differ; write one of them".to_owned(),
        ),
    ] {
        let message = problem(DataFormat::Avqa, &row_with("\"a.wav\"", more));
        assert_eq!(message, format!("/rows:1: {expected}"), "{more}");
    }
}

#[test]
fn air_bench_choices_keep_the_letters_of_the_file() {
    let row = |more: &str| {
        let row = r#"[{"path": "a.wav", "question": "When?", "choice_a": "0-1", "choice_b": "1-2", MORE "answer_gt": "1-2", "task_name": "Sound_AQA", "dataset_name": "clotho", "uniq_id": 1}]"#;
        let question = questions(DataFormat::AirBench, &row.replace("MORE", more)).remove(0);
        (question.choices.clone(), question.letters.clone(), question.letter(2))
    };
    let gap = row(r#""choice_c": "", "choice_d": "3-4","#);
    assert_eq!(gap, (vec!["0-1".into(), "1-2".into(), "3-4".into()], "ABD".into(), Some('D')));
    let null = row(r#""choice_c": null, "choice_d": null,"#);
    assert_eq!((null.0.len(), null.1.as_str()), (2, ""));
    assert_eq!(row(r#""choice_c": null, "choice_d": "3-4","#).1, "ABD");
    assert_eq!(row(r#""choice_c": "2-3", "choice_d": "3-4","#).1, "");
}

#[test]
fn audio_grounding_clips_may_be_flac_although_the_file_says_wav() {
    let folder = tempfile::tempdir().unwrap();
    let clips = |task: &str, files: &[&str]| {
        let clips = folder.path().join(format!("{task}_x"));
        fs::create_dir_all(&clips).unwrap();
        for file in files {
            fs::write(clips.join(file), "").unwrap();
        }
        let row = format!(
            r#"[{{"path": "g.wav", "question": "When?", "choice_a": "0-1", "choice_b": "1-2", "answer_gt": "1-2", "task_name": "{task}", "dataset_name": "x", "uniq_id": 1}}]"#
        );
        let dataset = read_text_in(folder.path(), DataFormat::AirBench, &row, &RowFilter::default());
        dataset.map(|dataset| dataset.questions.at(0).audio_path.file_name().unwrap().to_owned())
    };
    assert_eq!(clips("Audio_Grounding", &["g.flac"]).unwrap(), "g.flac");
    // The path that is given comes first.
    assert_eq!(clips("Audio_Grounding", &["g.wav"]).unwrap(), "g.wav");
    // No other task of the archive has such clips.
    assert!(clips("Sound_AQA", &["g.flac"]).is_err());
}

#[test]
fn mmsu_rows_have_a_key_per_choice_and_ids_of_their_own() {
    let rows = questions(
        DataFormat::Mmsu,
        r#"[{"id": "stress_1", "audio_path": "a.wav", "question": "Which word?", "choice_a": "I", "choice_b": "you", "choice_c": "", "choice_d": "we", "answer_gt": "we", "task_name": "stress", "category": "Perception", "sub-category": "Linguistics", "sub-sub-category": "Phonology", "linguistics_sub_discipline": "Prosody"}]"#,
    );
    let row = &rows[0];
    assert_eq!((row.id.as_str(), row.answer.as_str(), row.letters.as_str()), ("stress_1", "we", "ABD"));
    assert_eq!((row.kind.as_deref(), &row.metadata["category"]), (Some("stress"), &"Perception".into()));
    assert_eq!(row.official, OfficialRule::MmsuLetter);
    assert_eq!((row.official.score("D", row), row.official.score("C", row)), (Some(true), Some(false)));
}

#[test]
fn mmau_pro_questions_with_choices_about_one_clip_are_read_and_the_others_named() {
    let row = |change: (&str, &str)| {
        r#"{"id": 7, "audio_path": ["a.wav"], "question": "What?", "choices": ["dog", "cat"], "answer": "cat", "category": "sound", "perceptual_skills": ["x"]}"#
            .replace(change.0, change.1)
    };
    let question = questions(DataFormat::MmauPro, &row(("", ""))).remove(0);
    assert_eq!((question.id.as_str(), question.answer.as_str()), ("7", "cat"));
    assert_eq!((question.kind.as_deref(), question.official), (Some("sound"), OfficialRule::ChoiceEmbedding));
    assert_eq!(questions(DataFormat::MmauPro, &row((r#"["a.wav"]"#, r#""a.wav""#))).len(), 1);
    for (change, expected) in [
        (
            (r#""category": "sound""#, r#""category": "open""#),
            "/rows:1: `category` is \"open\", and such rows have no choices; leave them out",
        ),
        (
            (r#"["a.wav"]"#, r#"["a.wav", "b.wav"]"#),
            "/rows:1: `audio_path` names 2 clips; leave out rows that are not about one clip",
        ),
        (
            (r#"["a.wav"]"#, "[]"),
            "/rows:1: `audio_path` names 0 clips; leave out rows that are not about one clip",
        ),
        ((r#"["dog", "cat"]"#, "null"), "/rows:1: `choices` is missing; write a list of texts"),
    ] {
        assert_eq!(problem(DataFormat::MmauPro, &row(change)), expected);
    }
}

#[test]
fn a_row_of_mmaus_test_split_is_named_as_one_without_its_answer() {
    for answer in ["", r#""answer": null, "#, r#""answer": "", "#] {
        let row = format!(
            r#"[{{"id": "1", "audio_id": "./a.wav", "question": "Who?", "choices": ["he", "she"], {answer}"split": "test"}}]"#
        );
        assert_eq!(
            problem(DataFormat::Mmau, &row),
            "/rows:1: `answer` is withheld, as in all rows of MMAU's split `test`; use `mmau-test-mini.json`, which has answers"
        );
    }
}

#[test]
fn the_rubrics_of_mmar_stay_with_the_question() {
    let rows = questions(
        DataFormat::Mmar,
        r#"{"id": "m1", "audio_path": "a.wav", "question": "Who?", "choices": ["he", "she"], "answer": "she", "cue": ["a high voice"], "rubric": [{"name": "Cue", "scoring_point": "It is named.", "note": "", "choices": [0, 1]}]}"#,
    );
    assert_eq!(rows[0].metadata["rubric"][0]["choices"][1], 1);
    assert_eq!(rows[0].metadata["cue"][0], "a high voice");
}

#[test]
fn all_formats_are_listed() {
    let schema = serde_json::to_value(schemars::schema_for!(DataFormat)).unwrap();
    let named =
        schema["oneOf"].as_array().unwrap().iter().map(|one| one["const"].as_str().unwrap().to_owned());
    assert_eq!(DataFormat::ALL.map(|format| format.name().to_owned()).to_vec(), named.collect::<Vec<_>>());
}
mod own;
