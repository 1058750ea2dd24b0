//! The word bank: each word of each voice, synthesized once by the program espeak-ng, in the cache folder.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::config::Known;
use crate::error::ScenarioError;
use crate::world::files::{failed_to_write, in_parallel};
use crate::world::sound;

/// Has to be increased with every change of the files of the bank.
const BANK_VERSION: u32 = 1;

const PROGRAM: &str = "espeak-ng";

/// Longest time that espeak-ng may take for a word; it takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest word, in seconds.
const LONGEST: f64 = 2.0;

/// A voice of espeak-ng, its speed in words per minute, and its pitch from 0 to 99.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) name: &'static str,
    speed: u32,
    pitch: u32,
}

const fn voice(name: &'static str, speed: u32, pitch: u32) -> Voice {
    Voice { name, speed, pitch }
}

/// The voices of training clips.
const TRAINED: [Voice; 6] = [
    voice("en-us", 160, 50),
    voice("en-us+f2", 150, 55),
    voice("en+m3", 170, 40),
    voice("en-us+f4", 180, 60),
    voice("en-gb-x-rp+f5", 145, 45),
    voice("en-us+m7", 155, 35),
];

/// The voices that are held out.
const HELD_OUT: [Voice; 2] = [voice("en-gb-scotland+m1", 165, 45), voice("en-us+f3", 160, 65)];

/// The voices of a part.
pub(super) fn voices(known: Known) -> &'static [Voice] {
    match known {
        Known::Trained => &TRAINED,
        Known::Heldout => &HELD_OUT,
    }
}

/// A word bank in the cache folder.
pub(super) struct Bank {
    folder: PathBuf,
    program: PathBuf,
}

impl Bank {
    /// The bank of the installed espeak-ng. Another version of it may speak otherwise, so that it has another folder.
    ///
    /// Errors: the program is missing or fails.
    pub(super) fn open(cache: &Path) -> Result<Self, ScenarioError> {
        Self::of_program(cache, Path::new(PROGRAM))
    }

    fn of_program(cache: &Path, program: &Path) -> Result<Self, ScenarioError> {
        let said = run(program, &["--version"])?;
        // `eSpeak NG text-to-speech: 1.51  Data at: …`
        let said = String::from_utf8_lossy(&said);
        let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let named = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let version: String = version.unwrap_or("unknown").chars().filter(|c| named(*c)).collect();
        let folder = cache.join("spoken").join(format!("words-{BANK_VERSION}-espeak-ng-{version}"));
        Ok(Self { folder, program: program.to_owned() })
    }

    /// Synthesizes those of the words that the bank does not have yet, with a thread per core.
    ///
    /// Errors: espeak-ng fails, or the cache cannot be written.
    pub(super) fn add(&self, words: &[(&Voice, &str)]) -> Result<(), ScenarioError> {
        let missing: Vec<_> =
            words.iter().filter(|(voice, word)| !self.path(voice, word).is_file()).collect();
        for (voice, _) in &missing {
            let folder = self.folder.join(voice.name);
            std::fs::create_dir_all(&folder).map_err(|error| failed_to_write(&folder, error))?;
        }
        in_parallel(missing.len(), |number| {
            let (voice, word) = missing[number];
            let samples = self.synthesize(voice, word)?;
            let path = self.path(voice, word);
            let write = || -> std::io::Result<()> {
                // Another process may write the same word.
                let folder = path.parent().unwrap_or(&self.folder);
                let mut file = tempfile::Builder::new().prefix("unfinished-").tempfile_in(folder)?;
                file.write_all(&audio::wav_16_bit(&samples))?;
                file.persist(&path)?;
                Ok(())
            };
            write().map_err(|error| failed_to_write(&path, error))
        })
    }

    /// The samples of a word: f32, mono, @ 16 kHz.
    ///
    /// Errors: the file of the word cannot be read.
    pub(super) fn word(&self, voice: &Voice, word: &str) -> Result<Vec<f32>, ScenarioError> {
        let path = self.path(voice, word);
        let clip = audio::load(&path, &audio::Hearing::default()).map_err(|error| ScenarioError::File {
            path: path.clone(),
            problem: format!("cannot be read: {error}"),
            instead: "remove the file, so that the word is made again".into(),
        })?;
        Ok(clip.samples)
    }

