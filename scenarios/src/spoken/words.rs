//! The words: a list whose words are easy to tell apart, and groups that are not.
//!
//! Which words are held out depends on nothing but the words, so that a policy trained in one world has heard no word that is
//! held out in another.

use std::sync::LazyLock;

use super::config::Known;
use crate::cache::stable_hash;

/// Words that differ in three letters or more. Each is one token of SmolLM2 with a space in front.
static WORDS: LazyLock<[Vec<Vec<String>>; 2]> = LazyLock::new(|| parted(include_str!("words.txt")));

/// Groups of words that differ by a sound or two, one per line.
static NEAR: LazyLock<[Vec<Vec<String>>; 2]> = LazyLock::new(|| parted(include_str!("near_homophones.txt")));

/// The words of a part, in groups: of one word each, or near-homophones.
pub(super) fn groups(known: Known, near_homophones: bool) -> &'static [Vec<String>] {
    let parts = if near_homophones { &NEAR } else { &WORDS };
    match known {
        Known::Trained => &parts[0],
        Known::Heldout => &parts[1],
    }
}

/// The groups that are trained on and those that are held out, in the order of the file.
fn parted(text: &str) -> [Vec<Vec<String>>; 2] {
    let group = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (heldout, trained) = text.lines().map(group).partition(|group| is_held_out(group));
    [trained, heldout]
}

/// Three of twenty groups are held out.
fn is_held_out(group: &[String]) -> bool {
    // The low bits of FNV-1a are not random enough, the high ones are.
    (stable_hash(group.concat().as_bytes()) >> 32) % 20 < 3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::world::sequence::NUMBERS;

    fn all(near: bool) -> Vec<Vec<String>> {
        [groups(Known::Trained, near), groups(Known::Heldout, near)].concat()
    }

    /// The number of edits, by the method of Wagner and Fischer.
    fn distance(a: &str, b: &str) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.bytes().enumerate() {
            let mut last = std::mem::replace(&mut row[0], i + 1);
            for (j, y) in b.bytes().enumerate() {
                let here = (row[j + 1] + 1).min(row[j] + 1).min(last + usize::from(x != y));
                last = std::mem::replace(&mut row[j + 1], here);
            }
        }
        row[b.len()]
    }

    #[test]
    fn words_differ_in_three_letters_and_do_not_begin_alike() {
        let words = all(false).concat();
        assert_eq!(words.len(), 400);
        for (at, word) in words.iter().enumerate() {
            assert!(word.len() >= 4 && word.bytes().all(|letter| letter.is_ascii_lowercase()), "{word}");
            for other in &words[..at] {
                assert!(distance(word, other) >= 3 && word[..4] != other[..4], "{word} {other}");
            }
        }
    }

    #[test]
    fn no_word_has_a_meaning_in_a_question_or_in_a_thought() {
        let reserved =
            NUMBERS.iter().chain(&rewards::ORDINALS).chain(&["so", "then", "twice", "last", "longest"]);
        let words: BTreeSet<String> = [all(false), all(true)].concat().concat().into_iter().collect();
        for word in reserved {
            assert!(!words.contains(*word), "{word}");
        }
    }

    #[test]
    fn near_homophones_come_in_groups_of_three_or_more_and_each_word_once() {
        let groups = all(true);
        assert!(groups.len() >= 50 && groups.iter().all(|group| group.len() >= 3));
        let words = groups.concat();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
    }

    #[test]
    fn about_fifteen_percent_are_held_out_for_good() {
        let heldout = groups(Known::Heldout, false);
        // 60, standard deviation √(400·.15·.85) = 7.
        assert!(heldout.len().abs_diff(60) < 21, "{}", heldout.len());
        // Published results depend on these.
        assert_eq!(heldout[0], [FIRST_HELD_OUT]);
        assert!(groups(Known::Heldout, true).len() >= 5, "{:?}", groups(Known::Heldout, true));
    }

    const FIRST_HELD_OUT: &str = "battle";
}
