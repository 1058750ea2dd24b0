//! The names of a question's choices in running text.

use crate::Question;
use crate::matching::{bare_choices, letters_name_choices, words};

/// The words and letters by which running text names the choices.
pub(super) struct ChoiceNames {
    /// The words of each choice.
    texts: Vec<Vec<String>>,
    letters: bool,
}

impl ChoiceNames {
    /// The names of a question's choices; `None` if there are no choices, two are equal, or one could be a common word.
    pub(super) fn of(question: &Question) -> Option<Self> {
        let texts: Vec<Vec<String>> = bare_choices(question).into_iter().map(words).collect();
        let article = |text: &Vec<String>| matches!(text.as_slice(), [word] if word == "a" || word == "i");
        let twice = (1..texts.len()).any(|index| texts[..index].contains(&texts[index]));
        let unusable = texts.is_empty() || twice || texts.iter().any(|text| text.is_empty() || article(text));
        (!unusable).then(|| Self { letters: letters_name_choices(question), texts })
    }

    /// The choice whose text begins these words, the longest one if there are several, and its length in words.
    pub(super) fn text_at(&self, words: &[String]) -> Option<(usize, usize)> {
        let fitting = self.texts.iter().enumerate().filter(|(_, text)| words.starts_with(text));
        fitting.map(|(choice, text)| (choice, text.len())).max_by_key(|(_, length)| *length)
    }

    /// The choice that a single letter names.
    pub(super) fn letter(&self, word: &str) -> Option<usize> {
        let [byte @ b'a'..=b'z'] = word.as_bytes() else { return None };
        let choice = usize::from(byte - b'a');
        (self.letters && choice < self.texts.len()).then_some(choice)
    }
}
