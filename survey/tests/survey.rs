//! Surveys of small data sets with known faults.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::f32::consts::TAU;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use survey::{Decode, Model, Options, Source, Survey, glance, sources, survey};
use tempfile::TempDir;

/// A mono WAV file of 16 bits at 16 kHz.
fn wav(samples: impl ExactSizeIterator<Item = i16>) -> Vec<u8> {
    let data = 2 * samples.len() as u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(16_000u32.to_le_bytes());
    bytes.extend(32_000u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(data.to_le_bytes());
    bytes.extend(samples.flat_map(i16::to_le_bytes));
    bytes
}

/// A tone of half full scale, 1 s long, of its own pitch for each number.
fn tone(number: usize) -> Vec<u8> {
    let pitch = 200.0 + number as f32;
    wav((0..16_000usize).map(|i| ((i as f32 * pitch * TAU / 16_000.0).sin() * 16_384.0) as i16))
}

/// A mono WAV file of two f32 samples, of which one is not a number.
fn not_a_number() -> Vec<u8> {
    let mut bytes = b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0".to_vec();
    bytes.extend(16_000u32.to_le_bytes());
    bytes.extend(64_000u32.to_le_bytes());
    bytes.extend(b"\x04\0\x20\0data\x08\0\0\0");
    bytes.extend(0.5f32.to_le_bytes());
    bytes.extend(f32::NAN.to_le_bytes());
    bytes
}

fn row(id: &str, clip: &str, answer: usize) -> String {
    let row = json!({
        "id": id,
        "question_text": format!("What is heard in {id}?"),
        "multi_choice": ["dog", "cat", "cow", "horse"],
        "answer": answer,
        "audio_path": clip,
    });
    format!("{row}\n")
}

/// A folder with a scenario of one arm, its training set and a suite.
struct Set {
    folder: TempDir,
    train: String,
    heldout: String,
}

impl Set {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("clips")).unwrap();
        Self { folder, train: String::new(), heldout: String::new() }
    }

    fn clip(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join("clips").join(name), bytes).unwrap();
    }

    /// A sound set: this many clips to train on, two rows for each third, and some that are held out.
    fn sound(train: usize, heldout: usize) -> Self {
        let mut set = Self::new();
        for number in 0..train + heldout {
            let name = format!("{number}.wav");
            set.clip(&name, tone(number));
            let line = row(&format!("r{number}"), &name, number % 4);
            if number < train { &mut set.train } else { &mut set.heldout }.push_str(&line);
            if number < train && number % 3 == 0 {
                set.train.push_str(&row(&format!("again{number}"), &name, number % 4));
            }
        }
        set
    }

    fn sources(&self, root: &str) -> Vec<Source> {
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("train.jsonl"), &self.train).unwrap();
        fs::write(path("test.jsonl"), &self.heldout).unwrap();
        let text = format!(
            "[data]\ntrain = {{ format = \"avqa\", path = \"train.jsonl\", audio_root = \"{root}\" }}\n\
             [eval]\nsuites = [{{ format = \"avqa\", path = \"test.jsonl\", audio_root = \"{root}\" }}]\n\
             [rewards]\naccuracy = {{ kind = \"accuracy\" }}\n[shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"a\"\n"
        );
        fs::write(path("a.toml"), text).unwrap();
        sources(&scenarios::load(&path("a.toml"), &[], &[], None).unwrap())
    }

    fn survey(&self) -> Survey {
        survey(&self.sources("clips"), &Options::default())
    }

    /// A text without the folder's path.
    fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn findings(&self, survey: &Survey) -> Vec<String> {
        let line = |finding: &survey::Finding| {
            format!(
                "{}{}: {}",
                if finding.stops { "! " } else { "" },
                finding.kind,
                self.plain(&finding.message)
            )
        };
        survey.findings.iter().map(line).collect()
    }
}

#[test]
fn a_sound_set_has_no_findings() {
    let set = Set::sound(30, 10);
    let survey = set.survey();
    assert_eq!(set.findings(&survey), [""; 0]);
    assert!(survey.can_begin());
    let train = &survey.sources[0];
    assert_eq!(
        (train.rows.total, train.rows.usable, train.clips.distinct, train.clips.found),
        (40, 40, 30, 30)
    );
    // Modulo 4, the numbers below 30 are 0, 1, 2, 3 in 8, 8, 7, 7 cases, and those divisible by 3 in 3, 2, 2, 3.
    assert_eq!(train.gold_positions, [8 + 3, 8 + 2, 7 + 2, 7 + 3]);
    assert_eq!(train.lengths.histogram, [0, 30, 0, 0, 0, 0, 0]);
    assert!((train.lengths.hours - 30.0 / 3600.0).abs() < 1e-9);
}

