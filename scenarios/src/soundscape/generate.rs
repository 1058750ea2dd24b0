//! Generates the files of the world: audio, and rows with questions about it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::clip::{FEWEST_EVENTS, MOST_EVENTS, Sound, render};
use super::config::{Kind, SoundscapesConfig};
use super::question::{Asked, ask};
use crate::cache::stable_hash;
use crate::error::ScenarioError;
use crate::world::encode;
use crate::world::files::{self, Generator};
use crate::world::rng::Rng;
use crate::world::settings::{AudioFormat, Split};

/// Has to be increased with every change of the generated files, so that folders of an older version are not used.
const GENERATOR_VERSION: u32 = 1;

/// Smallest number of events for which a sequence is used in one split only. A fifth of these sequences is held out.
const SPLIT_FROM: usize = 3;

/// The folder in `cache` with the files of the world. They are generated if they are not there.
///
/// Errors: A setting is out of its range, or the cache cannot be written.
pub(crate) fn prepare_in(cache: &Path, world: &SoundscapesConfig) -> Result<PathBuf, ScenarioError> {
    world.validate()?;
    files::prepare(cache, &format!("soundscapes/{:016x}", fingerprint(world)), || Ok(world))
}

/// A hash of the settings that the files depend on. Think rates and the flaw rate are not among them: targets are made
/// when they are needed.
fn fingerprint(world: &SoundscapesConfig) -> u64 {
    let shaping = json!([
        GENERATOR_VERSION,
        world.seed,
        [world.train_clips, world.heldout_clips],
        [world.train_questions_per_clip, world.heldout_questions_per_clip],
        world.train_kinds,
        world.eval_kinds,
        world.formats,
    ]);
    stable_hash(shaping.to_string().as_bytes())
}

impl Generator for &SoundscapesConfig {
    fn clips(&self, split: Split) -> usize {
        SoundscapesConfig::clips(self, split)
    }

    fn clip(&self, split: Split, number: usize) -> Result<files::Clip, ScenarioError> {
        let clip = Clip::draw(self, split, number);
        let samples = render(&clip.events, &mut Rng::new(self.seed, &format!("{} audio", clip.name)));
        let (audio, rows) = (encode::encode(&samples, clip.format), clip.rows(self));
        Ok(files::Clip { audio_path: clip.audio_path, audio, rows })
    }
}

/// The plan of a clip: everything except its samples.
struct Clip {
    split: Split,
    number: usize,
    name: String,
    events: Vec<Sound>,
    format: AudioFormat,
    audio_path: String,
}

impl Clip {
    fn draw(world: &SoundscapesConfig, split: Split, number: usize) -> Self {
        let name = format!("{}-{number:05}", split.name());
        let mut rng = Rng::new(world.seed, &format!("{name} plan"));
        let length = FEWEST_EVENTS + rng.below(MOST_EVENTS - FEWEST_EVENTS + 1);
        let events = loop {
            let events: Vec<Sound> = (0..length).map(|_| Sound::ALL[rng.below(Sound::ALL.len())]).collect();
            if length < SPLIT_FROM || is_held_out(&events) == (split == Split::Heldout) {
                break events;
            }
        };
        let formats = world.formats.iter().map(|(format, weight)| (*format, *weight));
        let format = rng.weighted(formats).unwrap_or(AudioFormat::Wav);
        let audio_path = format!("audio/{name}.{}", encode::extension(format));
        Self { split, number, name, events, format, audio_path }
    }

    /// The questions about this clip, as rows in the AVQA format.
    fn rows(&self, world: &SoundscapesConfig) -> Vec<Value> {
        let mut rng = Rng::new(world.seed, &format!("{} questions", self.name));
        let kinds = world.kinds(self.split).iter().map(|(kind, weight)| (*kind, *weight));
        let count = world.questions_per_clip(self.split);
        let mut row = |at: usize| {
            let kind = rng.weighted(kinds.clone()).unwrap_or(Kind::First);
            self.row(at, &ask(kind, &self.events, &mut rng))
        };
        (0..count).map(&mut row).collect()
    }

    fn row(&self, at: usize, asked: &Asked) -> Value {
        json!({
            "id": format!("{}-{at}-{}", self.name, asked.kind.name()),
            "video_name": self.name,
            "video_id": self.number,
            "question_text": asked.kind.wording(),
            "multi_choice": asked.choices,
            "answer": asked.answer,
            "question_relation": "Sound",
            "question_type": asked.kind.name(),
            "dataset_name": "soundscapes",
            "audio_path": self.audio_path,
            "difficulty": asked.difficulty,
            "kind": asked.kind.name(),
            "steps": asked.steps,
        })
    }
}

