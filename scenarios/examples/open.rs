//! Opens a data file and says how long it took and how much memory: `open FORMAT FILE`.
//!
//! With `open make FILE ROWS` it writes a file of that many rows to open, and with `open world NAME` it generates a built-in
//! world with its default settings.

use std::io::{BufWriter, Write};
use std::time::Instant;

use scenarios::{DataFormat, DataSource, FileSource, Split, World, Worlds, open_dataset};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["make", file, rows] => {
            make(file, rows.parse().expect("a number of rows")).expect("the file is written")
        }
        ["world", name] => {
            let started = Instant::now();
            let world = World::from_name(name).expect("the name of a world");
            let folder = Worlds::default().prepare(world).expect("a world");
            println!("{}: {:.1} s", folder.display(), started.elapsed().as_secs_f64());
        }
        [format, file] => {
            let format: DataFormat = serde_json::from_value((*format).into()).expect("a format");
            let source = DataSource::File(FileSource::new(format, *file));
            let started = Instant::now();
            let dataset = open_dataset(&source, &Worlds::default(), Split::Train).expect("a data set");
            println!(
                "{} rows, {} usable, {:.1} s",
                dataset.rows(),
                dataset.questions.len(),
                started.elapsed().as_secs_f64()
            );
            let started = Instant::now();
            let words: usize = dataset.questions.iter().map(|question| question.text.len()).sum();
            println!("all questions once: {:.1} s, {words} bytes", started.elapsed().as_secs_f64());
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
        }
        _ => eprintln!("open FORMAT FILE, open make FILE ROWS, or open world NAME"),
    }
}

/// Writes rows with the columns of MMAR and three of metadata, beside one clip.
fn make(file: &str, rows: usize) -> std::io::Result<()> {
    std::fs::write(std::path::Path::new(file).with_file_name("clip-0.wav"), "")?;
    let mut out = BufWriter::new(std::fs::File::create(file)?);
    for row in 0..rows {
        writeln!(
            out,
            r#"{{"id": "row-{row:07}", "audio_path": "clip-{row}.wav", "question": "Which of these sounds is heard in part {row} of the recording?", "choices": ["dog barking", "car passing by", "rain on a roof", "people talking"], "answer": "rain on a roof", "modality": "sound", "source": "audioset", "split": "train"}}"#
        )?;
    }
    out.flush()
}
