//! How degenerate a text is: the share of its n-grams that are repeated, and the share of its letters in a foreign script.

use std::collections::{BTreeSet, HashSet};

/// The share of the n-grams of a completion that are repeated, 0 to 1. The n-grams are of words, lower case; tags count as
/// spaces. 0 for a text of fewer than `ngram` words.
pub fn repeated_share(completion: &str, ngram: usize) -> f64 {
    let text = ["<think>", "</think>", "<answer>", "</answer>"]
        .iter()
        .fold(completion.to_lowercase(), |text, tag| text.replace(tag, " "));
    let words: Vec<&str> = text.split_whitespace().collect();
    let ngrams = words.windows(ngram.max(1));
    let all = ngrams.len();
    let different = ngrams.collect::<HashSet<_>>().len();
    if all == different { 0.0 } else { 1.0 - different as f64 / all as f64 }
}

/// A script of Unicode; those that are not listed count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    /// Latin with all its diacritics.
    Latin,
    /// Greek and Coptic.
    Greek,
    /// Cyrillic.
    Cyrillic,
    /// Armenian.
    Armenian,
    /// Hebrew.
    Hebrew,
    /// Arabic, Syriac and Thaana.
    Arabic,
    /// The scripts of India, from Devanagari to Sinhala.
    Indic,
    /// Thai, Lao, Tibetan, Myanmar and Khmer.
    SoutheastAsian,
    /// Georgian.
    Georgian,
    /// Ethiopic.
    Ethiopic,
    /// Han, Hiragana, Katakana and Bopomofo, which are written together.
    HanAndKana,
    /// Hangul.
    Hangul,
    /// Every other script.
    Other,
}

/// The blocks of letters by script: first and last code point.
const BLOCKS: [(u32, u32, Script); 33] = [
    (0x0041, 0x024F, Script::Latin),
    (0x0250, 0x02FF, Script::Latin),
    (0x0370, 0x03FF, Script::Greek),
    (0x0400, 0x052F, Script::Cyrillic),
    (0x0530, 0x058F, Script::Armenian),
    (0x0590, 0x05FF, Script::Hebrew),
    (0x0600, 0x07BF, Script::Arabic),
    (0x08A0, 0x08FF, Script::Arabic),
    (0x0900, 0x0DFF, Script::Indic),
    (0x0E00, 0x109F, Script::SoutheastAsian),
    (0x10A0, 0x10FF, Script::Georgian),
    (0x1100, 0x11FF, Script::Hangul),
    (0x1200, 0x139F, Script::Ethiopic),
    (0x1780, 0x17FF, Script::SoutheastAsian),
    (0x1C80, 0x1C8F, Script::Cyrillic),
    (0x1C90, 0x1CBF, Script::Georgian),
    (0x1D00, 0x1DBF, Script::Latin),
    (0x1E00, 0x1EFF, Script::Latin),
    (0x1F00, 0x1FFF, Script::Greek),
    (0x2C60, 0x2C7F, Script::Latin),
    (0x2DE0, 0x2DFF, Script::Cyrillic),
    (0x3040, 0x312F, Script::HanAndKana),
    (0x3130, 0x318F, Script::Hangul),
    (0x31A0, 0x9FFF, Script::HanAndKana),
    (0xA640, 0xA69F, Script::Cyrillic),
    (0xA720, 0xA7FF, Script::Latin),
    (0xAC00, 0xD7FF, Script::Hangul),
    (0xF900, 0xFAFF, Script::HanAndKana),
    (0xFB00, 0xFB06, Script::Latin),
    (0xFB1D, 0xFB4F, Script::Hebrew),
    (0xFB50, 0xFEFF, Script::Arabic),
    (0xFF21, 0xFF5A, Script::Latin),
    (0x20000, 0x323AF, Script::HanAndKana),
];

impl Script {
    /// The script of a letter; `None` for a character that is no letter.
    pub fn of(letter: char) -> Option<Script> {
        if !letter.is_alphabetic() {
            return None;
        }
        let code = u32::from(letter);
        let block = BLOCKS.iter().find(|(first, last, _)| (*first..=*last).contains(&code));
        Some(block.map_or(Script::Other, |(_, _, script)| *script))
    }

    /// The scripts of a text.
    pub fn all_in(text: &str) -> BTreeSet<Script> {
        text.chars().filter_map(Script::of).collect()
    }
}

/// The letters of a completion, without its tags: how many are in another script than those in `known`, and how many there
/// are.
pub fn foreign_letters(completion: &str, known: &BTreeSet<Script>) -> (u64, u64) {
    let text = ["<think>", "</think>", "<answer>", "</answer>"]
        .iter()
        .fold(completion.to_owned(), |text, tag| text.replace(tag, " "));
    let scripts = text.chars().filter_map(Script::of);
    scripts.fold((0, 0), |(foreign, all), script| (foreign + u64::from(!known.contains(&script)), all + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_counts_every_n_gram_after_the_first_of_its_kind() {
        // Triples: a b c, b c a, c a b, a b c: one of four is repeated.
        assert_eq!(repeated_share("<think>a b c a B c</think>", 3), 0.25);
        assert_eq!(repeated_share("one two", 3), 0.0);
        assert_eq!(repeated_share("", 3), 0.0);
    }

    #[test]
    fn letters_are_foreign_if_no_prompt_has_their_script() {
        let known = Script::all_in("Which animal is heard? 42!");
        assert_eq!(known, [Script::Latin].into());
        // Of d, o, g and the two Han characters, two are foreign; digits and tags do not count.
        assert_eq!(foreign_letters("<answer>dog 狗叫 7</answer>", &known), (2, 5));
        assert_eq!(foreign_letters("Ärger, naïve ﬁ", &known).0, 0, "diacritics and ligatures are Latin");
        assert_eq!(foreign_letters("12 – 3", &known), (0, 0));
        for (letter, script) in [
            ('д', Script::Cyrillic),
            ('λ', Script::Greek),
            ('か', Script::HanAndKana),
            ('한', Script::Hangul),
            ('न', Script::Indic),
            ('ა', Script::Georgian),
            ('ᚠ', Script::Other),
        ] {
            assert_eq!(Script::of(letter), Some(script), "{letter}");
        }
    }
}
