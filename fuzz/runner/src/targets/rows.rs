//! Data files, in every format.

use scenarios::{DataFormat, DataSource, FileSource, RowFilter, Split, Worlds, open_dataset_filtered};

use super::Target;
use crate::scratch;

pub const TARGET: Target = Target {
    name: "data-rows",
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\n",
        "\"id\"",
        "\"question\"",
        "\"question_text\"",
        "\"choices\"",
        "\"multi_choice\"",
        "\"answer\"",
        "\"audio_path\"",
        "\"video_name\"",
        "\"choice_a\"",
        "\"choice_d\"",
        "\"answer_gt\"",
        "\"path\"",
        "\"question_relation\"",
        "\"View\"",
        "\"difficulty\"",
        "null",
        "true",
        "-1",
        "1e400",
        "18446744073709551616",
        "../",
        "/etc/passwd",
        "\\u0000",
        "[[[[[[[[",
    ],
    longest: 16 * 1024,
    run,
};

fn run(input: &[u8]) {
    // The first byte chooses the format, so that a seed keeps its own.
    let (first, content) = input.split_first().unwrap_or((&0, &[]));
    let format = match first % 6 {
        0 => DataFormat::Avqa,
        1 => DataFormat::Mmau,
        2 => DataFormat::Mmar,
        3 => DataFormat::AirBench,
        4 => DataFormat::Mmsu,
        _ => DataFormat::MmauPro,
    };
    // A file is refused as a whole if none of its first clips exists.
    if !scratch::folder().join("a.wav").exists() {
        scratch::file("a.wav", b"");
    }
    let path = scratch::file("rows.jsonl", content);
    let source = FileSource::new(format, path.clone());
    let filter = RowFilter { limit: Some(50), drop_view: true, drop_color: true, fetch: true };
    let read = open_dataset_filtered(&DataSource::File(source), &Worlds::default(), Split::Train, &filter);
    match read {
        Ok(rows) => assert!(rows.questions.len() <= 50),
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("rows.jsonl"), "a message names the file: {message}");
        }
    }
}
