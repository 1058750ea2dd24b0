//! The plan of a clip: its words, its voice, and the kinds of its questions. Everything but the sound and the wordings.

use std::collections::BTreeSet;

use rewards::Difficulty;

use super::bank::{Voice, voices};
use super::config::{Known, SpokenConfig, SpokenKind};
use super::words;
use crate::cache::stable_hash;
use crate::world::rng::Rng;
use crate::world::sequence;
use crate::world::settings::{AudioFormat, Split};

/// Most words of a clip that begin with the letter that is asked for.
const MOST_BEGINNINGS: usize = 3;
/// The number of words in a clip with medium questions.
const MEDIUM_LENGTH: usize = 3;
/// How often words are drawn until they allow the questions. Each time is likely to succeed.
const ATTEMPTS: usize = 1000;

/// The plan of a clip.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) voice: &'static Voice,
    pub(super) voices: Known,
    pub(super) known_words: Known,
    pub(super) near_homophones: bool,
    pub(super) words: Vec<String>,
    /// Words that may be choices beside those of the clip; those that sound like them first.
    pub(super) others: Vec<String>,
    /// The kind of each question.
    pub(super) kinds: Vec<SpokenKind>,
    pub(super) format: AudioFormat,
}

impl Plan {
    pub(super) fn draw(config: &SpokenConfig, split: Split, number: usize) -> Self {
        let name = format!("{}-{number:05}", split.name());
        let mut rng = Rng::new(config.seed, &format!("{name} plan"));
        let mut kinds = draw_kinds(config, split, &mut rng);
        let length = match kinds[0].difficulty() {
            Difficulty::Easy => 1,
            Difficulty::Medium => MEDIUM_LENGTH,
            Difficulty::Hard => rng.pick(config.lengths(split)).copied().unwrap_or(5),
        };
        let part = |weights: &std::collections::BTreeMap<Known, f64>, rng: &mut Rng| match split {
            Split::Train => Known::Trained,
            Split::Heldout => rng
                .weighted(weights.iter().map(|(known, weight)| (*known, *weight)))
                .unwrap_or(Known::Trained),
        };
        let known_words = part(&config.eval_words, &mut rng);
        let known_voice = part(&config.eval_voices, &mut rng);
        let choice = voices(known_voice);
        let voice = &choice[rng.below(choice.len())];
        let near_homophones = rng.chance(config.near_homophones);
        let groups = words::groups(known_words, near_homophones);
        let formats = config.formats.iter().map(|(format, weight)| (*format, *weight));
        let format = rng.weighted(formats).unwrap_or(AudioFormat::Wav);
        let twice = kinds.contains(&SpokenKind::Twice);
        let letter = kinds.contains(&SpokenKind::Begins).then(|| draw_letter(groups, &mut rng));
        let mut drawn = Vec::new();
        for _ in 0..ATTEMPTS {
            drawn = draw_words(groups, length, twice, letter, &mut rng);
            let longest = !kinds.contains(&SpokenKind::Longest) || sequence::longest(&drawn).is_some();
            if longest && (known_words == Known::Heldout || fits(&drawn, split)) {
                break;
            }
        }
        // Words of one length only have no longest.
        if sequence::longest(&drawn).is_none() {
            kinds.iter_mut().filter(|kind| **kind == SpokenKind::Longest).for_each(|kind| {
                *kind = SpokenKind::Ordinal;
            });
        }
        let others = others(groups, &drawn, near_homophones);
        Self {
            name,
            voice,
            voices: known_voice,
            known_words,
            near_homophones,
            words: drawn,
            others,
            kinds,
            format,
        }
    }
}

/// The kinds of a clip's questions: the difficulty decides how many words it has, so that all have the same.
fn draw_kinds(config: &SpokenConfig, split: Split, rng: &mut Rng) -> Vec<SpokenKind> {
    let weights = config.kinds(split).iter().map(|(kind, weight)| (*kind, *weight));
    let first = rng.weighted(weights.clone()).unwrap_or(SpokenKind::Word);
    let alike = weights.filter(|(kind, _)| kind.difficulty() == first.difficulty());
    let further = (1..config.questions_per_clip(split)).map(|_| rng.weighted(alike.clone()).unwrap_or(first));
    std::iter::once(first).chain(further).collect()
}

