//! Finds the choice that a piece of free thinking concludes.
//!
//! The concluding clause is the part of a sentence after the text's last `therefore`, `the answer is`, `so it`, …. Its
//! last choice is the conclusion. Denied choices (`not a dog`, `rather than a dog`, `the dog can be ruled out`) and
//! choices in a following reason (`because the cat is silent`) do not count. If no concluding clause names a choice,
//! the last sentence that names choices is used, provided it names only one.
//!
//! If the result is not clear, as in `a dog or a cat`, there is none: a missing grade is better than a guessed one.

use crate::Question;

mod names;
mod sentence;

use names::ChoiceNames;
use sentence::{Sentence, only_choice};

/// The index of the choice that the thinking concludes; `None` if it is not clear.
pub fn concluded_choice(think: &str, question: &Question) -> Option<usize> {
    let names = ChoiceNames::of(question)?;
    let sentences: Vec<Sentence> =
        split_sentences(think).into_iter().map(|text| Sentence::read(text, &names)).collect();
    let clause = sentences.iter().rev().find_map(|sentence| Some((sentence, sentence.conclusion_start()?)));
    if let Some((sentence, start)) = clause {
        let mentions = sentence.affirmed_from(start);
        if !mentions.is_empty() {
            return sentence.concluded(mentions);
        }
    }
    let mentions =
        sentences.iter().rev().map(|s| s.affirmed_from(0)).find(|mentions| !mentions.is_empty())?;
    only_choice(&mentions)
}

/// Splits a text at line ends and at full stops that are followed by white space, so that `3.5` is not split.
fn split_sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let ends = match c {
            '\n' | '。' | '！' | '？' => true,
            '.' | '!' | '?' => chars.peek().is_none_or(|(_, next)| next.is_whitespace()),
            _ => false,
        };
        if ends {
            let end = at + c.len_utf8();
            sentences.push(&text[start..end]);
            start = end;
        }
    }
    sentences.push(&text[start..]);
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(think: &str, choices: &[&str]) -> Option<usize> {
        let question = Question {
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            ..Question::default()
        };
        concluded_choice(think, &question)
    }

    const ANIMALS: [&str; 3] = ["dog", "cat", "a cow"];
    const DOG: Option<usize> = Some(0);
    const CAT: Option<usize> = Some(1);
    const COW: Option<usize> = Some(2);

    #[test]
    fn the_concluding_clause_counts_and_not_what_comes_before_it() {
        for (think, expected) in [
            ("I hear a dog and a cat. The bark is louder. So it is the dog.", DOG),
            ("It could be a dog. Therefore, the answer is cat.", CAT),
            ("The dog is loud, the cat is soft, so the answer must be a cow!", COW),
            ("There is barking, so dog", DOG),
            ("Final answer: cat", CAT),
            ("Thus I conclude that the sound is of a cow.\nThat is all.", COW),
            ("The dog is so loud that I think of a cat", None),
        ] {
            assert_eq!(concluded(think, &ANIMALS), expected, "{think}");
        }
    }

    #[test]
    fn without_a_concluding_clause_the_last_sentence_with_only_one_choice_counts() {
        assert_eq!(concluded("First a cat. Then I am sure of the dog. Yes.", &ANIMALS), DOG);
        assert_eq!(concluded("A cat, then a dog.", &ANIMALS), None);
        assert_eq!(concluded("So that settles it. The dog barks. Or rather the cat purrs.", &ANIMALS), CAT);
    }

    #[test]
    fn a_denied_choice_is_not_the_conclusion() {
        for (think, expected) in [
            ("So it is not a dog but a cat.", CAT),
            ("So it is the cat, not the dog.", CAT),
            ("Therefore it is a cat rather than a dog.", CAT),
            ("Hence the cat instead of the dog", CAT),
            ("Thus neither dog nor cat, it is a cow.", COW),
            ("So it isn't the sound of a dog, it's the cat", CAT),
            ("So the cat; the dog can be ruled out.", CAT),
            ("Thus the cat, since the dog is silent.", CAT),
            ("Thus, since the dog is silent, it must be the cat.", CAT),
            ("It is a cat. So it is not the dog.", CAT),
            ("So it is not the dog.", None),
        ] {
            assert_eq!(concluded(think, &ANIMALS), expected, "{think}");
        }
    }

    #[test]
    fn two_alternatives_are_no_conclusion() {
        assert_eq!(concluded("So it is a dog or a cat.", &ANIMALS), None);
        assert_eq!(concluded("Therefore either the dog and the cat", &ANIMALS), None);
    }

    #[test]
    fn letters_count_if_they_are_used_as_letters() {
        assert_eq!(concluded("It barks. So the answer is B.", &ANIMALS), CAT);
        assert_eq!(concluded("It barks. The answer is (a)", &ANIMALS), DOG);
        assert_eq!(concluded("Therefore option C is right.", &ANIMALS), COW);
        assert_eq!(concluded("So the answer is B. cat", &ANIMALS), CAT);
        assert_eq!(concluded("So the answer is a bird.", &ANIMALS), None, "an article");
    }

    #[test]
    fn the_longer_choice_is_found_if_two_begin_alike() {
        let choices = ["rain", "rain and thunder", "no"];
        assert_eq!(concluded("So it is rain and thunder.", &choices), Some(1));
        assert_eq!(concluded("So it is rain.", &choices), Some(0));
        assert_eq!(concluded("There is no bell, so the answer is no.", &choices), Some(2));
    }

    #[test]
    fn whole_numbers_and_fractions_are_told_apart() {
        let choices = ["3", "3.5", "35"];
        assert_eq!(concluded("1.5 and 2 make 3.5. So 3.5.", &choices), Some(1));
        assert_eq!(concluded("So it is 35", &choices), Some(2));
    }

    #[test]
    fn an_unclear_text_has_no_conclusion() {
        assert_eq!(concluded("", &ANIMALS), None);
        assert_eq!(concluded("So it is.", &ANIMALS), None);
        assert_eq!(concluded("So it is a dog.", &[]), None);
        assert_eq!(concluded("So a dog", &["a", "dog"]), None, "`a` could be an article");
        assert_eq!(concluded("So a dog", &["dog", "Dog."]), None, "two equal choices");
    }
}
