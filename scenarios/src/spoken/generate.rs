//! Generates the files of the world of spoken words.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bank::{Bank, Voice};
use super::config::{Known, SpokenConfig, SpokenKind};
use super::plan::Plan;
use super::question::wording;
use crate::cache::stable_hash;
use crate::error::ScenarioError;
use crate::world::files::{self, Clip, Generator};
use crate::world::rng::Rng;
use crate::world::sequence::{self, Ask};
use crate::world::settings::Split;
use crate::world::{encode, numbered, sound};

/// Name of the world in the column `dataset_name`.
pub(crate) const NAME: &str = "spoken";

/// Has to be increased with every change of the generated files, so that folders of an older version are not used.
const GENERATOR_VERSION: u32 = 1;

/// How often one of the wrong choices is a word that is not said, though enough words are.
const FOREIGN: f64 = 0.25;
/// The letters that are asked for.
const LETTERS: &str = "abcdefghilmnoprstw";

/// The folder in `cache` with the files of the world. They are generated if they are not there.
///
/// Errors: A setting is out of its range, espeak-ng is missing, or the cache cannot be written.
pub(crate) fn prepare_in(cache: &Path, config: &SpokenConfig) -> Result<PathBuf, ScenarioError> {
    config.validate()?;
    files::prepare(cache, &format!("spoken/{:016x}", fingerprint(config)), || Spoken::new(cache, config))
}

/// A hash of the settings that the files depend on. Think rates and flaw rates are not among them: targets are made when they
/// are needed.
fn fingerprint(config: &SpokenConfig) -> u64 {
    let files = SpokenConfig { think_rates: [].into(), flaw_rate: 0.0, padding_rate: 0.0, ..config.clone() };
    stable_hash(json!([GENERATOR_VERSION, files]).to_string().as_bytes())
}

struct Spoken<'a> {
    config: &'a SpokenConfig,
    bank: Bank,
}

impl<'a> Spoken<'a> {
    /// The world with all of its words in the bank.
    fn new(cache: &Path, config: &'a SpokenConfig) -> Result<Self, ScenarioError> {
        let bank = Bank::open(cache)?;
        let mut words: Vec<(&Voice, String)> = Vec::new();
        let mut known = BTreeSet::new();
        for (split, clips) in [(Split::Train, config.train_clips), (Split::Heldout, config.heldout_clips)] {
            for number in 0..clips {
                let plan = Plan::draw(config, split, number);
                for word in plan.words {
                    if known.insert((plan.voice.name, word.clone())) {
                        words.push((plan.voice, word));
                    }
                }
            }
        }
        bank.add(&words.iter().map(|(voice, word)| (*voice, word.as_str())).collect::<Vec<_>>())?;
        Ok(Self { config, bank })
    }
}

impl Generator for Spoken<'_> {
    fn clips(&self, split: Split) -> usize {
        match split {
            Split::Train => self.config.train_clips,
            Split::Heldout => self.config.heldout_clips,
        }
    }

    fn clip(&self, split: Split, number: usize) -> Result<Clip, ScenarioError> {
        let plan = Plan::draw(self.config, split, number);
        let words = plan.words.iter().map(|word| self.bank.word(plan.voice, word));
        let words: Vec<Vec<f32>> = words.collect::<Result<_, _>>()?;
        let heard = heard(self.config, &plan.name, &words);
        let audio_path = format!("audio/{}.{}", plan.name, encode::extension(plan.format));
        let about = json!({
            "video_name": plan.name,
            "video_id": number,
            "question_relation": "Sound",
            "dataset_name": NAME,
            "audio_path": audio_path,
            "steps": numbered::steps(&plan.words),
            "transcript": plan.words.join(" "),
            "spans": sound::seconds(&heard.spans),
            "voice": plan.voice.name,
            "words": plan.known_words.name(),
            "voices": plan.voices.name(),
            "lengths": self.known_length(&plan).name(),
            "length": plan.words.len(),
            "channel": heard.channel,
            "near_homophones": if plan.near_homophones { "yes" } else { "no" },
        });
        let rows = self.rows(split, &plan, &about);
        Ok(Clip { audio_path, audio: encode::encode(&heard.samples, plan.format), rows })
    }
}

