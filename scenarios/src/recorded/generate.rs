//! Generates the files of the world of recordings.

use std::path::{Path, PathBuf};

use rewards::ORDINALS;
use serde_json::{Value, json};

use super::config::{RecordedConfig, RecordedKind};
use super::folder::{self, Class, Recording};
use crate::cache::stable_hash;
use crate::error::ScenarioError;
use crate::world::files::{self, Clip, Generator};
use crate::world::rng::Rng;
use crate::world::sequence::{self, Ask};
use crate::world::settings::{AudioFormat, Split};
use crate::world::{encode, numbered, sound};

/// Name of the world in the column `dataset_name`.
pub(crate) const NAME: &str = "recorded";

/// Has to be increased with every change of the generated files, so that folders of an older version are not used.
const GENERATOR_VERSION: u32 = 1;

/// How often one of the wrong choices is a class that is not heard, though enough classes are.
const FOREIGN: f64 = 0.25;
/// How much of a sound its successor covers in clips with overlap, as a part of its length.
const OVERLAP: f64 = 0.3;
/// Silence that a recording may begin with and not lose any of its part that is heard, in seconds.
const LEAD: f64 = 5.0;

/// The folder in `cache` with the files of the world. They are generated if they are not there.
///
/// Errors: A setting is out of its range, the recordings cannot be used, or the cache cannot be written.
pub(crate) fn prepare_in(cache: &Path, config: &RecordedConfig) -> Result<PathBuf, ScenarioError> {
    config.validate()?;
    let Some(sounds) = &config.sounds else {
        let instead = "write the path of a folder with a subfolder of recordings per class";
        return Err(ScenarioError::World {
            section: "recorded",
            key: "sounds",
            problem: "is missing".into(),
            instead,
        });
    };
    let classes = folder::read(sounds)?;
    let name = format!("recorded/{:016x}", fingerprint(config, &classes));
    files::prepare(cache, &name, || Recorded::new(config, classes))
}

/// A hash of what the files depend on: settings, and the names and content of the recordings.
fn fingerprint(config: &RecordedConfig, classes: &[Class]) -> u64 {
    let files = RecordedConfig {
        sounds: None,
        think_rates: [].into(),
        flaw_rate: 0.0,
        padding_rate: 0.0,
        ..config.clone()
    };
    let parts = [Split::Train, Split::Heldout];
    let hashes = |class: &Class| {
        parts.map(|split| class.part(split).iter().map(|one| (one.hash, file_name(one))).collect::<Vec<_>>())
    };
    let content: Vec<_> = classes.iter().map(|class| json!([class.name, hashes(class)])).collect();
    stable_hash(json!([GENERATOR_VERSION, files, content]).to_string().as_bytes())
}

fn file_name(recording: &Recording) -> String {
    recording.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

struct Recorded<'a> {
    config: &'a RecordedConfig,
    classes: Vec<Class>,
}

impl<'a> Recorded<'a> {
    /// The world of these recordings, all of which can be read.
    fn new(config: &'a RecordedConfig, classes: Vec<Class>) -> Result<Self, ScenarioError> {
        let world = Self { config, classes };
        let parts = [Split::Train, Split::Heldout];
        let all: Vec<&Recording> =
            world.classes.iter().flat_map(|class| parts.map(|split| class.part(split))).flatten().collect();
        files::in_parallel(all.len(), |number| world.sound(all[number]).map(drop))?;
        Ok(world)
    }

    /// The part of a recording that is heard.
    fn sound(&self, recording: &Recording) -> Result<Vec<f32>, ScenarioError> {
        let wrong = |problem: String| ScenarioError::File {
            path: recording.path.clone(),
            problem,
            instead: "convert it to WAV, or remove it".into(),
        };
        let most = ((self.config.longest + LEAD) * f64::from(audio::SAMPLE_RATE)) as usize;
        let hearing = audio::Hearing { samples: Some(most), ..audio::Hearing::default() };
        let clip = audio::load(&recording.path, &hearing)
            .map_err(|error| wrong(format!("cannot be heard: {}", error.problem)))?;
        let sound = sound::normalized(&clip.samples, self.config.longest);
        if sound.is_empty() { Err(wrong("is silent".into())) } else { Ok(sound) }
    }
}