/// A letter with which some words begin; one that more words begin with is likelier.
fn draw_letter(groups: &[Vec<String>], rng: &mut Rng) -> char {
    let letters: Vec<char> = groups.iter().flatten().filter_map(|word| word.chars().next()).collect();
    rng.pick(&letters).copied().unwrap_or('s')
}

/// Different words; with `twice`, one of them comes again. With a letter, none to three of them begin with it.
fn draw_words(
    groups: &[Vec<String>],
    length: usize,
    twice: bool,
    letter: Option<char>,
    rng: &mut Rng,
) -> Vec<String> {
    let mut order: Vec<&Vec<String>> = groups.iter().collect();
    rng.shuffle(&mut order);
    let mut pool: Vec<&String> = Vec::new();
    for group in order {
        let mut group: Vec<&String> = group.iter().collect();
        rng.shuffle(&mut group);
        pool.extend(group);
    }
    let distinct = length - usize::from(twice);
    let (mut begin, mut others): (Vec<&String>, Vec<&String>) =
        pool.into_iter().partition(|word| letter.is_some_and(|letter| word.starts_with(letter)));
    // The word that comes twice is none of them, so that it is clear what is counted.
    let most = MOST_BEGINNINGS.min(distinct - usize::from(twice));
    begin.truncate(rng.below(most + 1));
    others.truncate(distinct - begin.len());
    let mut words: Vec<String> = begin.iter().chain(&others).map(|word| (*word).clone()).collect();
    rng.shuffle(&mut words);
    if twice && let Some(again) = rng.pick(&others) {
        words.insert(rng.below(words.len() + 1), (*again).clone());
    }
    words
}

/// Whether a sequence of words that are trained on belongs to this part. A fifth of them is held out, whatever the settings.
fn fits(words: &[String], split: Split) -> bool {
    // The low bits of FNV-1a are not random enough, the high ones are.
    let heldout = (stable_hash(words.join(" ").as_bytes()) >> 32).is_multiple_of(5);
    words.len() < 2 || heldout == (split == Split::Heldout)
}