    fn path(&self, voice: &Voice, word: &str) -> PathBuf {
        self.folder.join(voice.name).join(word).with_extension("wav")
    }

    fn synthesize(&self, voice: &Voice, word: &str) -> Result<Vec<f32>, ScenarioError> {
        let (speed, pitch) = (voice.speed.to_string(), voice.pitch.to_string());
        let arguments = ["-v", voice.name, "-s", &speed, "-p", &pitch, "--stdout", "--", word];
        let wav = run(&self.program, &arguments)?;
        let silent = |problem: String| {
            ScenarioError::value(
                format!("espeak-ng did not speak \"{word}\" with the voice {}: {problem}", voice.name),
                "install the Debian packages espeak-ng and espeak-ng-data anew",
            )
        };
        let clip = audio::load_bytes(Path::new("word.wav"), stated_length(wav), &audio::Hearing::default())
            .map_err(|error| silent(error.to_string()))?;
        let samples = sound::normalized(&clip.samples, LONGEST);
        if samples.is_empty() { Err(silent("it is silent".into())) } else { Ok(samples) }
    }
}

/// A WAV file from a pipe with its length, which espeak-ng does not know when it writes the header of 44 bytes.
fn stated_length(mut wav: Vec<u8>) -> Vec<u8> {
    if wav.len() > 44 && wav.starts_with(b"RIFF") && &wav[36..40] == b"data" {
        let length = u32::try_from(wav.len() - 44).unwrap_or(u32::MAX - 36);
        wav[4..8].copy_from_slice(&(length + 36).to_le_bytes());
        wav[40..44].copy_from_slice(&length.to_le_bytes());
    }
    wav
}

/// What espeak-ng prints, without a shell.
fn run(program: &Path, arguments: &[&str]) -> Result<Vec<u8>, ScenarioError> {
    const INSTALL: &str = "install it (the Debian package is espeak-ng: apt-get install espeak-ng)";
    let failed = |problem: String| {
        ScenarioError::value(format!("builtin:spoken needs the program espeak-ng, {problem}"), INSTALL)
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => failed("which is not on the PATH".into()),
            _ => failed(format!("which cannot be started: {error}")),
        })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let out = scope.spawn(|| all_of(stdout));
        let errors = scope.spawn(|| all_of(stderr));
        let start = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
                _ => break None,
            }
        };
        let Some(status) = status else {
            // It has ended already, or ends now.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(format!("which did not end within {} s", PATIENCE.as_secs())));
        };
        let said = String::from_utf8_lossy(&errors.join().unwrap_or_default()).trim().replace('\n', " ");
        if status.success() {
            return Ok(out.join().unwrap_or_default());
        }
        Err(failed(format!("which failed with {arguments:?}: {said}")))
    })
}

fn all_of(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before an error is judged by its content.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_program_one_message_names_its_package() {
        let cache = tempfile::tempdir().unwrap();
        let error = Bank::of_program(cache.path(), Path::new("/nowhere/espeak-ng")).err().unwrap();
        assert_eq!(
            error.to_string(),
            "builtin:spoken needs the program espeak-ng, which is not on the PATH; install it (the Debian package is \
             espeak-ng: apt-get install espeak-ng)"
        );
        // A program that is another one: it ends with 1 and says nothing.
        let error = Bank::of_program(cache.path(), Path::new("false")).err().unwrap().to_string();
        assert!(error.contains("which failed with [\"--version\"]"), "{error}");
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_length_of_a_piped_file_is_written_into_its_header() {
        let samples = [0.5_f32; 100];
        let whole = audio::wav_16_bit(&samples);
        let mut piped = whole.clone();
        piped[4..8].copy_from_slice(&0x7fff_ff00_u32.to_le_bytes());
        piped[40..44].copy_from_slice(&0x7fff_f000_u32.to_le_bytes());
        assert!(stated_length(piped) == whole);
        assert_eq!(stated_length(b"RIFF".to_vec()), b"RIFF");
    }
}
