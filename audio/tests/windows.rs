//! Which part of a file is heard, and that the memory and time for it do not depend on the file's length (`AUDIO-4`).

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use audio::{Hearing, Problem, SAMPLE_RATE, load};

/// The header of a WAV file of 16-bit mono samples.
fn header(rate: u32, samples: u32) -> Vec<u8> {
    let length = samples * 2;
    let mut bytes = Vec::from(b"RIFF");
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((2 * rate).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(length.to_le_bytes());
    bytes
}

/// A file at 16 kHz whose sample `i` is `i mod 30000` of 32768.
fn counting(folder: &Path, samples: u32) -> PathBuf {
    let path = folder.join("counting.wav");
    let mut bytes = header(SAMPLE_RATE, samples);
    (0..samples).for_each(|i| bytes.extend(((i % 30_000) as i16).to_le_bytes()));
    fs::write(&path, bytes).unwrap();
    path
}

fn counted(from: u32, count: u32) -> Vec<f32> {
    (from..from + count).map(|i| (i % 30_000) as f32 / 32_768.0).collect()
}

#[test]
fn a_window_is_the_part_of_the_file_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    // 4 s.
    let path = counting(folder.path(), 64_000);
    let heard = |hearing: Hearing| load(&path, &hearing).unwrap();
    let whole = heard(Hearing::default());
    assert_eq!((whole.samples.len(), whole.start), (64_000, 0.0));

    let part = heard(Hearing { start: 1.5, end: Some(2.0), ..Hearing::default() });
    assert_eq!((part.samples, part.start), (counted(24_000, 8_000), 1.5));

    // 1.5 s to 3.5 s is 1 s longer than the model's window: half of that is cut before it, or all of it.
    let limited = Hearing { start: 1.5, end: Some(3.5), samples: Some(16_000), ..Hearing::default() };
    for (position, start) in [(0.0, 1.5), (0.5, 2.0), (1.0, 2.5)] {
        let part = heard(Hearing { position, ..limited.clone() });
        assert_eq!((part.samples, part.start), (counted((start * 16_000.0) as u32, 16_000), start));
    }
    // A clip that is no longer than the window is heard from its beginning.
    let short = heard(Hearing { start: 3.0, samples: Some(16_000), position: 1.0, ..Hearing::default() });
    assert_eq!((short.samples, short.start), (counted(48_000, 16_000), 3.0));

    let error = load(&path, &Hearing { start: 4.0, ..Hearing::default() }).unwrap_err();
    assert!(matches!(error.problem, Problem::AfterEnd { start: 4.0, seconds: 4.0 }), "{error}");
    assert!(error.to_string().ends_with("the clip is 4.000 s long; its window begins at 4.000 s"), "{error}");
}

#[test]
fn an_hour_is_not_read_to_hear_a_window_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hour.wav");
    let mut file = File::create(&path).unwrap();
    // 59.5 minutes are a hole in the file, which takes no space on the disk; the samples of the last 30 s are 1/128.
    let (rate, samples) = (44_100, 44_100 * 3600);
    file.write_all(&header(rate, samples)).unwrap();
    file.seek(SeekFrom::Start(44 + 2 * 44_100 * 3570)).unwrap();
    file.write_all(&[0, 1].repeat(44_100 * 30)).unwrap();
    let last = Hearing { start: 3580.0, samples: Some(30 * SAMPLE_RATE as usize), ..Hearing::default() };
    let clip = load(&path, &last).unwrap();
    assert_eq!(clip.samples.len(), 20 * SAMPLE_RATE as usize);
    assert!(clip.samples[1000..10_000].iter().all(|sample| (sample - 1.0 / 128.0).abs() < 1e-5));
    // The window is 5 MB at 44.1 kHz; the file has 317 MB.
    assert_eq!(clip.info.seconds(), Some(3600.0));
}

/// A program that does what a script says.
fn program(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("converter");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn another_program_decodes_what_this_crate_does_not_if_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let counting = counting(folder.path(), 16_000);
    let clip = folder.path().join("voice.amr");
    fs::write(&clip, b"#!AMR\n and so on").unwrap();
    let alone = load(&clip, &Hearing::default()).unwrap_err().to_string();
    assert!(alone.contains("AMR is not supported"), "{alone}");

    let with = |script: &str, hearing: Hearing| {
        load(&clip, &Hearing { fallback: Some(program(folder.path(), script)), ..hearing })
    };
    let copies = format!("echo \"$@\" > {0}/arguments; cat {1}", folder.path().display(), counting.display());
    let window = Hearing { start: 2.0, samples: Some(8_000), ..Hearing::default() };
    let heard = with(&copies, window).unwrap();
    assert_eq!((heard.samples, heard.start), (counted(0, 8_000), 2.0));
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    let input = format!("-ss 2.000000 -i file:{} -map 0:a:0 -t 0.500000", clip.display());
    assert!(arguments.contains(&input), "{arguments}");

    let broken = with("echo 'no such codec' >&2; exit 1", Hearing::default()).unwrap_err().to_string();
    assert!(broken.contains("no such codec"), "{broken}");
    // Files that this crate decodes are not given to the program.
    let own = Hearing { fallback: Some(program(folder.path(), "exit 1")), ..Hearing::default() };
    assert_eq!(load(&counting, &own).unwrap().samples.len(), 16_000);
    let absent = Hearing { fallback: Some("/nowhere/ffmpeg".into()), ..Hearing::default() };
    let absent = load(&clip, &absent).unwrap_err().to_string();
    assert!(absent.contains("`/nowhere/ffmpeg` cannot be started"), "{absent}");
}