#[test]
fn all_eight_faults_of_a_set_are_found_and_nothing_else() {
    let mut set = Set::sound(36, 10);
    for name in ["gone1.wav", "gone2.wav"] {
        set.train.push_str(&row(name, name, 1));
    }
    set.heldout.push_str(&row("gone3", "gone3.wav", 2));
    set.clip("page.wav", "<!DOCTYPE html><html><body>404</body></html>");
    set.clip("empty.wav", "");
    set.clip("silent.wav", wav((0..16_000).map(|_| 0)));
    set.clip("leaked.wav", tone(7));
    for name in ["page.wav", "empty.wav", "silent.wav"] {
        set.train.push_str(&row(name, name, 0));
    }
    set.train.push_str(&row("wrong", "0.wav", 9));
    set.heldout.push_str(&row("leaked", "leaked.wav", 3));
    let survey = set.survey();
    let expected = [
        "unusable row: train.jsonl:54: `answer` is 9; write the index of a choice, from 0 to 3",
        "missing: train.jsonl:49: clips/gone1.wav: no such audio file; ",
        "missing: train.jsonl:50: clips/gone2.wav: no such audio file; ",
        "unreadable: train.jsonl:51: clips/page.wav: ",
        "unreadable: train.jsonl:52: clips/empty.wav: the audio file is empty (0 bytes); ",
        "silent: train.jsonl:53: clips/silent.wav: no sound: its loudest sample is 0.0e0 of full scale",
        "missing: test.jsonl:11: clips/gone3.wav: no such audio file; ",
        // 0 to 6 are in ten rows, because 0, 3 and 6 are in two.
        "leakage: test.jsonl:12: clips/leaked.wav is trained on too, as clips/7.wav in train.jsonl:11; drop it from one of \
         the sets",
    ];
    let found = set.findings(&survey);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert!(survey.can_begin());
    let train = &survey.sources[0];
    assert_eq!((train.rows.total, train.rows.usable), (54, 48));
    assert_eq!(
        train.rows.unusable.iter().map(|(cause, count)| (*cause, *count)).collect::<Vec<_>>(),
        [("answer_not_a_choice", 1), ("audio_silent", 1), ("audio_unreadable", 4)]
    );
}

#[test]
fn the_same_path_in_both_sets_is_leakage_and_a_copy_within_a_set_is_a_duplicate() {
    let mut set = Set::sound(5, 5);
    set.heldout.push_str(&row("both", "2.wav", 3));
    set.clip("copy.wav", tone(3));
    set.train.push_str(&row("copy", "copy.wav", 3));
    let survey = set.survey();
    assert_eq!(
        set.findings(&survey),
        [
            "duplicate: train.jsonl:8: clips/copy.wav has the content of clips/3.wav, which train.jsonl:5 names; drop one \
             of them",
            "leakage: test.jsonl:6: clips/2.wav is trained on too, in train.jsonl:4; drop it from one of the sets",
        ]
    );
}

#[test]
fn a_row_that_asks_the_same_of_the_same_clip_is_a_repeat() {
    let mut set = Set::sound(2, 2);
    let again = json!({
        "id": "other", "question_text": "what is  heard in r1?", "multi_choice": ["cow", "dog", "cat", "horse"],
        "answer": 2, "audio_path": "./1.wav",
    });
    set.train.push_str(&format!("{again}\n"));
    let survey = set.survey();
    assert_eq!(
        set.findings(&survey),
        ["repeat: train.jsonl:4: asks the same of clips/./1.wav as line 3; drop one of them"]
    );
}