/// The plan of a clip: the classes that are heard, by their places in the list, and the kinds of its questions.
struct Plan {
    classes: Vec<usize>,
    kinds: Vec<RecordedKind>,
    format: AudioFormat,
}

impl Plan {
    /// Draws a clip of some of `count` classes.
    fn draw(config: &RecordedConfig, split: Split, name: &str, count: usize) -> Self {
        let mut rng = Rng::new(config.seed, &format!("{name} plan"));
        let weights = config.kinds(split).iter().map(|(kind, weight)| (*kind, *weight));
        let first = rng.weighted(weights.clone()).unwrap_or(RecordedKind::Class);
        let one = first == RecordedKind::Class;
        let alike = weights.filter(|(kind, _)| (*kind == RecordedKind::Class) == one);
        let further =
            (1..config.questions_per_clip(split)).map(|_| rng.weighted(alike.clone()).unwrap_or(first));
        let mut kinds: Vec<RecordedKind> = std::iter::once(first).chain(further).collect();
        let mut length = if one { 1 } else { rng.pick(&config.lengths).copied().unwrap_or(3) };
        let twice = kinds.contains(&RecordedKind::Twice);
        if twice {
            // All other sounds are different.
            length = length.clamp(3, count + 1);
        }
        let mut order: Vec<usize> = (0..count).collect();
        rng.shuffle(&mut order);
        let distinct = if twice { length - 1 } else { length };
        let mut classes: Vec<usize> = order.iter().copied().take(distinct).collect();
        while classes.len() < distinct {
            classes.push(rng.below(count));
        }
        if twice {
            let again = classes[rng.below(classes.len())];
            classes.insert(rng.below(classes.len() + 1), again);
        } else {
            rng.shuffle(&mut classes);
        }
        // With few classes there may be no sound that comes once.
        let names: Vec<String> = classes.iter().map(usize::to_string).collect();
        if !one && before_another(&names).is_empty() {
            let asked = kinds.iter_mut().filter(|kind| **kind == RecordedKind::After);
            asked.for_each(|kind| *kind = RecordedKind::Last);
        }
        let formats = config.formats.iter().map(|(format, weight)| (*format, *weight));
        let format = rng.weighted(formats).unwrap_or(AudioFormat::Wav);
        Self { classes, kinds, format }
    }
}

/// The places of the sounds that are heard once and are not the last.
fn before_another(names: &[String]) -> Vec<usize> {
    let mut places = sequence::places(names, 1);
    places.retain(|&place| place + 1 < names.len());
    places
}

impl Generator for Recorded<'_> {
    fn clips(&self, split: Split) -> usize {
        match split {
            Split::Train => self.config.train_clips,
            Split::Heldout => self.config.heldout_clips,
        }
    }

    fn clip(&self, split: Split, number: usize) -> Result<Clip, ScenarioError> {
        let name = format!("{}-{number:05}", split.name());
        let plan = Plan::draw(self.config, split, &name, self.classes.len());
        let mut rng = Rng::new(self.config.seed, &format!("{name} audio"));
        let (mut sounds, mut sources) = (Vec::new(), Vec::new());
        for &class in &plan.classes {
            let recordings = self.classes[class].part(split);
            let recording = &recordings[rng.below(recordings.len())];
            sounds.push(self.sound(recording)?);
            sources.push(file_name(recording));
        }
        let overlaps = plan.classes.len() > 1 && rng.chance(self.config.overlap);
        let overlap = overlaps.then_some(OVERLAP);
        let (samples, spans) = sound::joined(&sounds, self.config.pauses, overlap, &mut rng);
        let names: Vec<String> = plan.classes.iter().map(|&class| self.classes[class].name.clone()).collect();
        let audio_path = format!("audio/{name}.{}", encode::extension(plan.format));
        let about = json!({
            "video_name": name,
            "video_id": number,
            "question_relation": "Sound",
            "dataset_name": NAME,
            "audio_path": audio_path,
            "steps": numbered::steps(&names),
            "transcript": names.join(", "),
            "spans": sound::seconds(&spans),
            "sources": sources,
            "length": names.len(),
            "overlap": if overlaps { "yes" } else { "no" },
        });
        let mut rng = Rng::new(self.config.seed, &format!("{name} questions"));
        let kinds = plan.kinds.iter().enumerate();
        let rows = kinds.map(|(at, &kind)| self.row(&format!("{name}-{at}"), kind, &names, &about, &mut rng));
        let rows = rows.collect();
        Ok(Clip { audio_path, audio: encode::encode(&sound::limited(samples), plan.format), rows })
    }
}

