//! Makes the world's files: audio, and the rows of questions about it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::clip::{FEWEST_EVENTS, MOST_EVENTS, Sound, render};
use super::config::{AudioFormat, Kind, WorldConfig};
use super::encode;
use super::question::{Asked, ask};
use super::rng::Rng;
use crate::cache::{cache_dir, make_once, stable_hash};
use crate::dataset::{DataError, Split};

/// Goes up with every change of what the same settings give, so that older folders are not taken for it.
const GENERATOR_VERSION: u32 = 1;

/// From this many events on, a sequence belongs to one split only: every fifth one is held out.
const SPLIT_FROM: usize = 3;

/// The folder with the world's files, made now if it is not in the cache: `train.jsonl`, `heldout.jsonl`, `audio/`.
///
/// # Errors
/// When a setting is out of its range or the cache cannot be written.
pub fn prepare(world: &WorldConfig) -> Result<PathBuf, DataError> {
    prepare_in(&cache_dir(), world)
}

/// As [`prepare`], with another cache folder.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_in(cache: &Path, world: &WorldConfig) -> Result<PathBuf, DataError> {
    world.validate().map_err(DataError::World)?;
    let folder = cache.join("soundscapes").join(format!("{:016x}", fingerprint(world)));
    make_once(&folder, |unfinished| write_world(unfinished, world), failed_to_write)?;
    Ok(folder)
}

fn failed_to_write(path: &Path, source: std::io::Error) -> DataError {
    DataError::Write { path: path.into(), source }
}

/// Names the folder by what shapes its files; think rates and flaws are drawn when they are asked for.
fn fingerprint(world: &WorldConfig) -> u64 {
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

fn write_world(folder: &Path, world: &WorldConfig) -> Result<(), DataError> {
    let audio = folder.join("audio");
    std::fs::create_dir(&audio).map_err(|error| failed_to_write(&audio, error))?;
    for split in [Split::Train, Split::Heldout] {
        write_clips(folder, world, split)?;
        let path = folder.join(split.name()).with_extension("jsonl");
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            for clip in 0..world.clips(split) {
                for row in Clip::draw(world, split, clip).rows(world) {
                    writeln!(file, "{row}")?;
                }
            }
            file.flush()
        };
        write().map_err(|error| failed_to_write(&path, error))?;
    }
    Ok(())
}

/// Writes a split's audio, on all cores: each clip depends on its own number only.
fn write_clips(folder: &Path, world: &WorldConfig, split: Split) -> Result<(), DataError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), DataError> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= world.clips(split) {
                return Ok(());
            }
            let clip = Clip::draw(world, split, number);
            let samples = render(&clip.events, &mut Rng::new(world.seed, &format!("{} audio", clip.name)));
            let path = folder.join(&clip.audio_path);
            std::fs::write(&path, encode::encode(&samples, clip.format))
                .map_err(|error| failed_to_write(&path, error))?;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// A clip's plan: everything but its samples.
struct Clip {
    split: Split,
    number: usize,
    name: String,
    events: Vec<Sound>,
    format: AudioFormat,
    audio_path: String,
}

impl Clip {
    fn draw(world: &WorldConfig, split: Split, number: usize) -> Self {
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

    /// The rows about this clip, in the AVQA layout.
    fn rows(&self, world: &WorldConfig) -> Vec<Value> {
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

/// Whether a sequence of events is kept from training. Independent of the world's settings, so that a base trained in
/// one world has not heard what another holds out.
fn is_held_out(events: &[Sound]) -> bool {
    let names: Vec<u8> = events.iter().map(|&sound| sound as u8).collect();
    // The low bits of FNV-1a are poor; the high ones are not.
    (stable_hash(&names) >> 32) % 5 == 0
}
