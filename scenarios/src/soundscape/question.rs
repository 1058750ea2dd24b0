//! Questions about a sequence of events: wording, choices, answer, and the reasoning steps that lead to it.
//!
//! The wordings are short, since each of their words is one token of the tiny policy.

use rewards::Difficulty;

use super::clip::{FEWEST_EVENTS, MOST_EVENTS, Sound};
use super::config::Kind;
use crate::world::rng::Rng;

/// Number of choices of a question, if the kind has as many answers.
const CHOICES: usize = 4;

/// A question about a sequence of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) choices: Vec<String>,
    /// Index of the right choice.
    pub(super) answer: usize,
    pub(super) difficulty: Difficulty,
    /// The reasoning steps, each of two words: the sound, and the running value after it.
    pub(super) steps: Vec<String>,
}

impl Kind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Kind; 6] = [Kind::First, Kind::Opening, Kind::Last, Kind::Count, Kind::Walk, Kind::Dial];

    /// Name of the kind in scenarios and data files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::First => "first",
            Kind::Opening => "opening",
            Kind::Last => "last",
            Kind::Count => "count",
            Kind::Walk => "walk",
            Kind::Dial => "dial",
        }
    }

    /// The kind with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The wording of questions of this kind.
    pub fn wording(self) -> &'static str {
        match self {
            Kind::First => "Which sound comes first?",
            Kind::Opening => "What kind of sound comes first?",
            Kind::Last => "Which sound comes last?",
            Kind::Count => "How many sounds are there?",
            Kind::Walk => "Add beep 1, buzz 2, chirp 3, drop 4, hiss 0. What is the sum modulo 5?",
            Kind::Dial => "Turn a 0-4 dial up from 2: beep 1, buzz 3, chirp 4, drop 2. Where does it end?",
        }
    }

    /// The difficulty of the question about a clip with this number of events.
    pub fn difficulty(self, events: usize) -> Difficulty {
        match self {
            Kind::First | Kind::Opening => Difficulty::Easy,
            Kind::Last | Kind::Count if events <= 3 => Difficulty::Easy,
            Kind::Last | Kind::Count => Difficulty::Medium,
            Kind::Walk | Kind::Dial if events <= 2 => Difficulty::Medium,
            Kind::Walk | Kind::Dial => Difficulty::Hard,
        }
    }

    /// All possible answers of this kind.
    pub(super) fn answers(self) -> Vec<String> {
        let numbers =
            |range: std::ops::RangeInclusive<usize>| range.map(|number| number.to_string()).collect();
        match self {
            Kind::First | Kind::Last => Sound::ALL.map(|sound| sound.name().to_owned()).to_vec(),
            Kind::Opening => ["tone", "sweep", "noise"].map(str::to_owned).to_vec(),
            Kind::Count => numbers(FEWEST_EVENTS..=MOST_EVENTS),
            Kind::Walk | Kind::Dial => numbers(0..=4),
        }
    }

    /// All possible running values, the second words of steps.
    pub(super) fn values(self) -> Vec<String> {
        match self {
            Kind::Opening | Kind::Walk | Kind::Dial => self.answers(),
            Kind::First | Kind::Last | Kind::Count => {
                (1..=MOST_EVENTS).map(|number| number.to_string()).collect()
            }
        }
    }

    /// The running value after each event: its position, its sort of sound, or a sum modulo 5.
    fn running_values(self, events: &[Sound]) -> Vec<String> {
        let sums = |start: usize, value: fn(Sound) -> usize| {
            let sum = events.iter().scan(start, move |sum, &sound| {
                *sum = (*sum + value(sound)) % 5;
                Some(sum.to_string())
            });
            sum.collect()
        };
        match self {
            Kind::First | Kind::Last | Kind::Count => {
                (1..=events.len()).map(|place| place.to_string()).collect()
            }
            Kind::Opening => events.iter().map(|&sound| sort(sound).to_owned()).collect(),
            Kind::Walk => sums(0, walk_value),
            Kind::Dial => sums(2, dial_value),
        }
    }
}

/// The sort of a sound, which is the answer of [`Kind::Opening`].
fn sort(sound: Sound) -> &'static str {
    match sound {
        Sound::Beep | Sound::Buzz => "tone",
        Sound::Chirp | Sound::Drop => "sweep",
        Sound::Hiss => "noise",
    }
}

/// The value of a sound in the wording of [`Kind::Walk`].
fn walk_value(sound: Sound) -> usize {
    match sound {
        Sound::Beep => 1,
        Sound::Buzz => 2,
        Sound::Chirp => 3,
        Sound::Drop => 4,
        Sound::Hiss => 0,
    }
}

/// How far a sound turns the dial in the wording of [`Kind::Dial`].
fn dial_value(sound: Sound) -> usize {
    match sound {
        Sound::Beep => 1,
        Sound::Buzz => 3,
        Sound::Chirp => 4,
        Sound::Drop => 2,
        Sound::Hiss => 0,
    }
}

/// Makes a question of this kind about a clip with these events. Wrong choices and the order of all choices are random.
pub(super) fn ask(kind: Kind, events: &[Sound], rng: &mut Rng) -> Asked {
    let heard = match kind {
        // These questions need the first event only.
        Kind::First | Kind::Opening => &events[..1],
        Kind::Last | Kind::Count | Kind::Walk | Kind::Dial => events,
    };
    let values = kind.running_values(heard);
    let steps = heard.iter().zip(&values).map(|(sound, value)| format!("{} {value}", sound.name())).collect();
    let right = match kind {
        Kind::First | Kind::Last => heard[heard.len() - 1].name().to_owned(),
        Kind::Opening | Kind::Count | Kind::Walk | Kind::Dial => values[values.len() - 1].clone(),
    };
    let mut choices = kind.answers();
    choices.retain(|choice| *choice != right);
    rng.shuffle(&mut choices);
    choices.truncate(CHOICES - 1);
    let answer = rng.below(choices.len() + 1);
    choices.insert(answer, right);
    Asked { kind, choices, answer, difficulty: kind.difficulty(events.len()), steps }
}