impl Recorded<'_> {
    /// A row with the columns `about` that all rows about the clip share.
    fn row(&self, id: &str, kind: RecordedKind, names: &[String], about: &Value, rng: &mut Rng) -> Value {
        let (ask, text) = ask(kind, names, rng);
        let (answer, conclusion) = sequence::answer(ask, names);
        let all: Vec<String> = self.classes.iter().map(|class| class.name.clone()).collect();
        let (choices, answer) = match ask {
            Ask::Count => {
                let numbers: Vec<String> =
                    sequence::NUMBERS[2..=5].iter().map(|&number| number.to_owned()).collect();
                sequence::choices(&answer, &numbers, &[], 0.0, rng)
            }
            Ask::After(place) => {
                let near: Vec<String> = names.iter().filter(|name| **name != names[place]).cloned().collect();
                sequence::choices(&answer, &near, &all, FOREIGN, rng)
            }
            _ => sequence::choices(&answer, names, &all, FOREIGN, rng),
        };
        let mut row = json!({
            "id": format!("{id}-{}", kind.name()),
            "question_text": text,
            "multi_choice": choices,
            "answer": answer,
            "question_type": kind.name(),
            "kind": kind.name(),
            "difficulty": kind.difficulty(names.len()),
            "conclusion": conclusion,
        });
        if let (Some(row), Some(about)) = (row.as_object_mut(), about.as_object()) {
            row.extend(about.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        row
    }
}

/// What a question of this kind asks about these sounds, and its wording.
fn ask(kind: RecordedKind, names: &[String], rng: &mut Rng) -> (Ask, String) {
    let last = (Ask::Last, "Which sound comes last?".to_owned());
    match kind {
        RecordedKind::Class => (Ask::Only, "Which sound is heard?".into()),
        RecordedKind::Second => (Ask::Place(1), format!("Which sound comes {}?", ORDINALS[1])),
        RecordedKind::Last => last,
        RecordedKind::Count => (Ask::Count, "How many sounds are heard?".into()),
        RecordedKind::After => rng.pick(&before_another(names)).map_or(last, |&place| {
            (Ask::After(place), format!("Which sound comes right after {}?", names[place]))
        }),
        RecordedKind::Twice => sequence::places(names, 2)
            .first()
            .map_or(last, |&place| (Ask::Twice(place), "Which sound is heard twice?".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rewards::Question;

    use super::*;
    use crate::formats::{self, RowFilter};
    use crate::{DataFormat, PromptStyle, TargetKind, Worlds};

    /// Six recordings of each class: tones of a pitch per class, each a little longer than the one before.
    fn sounds(classes: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (number, class) in classes.iter().enumerate() {
            let folder = home.path().join(class);
            std::fs::create_dir(&folder).unwrap();
            for recording in 0..6 {
                let pitch = 0.05 * (number + 1) as f32;
                let samples: Vec<f32> =
                    (0..4000 + 100 * recording).map(|at| 0.4 * (pitch * at as f32).sin()).collect();
                std::fs::write(folder.join(format!("{class}-{recording}.wav")), audio::wav_16_bit(&samples))
                    .unwrap();
            }
        }
        home
    }

    fn config(home: &Path) -> RecordedConfig {
        RecordedConfig {
            sounds: Some(home.to_owned()),
            train_clips: 60,
            heldout_clips: 30,
            ..RecordedConfig::default()
        }
    }

    fn read(folder: &Path, split: Split) -> Vec<Question> {
        let path = folder.join(split.name()).with_extension("jsonl");
        let read = formats::read(DataFormat::Avqa, &path, folder, &RowFilter::default()).unwrap();
        assert_eq!(read.problems, []);
        read.questions.iter().map(|question| (*question).clone()).collect()
    }

    #[test]
    fn rows_are_right_and_no_recording_is_on_both_sides() {
        for classes in [&["kick", "hi_hat"][..], &["kick", "hi_hat", "snare", "bell", "drone", "tom"]] {
            let home = sounds(classes);
            let cache = tempfile::tempdir().unwrap();
            let config = RecordedConfig { overlap: 0.5, ..config(home.path()) };
            let folder = prepare_in(cache.path(), &config).unwrap();
            let (train, heldout) = (read(&folder, Split::Train), read(&folder, Split::Heldout));
            assert_eq!((train.len(), heldout.len()), (120, 30));
            let sources = |rows: &[Question]| -> BTreeSet<String> {
                let sources = rows.iter().flat_map(|row| row.metadata["sources"].as_array().unwrap().clone());
                sources.map(|source| source.as_str().unwrap().to_owned()).collect()
            };
            assert!(sources(&train).is_disjoint(&sources(&heldout)));
            let kinds: BTreeSet<_> = train.iter().map(|row| row.kind.clone().unwrap()).collect();
            assert_eq!(kinds.len(), 6);
            let worlds = Worlds { recorded: config, ..Worlds::default() };
            for row in train.iter().chain(&heldout) {
                assert!(row.choices.contains(&row.answer) && row.audio_path.is_file());
                let target = crate::sft_target(row, TargetKind::Reasoning, &worlds, PromptStyle::Think, 1);
                let target = target.unwrap();
                let think = target.strip_prefix("<think>").unwrap().split_once("</think>").unwrap().0;
                let request = rewards::JudgeRequest {
                    question: row.clone().into(),
                    think: think.into(),
                    answer: row.answer.clone(),
                };
                let verdict = rewards::Judge::judge(&rewards::RulesJudge, &request);
                assert_eq!((verdict.consistency, verdict.think_quality), (Some(1.0), Some(1.0)), "{target}");
            }
        }
    }

    #[test]
    fn a_folder_with_the_same_recordings_has_the_same_world() {
        let cache = tempfile::tempdir().unwrap();
        let (one, other) = (sounds(&["kick", "bell"]), sounds(&["kick", "bell"]));
        let folder = prepare_in(cache.path(), &config(one.path())).unwrap();
        assert_eq!(prepare_in(cache.path(), &config(other.path())).unwrap(), folder);
        std::fs::write(other.path().join("kick/7.wav"), audio::wav_16_bit(&[0.3; 900])).unwrap();
        assert_ne!(prepare_in(cache.path(), &config(other.path())).unwrap(), folder);
    }

    #[test]
    fn recordings_that_cannot_be_heard_are_named_and_leave_no_folder() {
        let cache = tempfile::tempdir().unwrap();
        let home = sounds(&["kick", "bell"]);
        let broken = home.path().join("kick/broken.wav");
        for (content, problem) in
            [(b"no sound".to_vec(), "cannot be heard: "), (audio::wav_16_bit(&[0.0; 800]), "is silent; ")]
        {
            std::fs::write(&broken, content).unwrap();
            let error = prepare_in(cache.path(), &config(home.path())).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: {problem}", broken.display())), "{error}");
            assert!(error.ends_with("; convert it to WAV, or remove it"), "{error}");
        }
        assert_eq!(std::fs::read_dir(cache.path().join("recorded")).unwrap().count(), 0);
        let error = prepare_in(cache.path(), &RecordedConfig::default()).unwrap_err().to_string();
        assert!(error.starts_with("[data.recorded] sounds is missing; write the path"), "{error}");
    }
}
