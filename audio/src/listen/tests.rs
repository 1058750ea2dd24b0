use serde_json::json;

use super::*;

/// A WAV file @ 16 kHz in a folder of its own.
fn clip(samples: &[f32]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.wav");
    let mut bytes = Vec::new();
    write_wav(&mut bytes, samples).unwrap();
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn hear(path: &Path, start: f64, seconds: Option<f64>) -> Heard {
    listen(path, &Hearing { start, samples: seconds.map(samples_in), ..Hearing::default() }).unwrap()
}

#[test]
fn a_clip_is_cut_only_if_it_goes_on_after_the_window() {
    // 2 s and one sample.
    let (_folder, path) = clip(&[0.25; 32_001]);
    let whole = hear(&path, 0.0, None);
    assert_eq!((whole.cut_at, whole.samples.len()), (None, 32_001));
    assert_eq!(whole.seconds, Some(32_001.0 / 16_000.0));
    let cut = hear(&path, 0.0, Some(2.0));
    assert_eq!((cut.cut_at, cut.heard_seconds(), cut.seconds), (Some(2.0), 2.0, whole.seconds));
    // The window of a second from 0.5 s ends at 1.5 s; one of two seconds ends after the clip.
    let window = hear(&path, 0.5, Some(1.0));
    assert_eq!((window.cut_at, window.samples.len()), (Some(1.5), 16_000));
    let last = hear(&path, 0.5, Some(2.0));
    assert_eq!((last.cut_at, last.samples.len()), (None, 24_001));
}

#[test]
fn a_clip_that_ends_with_the_window_is_not_cut() {
    let (_folder, path) = clip(&[0.25; 32_000]);
    assert_eq!(hear(&path, 0.0, Some(2.0)).cut_at, None);
}

#[test]
fn ears_hear_one_chunk_of_their_features() {
    let ears = Ears {
        features: FeatureConfig { chunk_length_seconds: 7, ..FeatureConfig::default() },
        downmix: Downmix::Right,
        fallback: Some("ffmpeg".into()),
        whole: false,
    };
    let hearing = Hearing {
        downmix: Downmix::Right,
        start: 1.5,
        samples: Some(7 * 16_000),
        fallback: Some("ffmpeg".into()),
        ..Hearing::default()
    };
    assert_eq!(ears.hearing(1.5), hearing);
    // 32 windows of 7 s.
    assert_eq!(Ears { whole: true, ..ears.clone() }.hearing(1.5).samples, Some(32 * 7 * 16_000));
    // Four hours at most.
    assert_eq!([samples_in(1e300), samples_in(-1.0), samples_in(f64::NAN)], [230_400_000, 0, 230_400_000]);
}

#[test]
fn the_text_names_what_is_heard_and_where_it_is_cut() {
    // Half of the frames are silent. The square wave of 0.5 has -6.0 dBFS; over all frames it is 3 dB less.
    let samples = [vec![0.0; 16_000], vec![0.5; 16_000], vec![0.25; 16_000]].concat();
    let (_folder, path) = clip(&samples);
    let mut heard = hear(&path, 0.0, Some(2.0));
    heard.file = "dog.wav".into();
    heard.warnings.push(Warning::new("odd", "it is odd"));
    let (format, codec) = (heard.info.format, heard.info.codec.clone());
    let expected = format!(
        "dog.wav\n  format   {format}, {codec}\n  rate     16000 Hz, 1 channel\n  length   3.000 s\n  heard    0.000 s to 2.000 s, then it \
         is cut\n  peak     -6.0 dBFS\n  rms      -9.0 dBFS\n  silence  50.0 %\n  warning  it is odd"
    );
    assert_eq!(heard.to_string(), expected);
}

#[test]
fn a_clip_that_is_heard_in_windows_says_how_many() {
    let (_folder, path) = clip(&[0.25; 40_000]);
    let mut heard = hear(&path, 0.0, None);
    assert_eq!(heard.windows(), 1);
    heard.window = Some(16_000);
    // 2.5 s are two windows of 1 s and one of 0.5 s.
    assert_eq!(heard.windows(), 3);
    assert!(heard.to_string().contains("\n  windows  3 of 1 s, the last of 0.500 s\n"), "{heard}");
}

#[test]
fn json_has_null_where_there_is_no_level_and_the_kind_of_a_problem() {
    let (_folder, path) = clip(&[0.0; 1600]);
    let mut heard = hear(&path, 0.0, None);
    heard.warnings.push(Warning::new("odd", "it is odd"));
    let (format, codec) = (heard.info.format, heard.info.codec.clone());
    let record = serde_json::to_value(HeardRecord::of(&Ok(heard), Some(Path::new("out/0000.wav")))).unwrap();
    let expected = json!({
        "file": path.display().to_string(), "format": format, "codec": codec, "rate": 16_000, "channels": 1,
        "seconds": 0.1, "heard_seconds": 0.1, "windows": 1, "cut_at": null, "peak_dbfs": null, "rms_dbfs": null, "silence": 1.0,
        "warnings": [{"kind": "odd", "text": "it is odd"}], "wav": "out/0000.wav",
    });
    assert_eq!(record, expected);

    let missing = listen(Path::new("none.wav"), &Hearing::default());
    let record = serde_json::to_value(HeardRecord::of(&missing, None)).unwrap();
    let error = "no such audio file; correct the path or fetch the clip";
    assert_eq!(record, json!({"file": "none.wav", "error": error, "problem": "missing"}));
}

#[test]
fn features_cover_all_that_was_heard() {
    // 31.5 s: a chunk of 30 s would lose the end. 3150 frames of 10 ms.
    let (_folder, path) = clip(&[0.25; 504_000]);
    let features = hear(&path, 0.0, None).features(&FeatureConfig::default()).unwrap();
    assert_eq!((features.frames, features.valid_frames, features.truncated), (3150, 3150, false));
}

#[test]
fn the_written_file_replaces_an_older_one() {
    let (folder, path) = clip(&[0.25; 1000]);
    let out = folder.path().join("out.wav");
    std::fs::write(&out, [7; 100_000]).unwrap();
    hear(&path, 0.0, Some(0.05)).write_wav(&out).unwrap();
    assert_eq!(hear(&out, 0.0, None).samples, [0.25; 800]);
    let nowhere = hear(&path, 0.0, None).write_wav(&folder.path().join("none/out.wav"));
    assert_eq!(nowhere.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}
