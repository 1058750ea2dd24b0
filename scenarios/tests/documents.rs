//! The examples in the documents, read by the code that they describe.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::path::{Path, PathBuf};

use scenarios::{DataFormat, DataSource, FileSource, JudgeSet, Split, Worlds, open_dataset, open_judge_set};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The code blocks of a document in one language, each with the heading above it.
fn blocks(document: &str, language: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let (mut heading, mut open) = (String::new(), None::<(bool, String)>);
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some((found == language, String::new())),
            (Some((wanted, text)), Some(_)) => {
                if *wanted {
                    blocks.push((heading.clone(), text.clone()));
                }
                open = None;
            }
            (Some((_, text)), None) => text.extend([line, "\n"]),
            (None, None) if line.starts_with('#') => heading = line.trim_start_matches(['#', ' ']).to_owned(),
            (None, None) => {}
        }
    }
    blocks
}

/// Reads rows as a data file beside clips of the names that they give, which are empty files.
fn read_rows(format: DataFormat, text: &str, clips: &[&str]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    for clip in clips {
        let clip = folder.path().join(clip);
        fs::create_dir_all(clip.parent().unwrap()).unwrap();
        fs::write(clip, "").unwrap();
    }
    let path = folder.path().join("rows");
    fs::write(&path, text).unwrap();
    let source = DataSource::File(FileSource::new(format, path));
    let dataset = open_dataset(&source, &Worlds::default(), Split::Train).unwrap();
    assert_eq!(dataset.problems, []);
    let questions = dataset.questions;
    let found = |clip: &&str| questions.iter().any(|question| question.audio_path.ends_with(clip));
    assert!(clips.iter().all(found), "{questions:?}");
    questions.len()
}

#[test]
fn the_rows_in_the_data_document_are_read() {
    let document = fs::read_to_string(repository().join("docs/data.md")).unwrap();
    let blocks = blocks(&document, "json");
    for (heading, text) in &blocks {
        let read = match heading.as_str() {
            "`avqa`" => read_rows(DataFormat::Avqa, text, &["-HG3Omg_89c_30.wav", "dog.wav"]),
            "`mmau`" => {
                let clip = "test-mini-audios/3fe64f3d-282c-4bc8-a753-68f8f6c35652.wav";
                read_rows(DataFormat::Mmau, text, &[clip])
            }
            "`mmau-pro`" => read_rows(DataFormat::MmauPro, text, &["data/example-1.wav"]),
            "`mmsu`" => read_rows(DataFormat::Mmsu, text, &["audio/example_1.wav"]),
            "`mmar`" => read_rows(DataFormat::Mmar, text, &["audio/example-1.wav"]),
            "`air-bench`" => read_rows(DataFormat::AirBench, text, &["Sound_AQA_clothoaqa/rain_01.wav"]),
            "`audio-mcq`" => read_rows(DataFormat::AudioMcq, text, &["AudioCaps/sample_0.wav"]),
            "`table`" => read_rows(DataFormat::Table, text, &["clips/a.wav", "clips/b.wav"]),
            "`chat`" => read_rows(DataFormat::Chat, text, &["clips/a.wav", "clips/b.wav"]),
            "`builtin:soundscapes`" => read_rows(DataFormat::Avqa, text, &["audio/train-00000.flac"]),
            "Judge sets" => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("set.jsonl");
                fs::write(&path, text).unwrap();
                open_judge_set(&JudgeSet::File(path)).unwrap().len()
            }
            other => panic!("there are rows under the heading {other}"),
        };
        assert_eq!(read, 2, "{heading}");
    }
    assert_eq!(blocks.len(), 11);
}

#[test]
fn the_scenarios_in_the_documents_are_read() {
    let mut read = 0;
    for name in [
        "README.md",
        "docs/ablation.md",
        "docs/commands.md",
        "docs/control.md",
        "docs/data.md",
        "docs/plugins.md",
        "docs/rewards.md",
    ] {
        let document = fs::read_to_string(repository().join(name)).unwrap();
        for (heading, text) in blocks(&document, "toml") {
            let file = format!("{name}, {heading}");
            match scenarios::scenario::parse(&text, Path::new(&file), &[], &[], None) {
                Ok(_) => read += 1,
                // A part of a scenario that shows rewards alone.
                Err(error) => assert!(error.to_string().contains("has no formula"), "{error}"),
            }
        }
    }
    assert!(read >= 8, "{read}");
}