// SURVEY-2
#[test]
fn a_wrong_root_is_one_finding_per_source_and_stops_a_run() {
    let mut set = Set::sound(60, 0);
    set.heldout.clone_from(&set.train);
    let gone = survey(&set.sources("elsewhere"), &Options::default());
    assert_eq!(
        set.findings(&gone),
        [
            "! no data: elsewhere: no such folder; set audio_root to the folder that the paths in train.jsonl are relative \
             to",
            "! no data: elsewhere: no such folder; set audio_root to the folder that the paths in test.jsonl are relative \
             to",
        ]
    );
    assert!(!gone.can_begin());
    fs::create_dir(set.folder.path().join("empty")).unwrap();
    let wrong = survey(&set.sources("empty"), &Options::default());
    assert_eq!(
        set.findings(&wrong)[0],
        "! no data: train.jsonl: the audio files of its rows are missing: there is no empty/0.wav; set audio_root to the \
         folder that the paths are relative to"
    );
    assert_eq!(wrong.findings.len(), 2);
}

// SURVEY-3
#[test]
fn fewer_usable_rows_than_the_scenario_allows_stop_a_run() {
    let mut set = Set::sound(2, 2);
    for number in 0..3 {
        set.train.push_str(&row(&format!("gone{number}"), &format!("gone{number}.wav"), 1));
    }
    let half = set.survey();
    // 3 of 6 rows are not more than a half.
    assert!(half.can_begin(), "{half}");
    set.train.push_str(&row("wrong", "0.wav", 9));
    let most = set.survey();
    assert_eq!(
        set.findings(&most)[0],
        "! too few rows: train.jsonl: 4 of 7 rows cannot be used (1 answer_not_a_choice, 3 audio_unreadable), and \
         data.max_unusable_fraction is 0.5; correct them, or raise it"
    );
    let none = Set::sound(1, 1);
    none.clip("1.wav", "<html>");
    let survey = none.survey();
    assert!(
        survey.findings[0].message.contains("none of its 1 rows can be used (1 audio_unreadable)"),
        "{survey}"
    );
}

// SURVEY-4
#[test]
fn only_the_clips_that_are_decoded_have_faults_beyond_their_headers() {
    let mut set = Set::sound(4, 1);
    set.clip("nan.wav", not_a_number());
    set.clip("loud.wav", wav((0..16_000i32).map(|i| if i % 40 < 20 { i16::MAX } else { i16::MIN })));
    for name in ["nan.wav", "loud.wav"] {
        set.train.push_str(&row(name, name, 1));
    }
    let look = |decode| survey(&set.sources("clips"), &Options { decode, ..Options::default() });
    let headers = look(Decode::Some(0));
    assert_eq!(set.findings(&headers), [""; 0]);
    assert!(headers.sources[0].decoded.is_none());
    let all = look(Decode::All);
    let found = set.findings(&all);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0]
            .starts_with("unreadable: train.jsonl:7: clips/nan.wav: corrupt audio: a sample is not finite")
    );
    assert_eq!(
        found[1],
        "clipped: train.jsonl:8: clips/loud.wav: clipped: 100.0 % of its samples are at full scale"
    );
    let decoded = all.sources[0].decoded.as_ref().unwrap();
    assert_eq!((decoded.clips, decoded.failed["corrupt"].count, decoded.clipped.count), (6, 1, 1));
}

#[test]
fn prompts_and_clips_that_are_too_long_for_the_model_are_reported() {
    let mut set = Set::sound(20, 1);
    set.clip("long.wav", wav((0..48_000i32).map(|i| (i % 100 * 100) as i16)));
    set.train.push_str(&row("long", "long.wav", 1));
    let mut sources = set.sources("clips");
    sources[0].model = Model {
        window_seconds: Some(2.0),
        context: Some(60),
        completion: 10,
        // 25 tokens a second: 25 for the tones, 50 for what is heard of the long clip.
        prompt_tokens: Some(Arc::new(|_, seconds| Some((25.0 * seconds) as usize + 1))),
        ..Model::default()
    };
    let survey = survey(&sources, &Options::default());
    assert_eq!(
        set.findings(&survey),
        [
            "prompt too long: train.jsonl:28: the prompt has 51 tokens, and with 10 for the completion more than the 60 that \
             the model takes; shorten the question, the clip or the completion",
            "cut: train.jsonl: 1 of 21 clips are longer than the 2 s that the model hears; their ends are cut off",
        ]
    );
    let tokens = survey.sources[0].prompt_tokens.as_ref().unwrap();
    let figures = (tokens.prompts, tokens.min, tokens.median, tokens.p95, tokens.max, tokens.too_long);
    assert_eq!(figures, (28, 26, 26, 26, 51, 1));
    assert_eq!(survey.sources[0].rows.usable, 27);
}

