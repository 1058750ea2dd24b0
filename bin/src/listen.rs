//! `sandbox listen`: what a model hears of files, as text or JSON, as WAV files and as a picture.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use audio::{
    FeatureConfig, FeatureExtractor, Heard, HeardRecord, Hearing, LONGEST_WINDOW, MOST_WINDOWS,
    listen as hear, samples_in,
};

use crate::{
    cli::ListenOptions,
    failure::Failure,
    streams::{errln, outln},
};

/// Hears every file, also after one that can't be heard.
pub fn listen(options: &ListenOptions) -> Result<(), Failure> {
    let features = features(options)?;
    let window = window(options, &features)?;
    let hearing = hearing(options, window);
    check_outputs(options)?;
    let mut failed = 0;
    for (number, file) in options.files.iter().enumerate() {
        let mut outcome = hear(file, &hearing);
        if let (Ok(heard), true) = (&mut outcome, options.windows) {
            heard.window = Some(window);
        }
        let wav = match &outcome {
            Ok(heard) => write(options, &features, heard, number)?,
            Err(_) => None,
        };
        failed += usize::from(outcome.is_err());
        if options.json {
            let record = HeardRecord::of(&outcome, wav.as_deref());
            outln!("{}", serde_json::to_string(&record).map_err(Failure::running)?);
            continue;
        }
        match &outcome {
            Ok(heard) => outln!("{heard}"),
            Err(error) => errln!("error: {error}"),
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Running(format!("{failed} of {} files cannot be heard", options.files.len()))),
    }
}

/// The dimensions of the policy's features, or those of Whisper large-v3 and Qwen2-Audio.
fn features(options: &ListenOptions) -> Result<FeatureConfig, Failure> {
    let Some(policy) = &options.policy else { return Ok(FeatureConfig::default()) };
    let dir = policy.folder()?;
    Ok(FeatureExtractor::open(&dir).map_err(Failure::input)?.config().clone())
}

/// Number of samples in a window.
fn window(options: &ListenOptions, features: &FeatureConfig) -> Result<usize, Failure> {
    if !(0.0..f64::INFINITY).contains(&options.start) {
        return Err(Failure::Input(format!("--start is {}; write seconds, 0 or more", options.start)));
    }
    let seconds = options.seconds.unwrap_or(features.chunk_length_seconds as f64);
    // The shortest window is one sample.
    if !(0.0..=LONGEST_WINDOW as f64).contains(&seconds) || samples_in(seconds) == 0 {
        return Err(Failure::Input(format!(
            "--seconds is {seconds}; write more than 0 and at most {LONGEST_WINDOW}"
        )));
    }
    Ok(samples_in(seconds))
}

fn hearing(options: &ListenOptions, window: usize) -> Hearing {
    let windows = if options.windows { MOST_WINDOWS } else { 1 };
    let samples = (!options.whole).then(|| window * windows);
    Hearing { downmix: options.downmix, start: options.start, samples, ..Hearing::default() }
}

/// Refuses outputs that several files would share, or that would replace one of the files that are heard.
fn check_outputs(options: &ListenOptions) -> Result<(), Failure> {
    let count = options.files.len();
    let shared = [
        ("--wav", &options.wav, "; --wav-dir DIR writes what is heard of each"),
        ("--png", &options.png, "; name one at a time"),
    ];
    for (name, output, remedy) in shared {
        if output.is_some() && count > 1 {
            return Err(Failure::Input(format!("{name} is for one file, and {count} are named{remedy}")));
        }
    }
    let in_dir = options.wav_dir.iter().flat_map(|dir| (0..count).map(|number| numbered(dir, number)));
    for output in options.wav.iter().chain(&options.png).cloned().chain(in_dir) {
        let Ok(there) = std::fs::metadata(&output) else { continue };
        let is_heard = |file: &&PathBuf| {
            std::fs::metadata(file).is_ok_and(|file| (file.dev(), file.ino()) == (there.dev(), there.ino()))
        };
        if options.files.iter().any(|file| is_heard(&file)) {
            return Err(Failure::Input(format!(
                "{}: would be replaced, and is one of the files to hear; write elsewhere",
                output.display()
            )));
        }
    }
    Ok(())
}

/// The file in `--wav-dir` of the file with this number.
fn numbered(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number:04}.wav"))
}

/// Writes what the options ask for; returns where the samples are.
fn write(
    options: &ListenOptions,
    features: &FeatureConfig,
    heard: &Heard,
    number: usize,
) -> Result<Option<PathBuf>, Failure> {
    let unwritable =
        |path: &Path, error| Failure::Running(format!("{}: cannot be written: {error}", path.display()));
    if let Some(path) = &options.png {
        let features = heard.features(features).map_err(Failure::running)?;
        std::fs::write(path, audio::png(&features)).map_err(|error| unwritable(path, error))?;
    }
    let wav = match &options.wav_dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| unwritable(dir, error))?;
            Some(numbered(dir, number))
        }
        None => options.wav.clone(),
    };
    if let Some(path) = &wav {
        heard.write_wav(path).map_err(|error| unwritable(path, error))?;
    }
    Ok(wav)
}