#[cfg(test)]
mod tests {
    use super::Sound::{Beep, Buzz, Chirp, Drop, Hiss};
    use super::*;

    fn asked(kind: Kind, events: &[Sound]) -> Asked {
        ask(kind, events, &mut Rng::new(11, "question"))
    }

    fn right(asked: &Asked) -> &str {
        &asked.choices[asked.answer]
    }

    #[test]
    fn a_known_clip_has_the_expected_answers() {
        let events = [Drop, Hiss, Buzz, Drop];
        let expected = [
            (Kind::First, "drop", Difficulty::Easy, vec!["drop 1"]),
            (Kind::Opening, "sweep", Difficulty::Easy, vec!["drop sweep"]),
            (Kind::Last, "drop", Difficulty::Medium, vec!["drop 1", "hiss 2", "buzz 3", "drop 4"]),
            (Kind::Count, "4", Difficulty::Medium, vec!["drop 1", "hiss 2", "buzz 3", "drop 4"]),
            // 4, 4 + 0, 4 + 2 = 6 = 1, 1 + 4 = 5 = 0 modulo 5.
            (Kind::Walk, "0", Difficulty::Hard, vec!["drop 4", "hiss 4", "buzz 1", "drop 0"]),
            // From 2: 2 + 2 = 4, 4, 4 + 3 = 7 = 2, 2 + 2 = 4 modulo 5.
            (Kind::Dial, "4", Difficulty::Hard, vec!["drop 4", "hiss 4", "buzz 2", "drop 4"]),
        ];
        for (kind, answer, difficulty, steps) in expected {
            let asked = asked(kind, &events);
            assert_eq!((right(&asked), asked.difficulty), (answer, difficulty), "{kind:?}");
            assert_eq!(asked.steps, steps, "{kind:?}");
        }
    }

    #[test]
    fn the_difficulty_depends_on_the_number_of_events() {
        use Difficulty::{Easy, Hard, Medium};
        for (kind, by_events) in [
            (Kind::First, [Easy, Easy, Easy]),
            (Kind::Last, [Easy, Easy, Medium]),
            (Kind::Count, [Easy, Easy, Medium]),
            (Kind::Walk, [Medium, Hard, Hard]),
            (Kind::Dial, [Medium, Hard, Hard]),
        ] {
            assert_eq!([2, 3, 4].map(|events| kind.difficulty(events)), by_events, "{kind:?}");
        }
    }

    #[test]
    fn choices_are_distinct_and_the_answer_is_at_any_position() {
        let mut rng = Rng::new(2, "choices");
        for kind in Kind::ALL {
            let mut places = [0; CHOICES];
            for _ in 0..400 {
                let asked = ask(kind, &[Beep, Chirp, Hiss, Hiss, Buzz], &mut rng);
                let mut distinct = asked.choices.clone();
                distinct.sort();
                distinct.dedup();
                let expected = if kind == Kind::Opening { 3 } else { 4 };
                assert_eq!((asked.choices.len(), distinct.len()), (expected, expected), "{kind:?}");
                places[asked.answer] += 1;
            }
            // At least 100 expected at each place, with standard deviation √(400·¼·¾) = 9.
            let used = if kind == Kind::Opening { 3 } else { 4 };
            assert!(places[..used].iter().all(|&count| count > 60), "{kind:?} {places:?}");
        }
    }

    #[test]
    fn the_values_in_the_wording_are_the_values_used() {
        let named = |wording: &str, sound: Sound| {
            let after = wording.split_once(sound.name()).map(|(_, rest)| rest);
            after
                .and_then(|rest| rest.chars().find(char::is_ascii_digit))
                .map(|digit| digit as usize - '0' as usize)
        };
        for sound in Sound::ALL {
            assert_eq!(named(Kind::Walk.wording(), sound), Some(walk_value(sound)));
            // A hiss does not turn the dial, so the wording does not mention it.
            assert_eq!(named(Kind::Dial.wording(), sound).unwrap_or(0), dial_value(sound));
        }
    }

    /// The corpus of the tiny policy's tokenizer: for each kind a line with the wording, one with all answers, and
    /// lines with all steps.
    fn corpus() -> String {
        let mut lines = Vec::new();
        for kind in Kind::ALL {
            lines.push(kind.wording().to_owned());
            lines.push(kind.answers().join(", "));
            for sound in Sound::ALL {
                let steps: Vec<_> =
                    kind.values().iter().map(|value| format!("{} {value}", sound.name())).collect();
                lines.push(format!("{} so {}", steps.join(" "), kind.answers().join(" ")));
            }
        }
        lines.join("\n") + "\n"
    }

    #[test]
    fn the_corpus_of_the_tokenizer_has_the_words_of_the_world() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tiny/corpus.txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, corpus()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, corpus(), "set BLESS=1, run again, then run scenarios/tiny/make_tokenizer.py");
    }

    #[test]
    fn every_word_of_the_world_is_one_token() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tiny/tokenizer.json");
        let tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
        for word in corpus().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            for token in [word.to_owned(), format!("Ġ{word}")] {
                assert!(vocabulary.contains_key(&token), "{token}: run scenarios/tiny/make_tokenizer.py");
            }
        }
    }
}