#[test]
fn a_survey_is_written_as_text_and_as_json() {
    let mut set = Set::sound(4, 2);
    set.train.push_str(&row("gone", "gone.wav", 1));
    let survey = set.survey();
    // The name of a codec is the decoder's.
    let codec = survey.sources[0].clips.codecs.keys().next().unwrap();
    let text = set.plain(&survey.to_string()).replace(codec, "CODEC");
    assert_eq!(
        text,
        "\
train: train.jsonl
  rows      7, 6 usable, 1 audio_unreadable
  clips     5, 4 found, 1 missing
  formats   4 WAV
  codecs    4 CODEC
  rates     4 16 kHz
  channels  4 mono
  length    4.0 s, 1–5 s: 4
  decoded   4 clips, none silent, clipped or odd
  answers   A 2, B 2, C 1, D 2

eval test: test.jsonl
  rows      2, 2 usable
  clips     2, 2 found
  formats   2 WAV
  codecs    2 CODEC
  rates     2 16 kHz
  channels  2 mono
  length    2.0 s, 1–5 s: 2
  decoded   2 clips, none silent, clipped or odd
  answers   A 1, B 1

1 finding
  missing: train.jsonl:7: clips/gone.wav: no such audio file; correct the path or fetch the clip
"
    );
    let json = serde_json::to_value(&survey).unwrap();
    assert_eq!(json["sources"][0]["clips"]["rates"], json!({ "16000": 4 }));
    assert_eq!(json["sources"][0]["clips"]["missing"]["count"], 1);
    assert_eq!(json["sources"][1]["role"], "heldout");
    assert_eq!(json["findings"][0]["kind"], "missing");
    assert_eq!(json["findings"][0]["stops"], false);
}

#[test]
fn a_glance_gives_one_line_per_source() {
    let mut set = Set::sound(30, 2);
    set.train.push_str(&row("gone", "gone.wav", 1));
    set.clip("empty.wav", "");
    set.train.push_str(&row("empty", "empty.wav", 1));
    set.train.push_str(&row("wrong", "0.wav", 9));
    let sources = set.sources("clips");
    assert_eq!(
        glance(&sources, Duration::from_secs(60)),
        [
            "train: 43 rows (1 unusable), 32 clips, 30.0 s, 1 missing, 1 unreadable",
            "eval test: 2 rows, 2 clips, 2.0 s"
        ]
    );
    assert_eq!(glance(&sources, Duration::ZERO)[1], "eval test: 2 rows, 2 clips; 0 looked at");
}

/// Reads the headers of this many clips, and returns how long it took.
fn time(clips: usize) -> Duration {
    let mut set = Set::new();
    for number in 0..clips {
        let name = format!("{number}.wav");
        set.clip(&name, wav((0..1000).map(|i| (i * number) as i16)));
        set.train.push_str(&row(&name, &name, number % 4));
    }
    set.heldout = row("one", "0.wav", 0);
    let sources = set.sources("clips");
    let begun = Instant::now();
    let survey = survey(&sources, &Options::default());
    let taken = begun.elapsed();
    assert_eq!(survey.sources[0].clips.found, clips);
    println!("{clips} clips in {:.2} s", taken.as_secs_f64());
    taken
}

#[test]
fn thousands_of_headers_are_read_in_a_second_or_two() {
    // The best of three, because other tests run at the same time.
    assert!((0..3).any(|_| time(2000) < Duration::from_secs(2)));
}

#[test]
#[ignore = "writes 20,000 files; takes about 20 s"]
fn twenty_thousand_headers_are_read_in_20_s() {
    assert!(time(20_000) < Duration::from_secs(20));
}

#[test]
fn choices_that_the_prompt_does_not_tell_apart_are_reported_once() {
    let set = Set::sound(20, 1);
    let mut sources = set.sources("clips");
    sources[0].model.hides_choices = Some(Arc::new(|question| question.id.ends_with('3')));
    let findings = set.findings(&survey(&sources, &Options::default()));
    let hidden: Vec<&String> =
        findings.iter().filter(|finding| finding.starts_with("hidden choices")).collect();
    assert_eq!(hidden.len(), 1, "{findings:?}");
    assert!(hidden[0].contains("as in 3 of 27 rows"), "{hidden:?}");
}
