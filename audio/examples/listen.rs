//! What a model hears of files, as JSON lines: `sandbox listen --json` without libtorch.
//!
//! `cargo run --release -p audio --example listen -- FILE… [--start S] [--seconds S] [--whole] [--downmix MIX] [--wav-dir DIR]`.
//! Without `--seconds` and `--whole` it hears 30 s. Exit codes: 0 all were heard, 1 some were not, 2 wrong usage.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use audio::{Downmix, Heard, HeardRecord, Hearing, listen, samples_in};

struct Options {
    files: Vec<PathBuf>,
    hearing: Hearing,
    wav_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for (number, file) in options.files.iter().enumerate() {
        let heard = listen(file, &options.hearing);
        failed |= heard.is_err();
        let wav = match (&heard, &options.wav_dir) {
            (Ok(heard), Some(dir)) => match write(heard, dir, number) {
                Ok(path) => Some(path),
                Err(error) => {
                    eprintln!("error: {}: {error}", dir.display());
                    return ExitCode::FAILURE;
                }
            },
            _ => None,
        };
        match serde_json::to_string(&HeardRecord::of(&heard, wav.as_deref())) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("error: {error}"),
        }
    }
    ExitCode::from(u8::from(failed))
}

fn write(heard: &Heard, dir: &Path, number: usize) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{number:04}.wav"));
    heard.write_wav(&path).map(|()| path)
}

fn options() -> Result<Options, Box<dyn std::error::Error>> {
    let mut options = Options {
        files: Vec::new(),
        hearing: Hearing { downmix: Downmix::First, samples: Some(samples_in(30.0)), ..Hearing::default() },
        wav_dir: None,
    };
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            // As in `sandbox listen --json`.
            "listen" | "--json" => {}
            "--whole" => options.hearing.samples = None,
            "--start" => options.hearing.start = value()?.to_string_lossy().parse()?,
            "--seconds" => options.hearing.samples = Some(samples_in(value()?.to_string_lossy().parse()?)),
            "--downmix" => options.hearing.downmix = value()?.to_string_lossy().parse()?,
            "--wav-dir" => options.wav_dir = Some(value()?.into()),
            other if other.starts_with("--") => return Err(format!("there is no option {other}").into()),
            _ => options.files.push(argument.into()),
        }
    }
    if options.files.is_empty() {
        return Err("name at least one file".into());
    }
    Ok(options)
}