/// Whether a sequence of events is held out. This does not depend on the settings, so that a base policy trained in one
/// world has not been trained on sequences that are held out in another.
fn is_held_out(events: &[Sound]) -> bool {
    let names: Vec<u8> = events.iter().map(|&sound| sound as u8).collect();
    // The low bits of FNV-1a are not random enough, the high ones are.
    (stable_hash(&names) >> 32).is_multiple_of(5)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::DataFormat;
    use crate::formats::{self, RowFilter};

    fn small() -> SoundscapesConfig {
        SoundscapesConfig { train_clips: 24, heldout_clips: 6, ..SoundscapesConfig::default() }
    }

    fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.extend(contents(&path));
            } else {
                all.insert(path.file_name().unwrap().into(), std::fs::read(path).unwrap());
            }
        }
        all
    }

    #[test]
    fn the_same_settings_give_the_same_bytes() {
        let made = |world: &SoundscapesConfig| {
            let cache = tempfile::tempdir().unwrap();
            contents(&prepare_in(cache.path(), world).unwrap())
        };
        let files = made(&small());
        assert_eq!(files.len(), 24 + 6 + 2);
        assert!(files == made(&small()));
        assert!(files != made(&SoundscapesConfig { seed: 8, ..small() }));
    }

    #[test]
    fn a_folder_is_shared_by_settings_that_give_the_same_files() {
        let cache = tempfile::tempdir().unwrap();
        let folder = |world: SoundscapesConfig| prepare_in(cache.path(), &world).unwrap();
        let first = folder(small());
        assert_eq!(folder(SoundscapesConfig { flaw_rate: 0.0, think_rates: [].into(), ..small() }), first);
        assert_ne!(folder(SoundscapesConfig { train_clips: 25, ..small() }), first);
        assert_ne!(folder(SoundscapesConfig { formats: [(AudioFormat::Wav, 1.0)].into(), ..small() }), first);
    }

    #[test]
    fn settings_out_of_range_are_refused_before_anything_is_written() {
        let cache = tempfile::tempdir().unwrap();
        let error = prepare_in(cache.path(), &SoundscapesConfig { heldout_clips: 0, ..small() }).unwrap_err();
        assert_eq!(error.to_string(), "[data.soundscapes] heldout_clips is 0; write at least 1");
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
    }

    #[test]
    fn held_out_sequences_do_not_occur_in_training() {
        let world = SoundscapesConfig::default();
        let sequences = |split, world: &SoundscapesConfig| -> BTreeSet<Vec<Sound>> {
            let clips = (0..world.clips(split)).map(|number| Clip::draw(world, split, number).events);
            clips.filter(|events| events.len() >= SPLIT_FROM).collect()
        };
        let heldout = sequences(Split::Heldout, &world);
        assert!(heldout.len() > 100, "{}", heldout.len());
        // The same holds for training in a world with another seed.
        for seed in [world.seed, world.seed + 1] {
            let train = sequences(Split::Train, &SoundscapesConfig { seed, ..world.clone() });
            assert!(heldout.is_disjoint(&train));
        }
    }

    #[test]
    fn clips_have_two_to_seven_events_of_all_sounds_evenly() {
        let world = SoundscapesConfig { train_clips: 3000, ..SoundscapesConfig::default() };
        let (mut lengths, mut sounds) = (BTreeMap::new(), BTreeMap::new());
        for number in 0..3000 {
            let clip = Clip::draw(&world, Split::Train, number);
            *lengths.entry(clip.events.len()).or_insert(0usize) += 1;
            clip.events.iter().for_each(|sound| *sounds.entry(*sound).or_insert(0usize) += 1);
        }
        assert_eq!(lengths.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
        // Expected are 500 of each length (standard deviation 20) and 2700 of each sound (46 if no sequence were held out).
        assert!(lengths.values().all(|count| count.abs_diff(500) < 90), "{lengths:?}");
        assert!(sounds.len() == 5 && sounds.values().all(|count| count.abs_diff(2700) < 250), "{sounds:?}");
    }

    #[test]
    fn the_rows_are_read_back_by_the_avqa_reader() {
        let cache = tempfile::tempdir().unwrap();
        let world = small();
        let folder = prepare_in(cache.path(), &world).unwrap();
        let read = |split: Split| {
            let path = folder.join(split.name()).with_extension("jsonl");
            formats::read(DataFormat::Avqa, &path, &folder, &RowFilter::default()).unwrap()
        };
        let (train, heldout) = (read(Split::Train), read(Split::Heldout));
        let (train, heldout) = (train.questions, heldout.questions);
        assert_eq!((train.len(), heldout.len()), (24 * 6, 6 * 3));
        for question in train.iter().chain(&heldout) {
            assert!(question.audio_path.is_file() && question.choices.contains(&question.answer));
            let kind = Kind::from_name(question.kind.as_deref().unwrap()).unwrap();
            assert_eq!(question.text, kind.wording());
            let steps = question.steps.as_ref().unwrap();
            if !matches!(kind, Kind::First | Kind::Opening) {
                assert_eq!(question.difficulty, Some(kind.difficulty(steps.len())), "{}", question.id);
            }
            assert_eq!(question.metadata["dataset_name"], "soundscapes");
        }
    }

    #[test]
    fn half_of_the_training_questions_and_a_third_of_the_held_out_ones_are_hard() {
        let world = SoundscapesConfig { heldout_clips: 1500, ..SoundscapesConfig::default() };
        let shares = |split| {
            let rows =
                (0..world.clips(split)).flat_map(|number| Clip::draw(&world, split, number).rows(&world));
            let mut counts: BTreeMap<String, f64> = BTreeMap::new();
            let rows: Vec<Value> = rows.collect();
            for row in &rows {
                *counts.entry(row["difficulty"].as_str().unwrap().to_owned()).or_default() +=
                    1.0 / rows.len() as f64;
            }
            ["easy", "medium", "hard"].map(|difficulty| counts[difficulty])
        };
        // Easy 0.2 + 0.2 · 2/6, medium 0.2 · 4/6 + 0.6 · 1/6, hard 0.6 · 5/6.
        let near =
            |shares: [f64; 3], wanted: [f64; 3]| shares.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 0.03);
        let (train, heldout) = (shares(Split::Train), shares(Split::Heldout));
        assert!(near(train, [0.267, 0.233, 0.5]), "{train:?}");
        assert!(near(heldout, [1.0 / 3.0; 3]), "{heldout:?}");
    }
}