/// The sound of a clip.
struct Heard {
    samples: Vec<f32>,
    spans: Vec<[usize; 2]>,
    /// How it sounds: `clean`, or `room`, `noise` and `telephone`, joined by `+`.
    channel: String,
}

/// Joins the words of the clip with this name.
fn heard(config: &SpokenConfig, name: &str, words: &[Vec<f32>]) -> Heard {
    let mut rng = Rng::new(config.seed, &format!("{name} audio"));
    let (mut samples, spans) = sound::joined(words, config.pauses, None, &mut rng);
    let [room, noise, telephone] =
        [config.room, config.noise, config.telephone].map(|share| rng.chance(share));
    let snr = rng.between(config.snr[0], config.snr[1]);
    let mut channel = Vec::new();
    if room {
        samples = sound::in_room(&samples, &mut rng);
        channel.push("room");
    }
    if noise {
        sound::add_noise(&mut samples, snr, &mut rng);
        channel.push("noise");
    }
    if telephone {
        samples = sound::by_telephone(&samples);
        channel.push("telephone");
    }
    let channel = if channel.is_empty() { "clean".to_owned() } else { channel.join("+") };
    Heard { samples: sound::limited(samples), spans, channel }
}

impl Spoken<'_> {
    fn known_length(&self, plan: &Plan) -> Known {
        let trained = plan.words.len() < 4 || self.config.train_lengths.contains(&plan.words.len());
        if trained { Known::Trained } else { Known::Heldout }
    }

    /// The rows about a clip, each with the columns `about` that they share.
    fn rows(&self, split: Split, plan: &Plan, about: &Value) -> Vec<Value> {
        let mut rng = Rng::new(self.config.seed, &format!("{} questions", plan.name));
        let mut row = |(at, &kind): (usize, &SpokenKind)| {
            let ask = ask(kind, &plan.words, &mut rng);
            let (answer, conclusion) = sequence::answer(ask, &plan.words);
            let known = match split {
                Split::Train => Known::Trained,
                Split::Heldout => {
                    let wordings = self.config.eval_wordings.iter().map(|(known, weight)| (*known, *weight));
                    rng.weighted(wordings).unwrap_or(Known::Trained)
                }
            };
            let text = wording(kind, known, ask, &plan.words, &mut rng);
            let (choices, answer) = match ask {
                Ask::Begins(_) => {
                    let numbers: Vec<String> =
                        sequence::NUMBERS[..sequence::CHOICES].iter().map(|&number| number.into()).collect();
                    sequence::choices(&answer, &numbers, &[], 0.0, &mut rng)
                }
                Ask::After(place) => {
                    let near: Vec<String> =
                        plan.words.iter().filter(|word| **word != plan.words[place]).cloned().collect();
                    sequence::choices(&answer, &near, &plan.others, FOREIGN, &mut rng)
                }
                _ => sequence::choices(&answer, &plan.words, &plan.others, FOREIGN, &mut rng),
            };
            let mut row = json!({
                "id": format!("{}-{at}-{}", plan.name, kind.name()),
                "question_text": text,
                "multi_choice": choices,
                "answer": answer,
                "question_type": kind.name(),
                "kind": kind.name(),
                "difficulty": kind.difficulty(),
                "conclusion": conclusion,
                "wordings": known.name(),
            });
            if let (Some(row), Some(about)) = (row.as_object_mut(), about.as_object()) {
                row.extend(about.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            row
        };
        plan.kinds.iter().enumerate().map(&mut row).collect()
    }
}

/// What a question of this kind asks about these words.
fn ask(kind: SpokenKind, words: &[String], rng: &mut Rng) -> Ask {
    let place = Ask::Place(rng.below(words.len()));
    match kind {
        SpokenKind::Word => Ask::Only,
        SpokenKind::Second => Ask::Place(1),
        SpokenKind::Ordinal => place,
        SpokenKind::After => {
            let mut places = sequence::places(words, 1);
            places.retain(|&place| place + 1 < words.len());
            rng.pick(&places).map_or(place, |&place| Ask::After(place))
        }
        SpokenKind::Twice => sequence::places(words, 2).first().map_or(place, |&place| Ask::Twice(place)),
        SpokenKind::Longest => sequence::longest(words).map_or(place, Ask::Longest),
        SpokenKind::Begins => Ask::Begins(letter(words, rng)),
    }
}

/// A letter with which up to three of the words begin; sometimes none.
fn letter(words: &[String], rng: &mut Rng) -> char {
    let begin = |letter: char| words.iter().filter(|word| word.starts_with(letter)).count();
    let twice = sequence::places(words, 2);
    let counted = |letter: char| !twice.iter().any(|&place| words[place].starts_with(letter));
    let all: Vec<char> = LETTERS.chars().filter(|&letter| counted(letter)).collect();
    let wanted = rng.below(sequence::CHOICES);
    // The count that was drawn, or else the next smaller one: there are letters with which no word begins.
    let letters = (0..=wanted).rev().find_map(|count| {
        let letters: Vec<char> = all.iter().copied().filter(|&letter| begin(letter) == count).collect();
        (!letters.is_empty()).then_some(letters)
    });
    letters.and_then(|letters| rng.pick(&letters).copied()).unwrap_or('x')
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rewards::Question;

    use super::*;
    use crate::formats::{self, RowFilter};
    use crate::{DataFormat, PromptStyle, TargetKind, World, Worlds};

    /// Whether espeak-ng is missing, which is said, and refused where REQUIRE_ESPEAK is set.
    fn no_espeak() -> bool {
        let cache = tempfile::tempdir().unwrap();
        let missing = Bank::open(cache.path()).err();
        if let Some(error) = &missing {
            assert!(std::env::var_os("REQUIRE_ESPEAK").is_none(), "{error}");
            eprintln!("skipped: {error}");
        }
        missing.is_some()
    }

    fn small() -> SpokenConfig {
        SpokenConfig { train_clips: 12, heldout_clips: 8, ..SpokenConfig::default() }
    }

    fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let audio = std::fs::read_dir(folder.join("audio")).unwrap().map(|entry| entry.unwrap().path());
        let rows = ["train.jsonl", "heldout.jsonl"].map(|name| folder.join(name));
        let all = audio.chain(rows);
        all.map(|path| (path.strip_prefix(folder).unwrap().into(), std::fs::read(&path).unwrap())).collect()
    }

    fn read(folder: &Path, split: Split) -> Vec<Question> {
        let path = folder.join(split.name()).with_extension("jsonl");
        let read = formats::read(DataFormat::Avqa, &path, folder, &RowFilter::default()).unwrap();
        assert_eq!(read.problems, []);
        read.questions.iter().map(|question| (*question).clone()).collect()
    }

    #[test]
    fn the_same_settings_give_the_same_bytes_and_others_give_others() {
        if no_espeak() {
            return;
        }
        let made = |config: &SpokenConfig| {
            let cache = tempfile::tempdir().unwrap();
            contents(&prepare_in(cache.path(), config).unwrap())
        };
        let files = made(&small());
        assert_eq!(files.len(), 12 + 8 + 2);
        assert!(files == made(&small()));
        let shares = SpokenConfig { noise: 0.5, room: 0.5, telephone: 0.5, ..small() };
        let noisy = made(&shares);
        assert!(noisy == made(&shares) && noisy != files);
        let channels = String::from_utf8(noisy[Path::new("train.jsonl")].clone()).unwrap();
        assert!(channels.contains("noise") && channels.contains("room") && channels.contains("telephone"));
    }

    #[test]
    fn rows_are_read_back_with_spans_in_the_clip_and_thinking_that_the_rules_find_right() {
        if no_espeak() {
            return;
        }
        let cache = tempfile::tempdir().unwrap();
        let config = SpokenConfig { heldout_clips: 40, ..small() };
        let folder = prepare_in(cache.path(), &config).unwrap();
        let (train, heldout) = (read(&folder, Split::Train), read(&folder, Split::Heldout));
        assert_eq!((train.len(), heldout.len()), (24, 40));
        let worlds = Worlds { spoken: config, ..Worlds::default() };
        for question in train.iter().chain(&heldout) {
            let clip = audio::load(&question.audio_path, &audio::Hearing::default()).unwrap();
            let seconds = clip.samples.len() as f64 / f64::from(audio::SAMPLE_RATE);
            let said: Vec<&str> = question.metadata["transcript"].as_str().unwrap().split(' ').collect();
            let spans = question.metadata["spans"].as_array().unwrap();
            assert_eq!(said.len(), spans.len());
            let mut before = 0.0;
            for span in spans {
                let [from, to] = [0, 1].map(|end| span[end].as_f64().unwrap());
                assert!(before < from && from + 0.1 < to && to < seconds, "{spans:?} {seconds}");
                before = to;
                let loud = &clip.samples[(from * 16_000.0) as usize..(to * 16_000.0) as usize];
                assert!(loud.iter().any(|sample| sample.abs() > 0.05), "{}", question.id);
            }
            let target = crate::sft_target(question, TargetKind::Reasoning, &worlds, PromptStyle::Think, 1);
            let target = target.unwrap();
            let think = target.strip_prefix("<think>").unwrap().split_once("</think>").unwrap().0.to_owned();
            let request = rewards::JudgeRequest {
                question: question.clone().into(),
                think,
                answer: question.answer.clone(),
            };
            let verdict = rewards::Judge::judge(&rewards::RulesJudge, &request);
            assert_eq!((verdict.consistency, verdict.think_quality), (Some(1.0), Some(1.0)), "{target}");
        }
        let values = |rows: &[Question], column: &str| -> BTreeSet<String> {
            rows.iter().map(|row| row.metadata[column].as_str().unwrap().to_owned()).collect()
        };
        for column in ["words", "voices", "wordings"] {
            assert_eq!(values(&train, column), ["trained".to_owned()].into(), "{column}");
            assert_eq!(values(&heldout, column).len(), 2, "{column}");
        }
    }

    #[test]
    fn a_word_is_synthesized_once_and_a_world_needs_no_program_any_more() {
        if no_espeak() {
            return;
        }
        let cache = tempfile::tempdir().unwrap();
        let folder = prepare_in(cache.path(), &small()).unwrap();
        let worlds = Worlds { spoken: SpokenConfig { flaw_rate: 1.0, ..small() }, ..Worlds::default() };
        assert_eq!(worlds.prepare_in(cache.path(), World::Spoken).unwrap(), folder);
        let bank = std::fs::read_dir(cache.path().join("spoken")).unwrap();
        let bank = bank.map(|entry| entry.unwrap().path()).find(|path| *path != folder).unwrap();
        // A word of the bank that is changed is heard in the next world, so it was not made again.
        let word = std::fs::read_dir(bank.join("en-us")).unwrap().next().unwrap().unwrap().path();
        std::fs::write(&word, audio::wav_16_bit(&[0.5; 1600])).unwrap();
        prepare_in(cache.path(), &SpokenConfig { pauses: [0.2, 0.2], ..small() }).unwrap();
        assert_eq!(std::fs::read(&word).unwrap(), audio::wav_16_bit(&[0.5; 1600]));
    }

    #[test]
    fn letters_have_up_to_three_words() {
        let words = ["sand", "stone", "sun", "salt", "boat", "boat", "tree"].map(str::to_owned);
        let mut rng = Rng::new(1, "letters");
        let letters: BTreeSet<char> = (0..200).map(|_| letter(&words, &mut rng)).collect();
        // Four words begin with s, and the word that is said twice with b.
        assert!(!letters.contains(&'s') && !letters.contains(&'b') && letters.contains(&'t'), "{letters:?}");
    }
}