/// Choices that are not in the clip. Near-homophones of its words come alone, if there are enough of them.
fn others(groups: &[Vec<String>], words: &[String], near_homophones: bool) -> Vec<String> {
    let said: BTreeSet<&String> = words.iter().collect();
    let unsaid = |group: &Vec<String>| -> Vec<String> {
        group.iter().filter(|word| !said.contains(word)).cloned().collect()
    };
    if near_homophones {
        let near = groups.iter().filter(|group| group.iter().any(|word| said.contains(word)));
        let near: Vec<String> = near.flat_map(unsaid).collect();
        if near.len() + said.len() >= sequence::CHOICES {
            return near;
        }
    }
    groups.iter().flat_map(unsaid).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn plans(config: &SpokenConfig, split: Split, count: usize) -> Vec<Plan> {
        (0..count).map(|number| Plan::draw(config, split, number)).collect()
    }

    #[test]
    fn training_has_nothing_that_is_held_out() {
        // SPOKEN-1 and SPOKEN-2, also for another seed and for near-homophones.
        let config = SpokenConfig { near_homophones: 0.3, ..SpokenConfig::default() };
        let heldout = plans(&config, Split::Heldout, 1000);
        let other = SpokenConfig { seed: 8, ..config.clone() };
        let train = [plans(&config, Split::Train, 1000), plans(&other, Split::Train, 1000)].concat_all();
        let heldout_words: BTreeSet<&String> = [false, true]
            .into_iter()
            .flat_map(|near| words::groups(Known::Heldout, near).iter().flatten())
            .collect();
        for plan in &train {
            assert!(plan.words.iter().chain(&plan.others).all(|word| {
                // A word may be in the list and in a group; it is then held out as what it is there.
                !heldout_words.contains(word)
                    || words::groups(Known::Trained, plan.near_homophones).concat().contains(word)
            }));
            assert!(voices(Known::Trained).iter().any(|voice| voice.name == plan.voice.name));
            assert!([1, 3, 4, 5, 6].contains(&plan.words.len()));
        }
        let trained: BTreeSet<&Vec<String>> = train.iter().map(|plan| &plan.words).collect();
        let again = heldout.iter().filter(|plan| plan.words.len() > 1 && trained.contains(&plan.words));
        assert_eq!(again.count(), 0);
        assert!(heldout.iter().any(|plan| plan.words.len() == 7));
        // A quarter of each combination: 250, standard deviation √(1000·¼·¾) = 14.
        let mut cells = BTreeMap::new();
        for plan in &heldout {
            *cells.entry((plan.known_words, plan.voices)).or_insert(0_usize) += 1;
        }
        assert!(cells.len() == 4 && cells.values().all(|count| count.abs_diff(250) < 56), "{cells:?}");
    }

    trait ConcatAll {
        fn concat_all(self) -> Vec<Plan>;
    }

    impl ConcatAll for [Vec<Plan>; 2] {
        fn concat_all(self) -> Vec<Plan> {
            self.into_iter().flatten().collect()
        }
    }

    #[test]
    fn kinds_have_their_shares_and_the_words_that_they_need() {
        let config = SpokenConfig::default();
        let mut counts: BTreeMap<SpokenKind, usize> = BTreeMap::new();
        for plan in plans(&config, Split::Train, 4000) {
            for kind in &plan.kinds {
                *counts.entry(*kind).or_default() += 1;
                assert_eq!(kind.difficulty(), plan.kinds[0].difficulty());
            }
            let twice = sequence::places(&plan.words, 2).len();
            assert_eq!(twice, if plan.kinds.contains(&SpokenKind::Twice) { 2 } else { 0 });
            if plan.kinds.contains(&SpokenKind::Longest) {
                assert!(sequence::longest(&plan.words).is_some(), "{:?}", plan.words);
            }
        }
        // 8000 questions; the two of a clip are alike, so √(2·8000·.2·.8) = 51 is their standard deviation.
        for (kind, share) in &config.train_kinds {
            let expected = (8000.0 * share) as usize;
            assert!(counts[kind].abs_diff(expected) < 205, "{kind:?} {}", counts[kind]);
        }
    }

    #[test]
    fn words_that_begin_with_a_letter_are_none_to_three_and_not_the_one_said_twice() {
        let groups = words::groups(Known::Trained, false);
        let mut counts = [0_usize; 4];
        let mut rng = Rng::new(3, "letters");
        for _ in 0..2000 {
            let words = draw_words(groups, 4, true, Some('s'), &mut rng);
            assert_eq!(words.len(), 4);
            let twice = &words[sequence::places(&words, 2)[0]];
            assert!(!twice.starts_with('s'));
            counts[words.iter().filter(|word| word.starts_with('s')).count()] += 1;
        }
        // None, one or two of three different words: 667 each, standard deviation 21.
        assert!(counts[3] == 0 && counts[..3].iter().all(|count| count.abs_diff(667) < 84), "{counts:?}");
    }

    #[test]
    fn near_homophones_are_said_together_and_chosen_from() {
        // In a clip with a question about first letters, the letter decides which words are said.
        let mut kinds = SpokenConfig::default().train_kinds;
        kinds.remove(&SpokenKind::Begins);
        let config = SpokenConfig { near_homophones: 1.0, train_kinds: kinds, ..SpokenConfig::default() };
        for plan in plans(&config, Split::Train, 300) {
            let groups = words::groups(Known::Trained, true);
            let group = |word: &String| groups.iter().position(|group| group.contains(word)).unwrap();
            let said: BTreeSet<usize> = plan.words.iter().map(group).collect();
            assert!(said.len() < plan.words.len() || plan.words.len() == 1, "{:?}", plan.words);
        }
    }
}
