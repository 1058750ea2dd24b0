//! The wording of questions about spoken words. Each kind has a few wordings to train on and one that is held out.

use rewards::ORDINALS;

use super::config::{Known, SpokenKind};
use crate::world::rng::Rng;
use crate::world::sequence::Ask;

/// The wordings of a kind: those that are trained on, and the one that is held out. `{}` is what is asked about.
fn wordings(kind: SpokenKind) -> (&'static [&'static str], &'static str) {
    match kind {
        SpokenKind::Word => (
            &["Which word is said?", "Which word do you hear?", "What word is spoken?"],
            "What is the word in this recording?",
        ),
        SpokenKind::Second => (
            &["Which word is said second?", "Which word comes second?"],
            "What is the second word in this recording?",
        ),
        SpokenKind::Ordinal => (
            &["Which word is said {}?", "Which word comes {}?", "What is the {} word?"],
            "Which one is the {} word in this recording?",
        ),
        SpokenKind::After => (
            &["Which word comes right after {}?", "Which word is said right after {}?"],
            "What is the word that follows {}?",
        ),
        SpokenKind::Twice => (
            &["Which word is said twice?", "Which word do you hear twice?"],
            "Which word occurs two times in this recording?",
        ),
        SpokenKind::Begins => (
            &["How many words begin with the letter {}?", "How many of the words start with the letter {}?"],
            "What is the number of words whose first letter is {}?",
        ),
        SpokenKind::Longest => (
            &["Which word has the most letters?", "Which word is the longest?"],
            "Which of the words is written with the most letters?",
        ),
    }
}

/// A wording of the question, with what it is about.
pub(super) fn wording(kind: SpokenKind, known: Known, ask: Ask, words: &[String], rng: &mut Rng) -> String {
    let (trained, heldout) = wordings(kind);
    let template = match known {
        Known::Trained => trained[rng.below(trained.len())],
        Known::Heldout => heldout,
    };
    match ask {
        Ask::Place(place) => template.replace("{}", ORDINALS[place]),
        Ask::After(place) => template.replace("{}", &words[place]),
        Ask::Begins(letter) => template.replace("{}", &letter.to_string()),
        Ask::Only | Ask::Last | Ask::Twice(_) | Ask::Longest(_) | Ask::Count => template.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wordings_name_what_they_ask_about() {
        let words = ["bread".to_owned(), "boat".to_owned()];
        let mut rng = Rng::new(1, "wording");
        let mut text = |kind, ask| wording(kind, Known::Heldout, ask, &words, &mut rng);
        assert_eq!(
            text(SpokenKind::Ordinal, Ask::Place(3)),
            "Which one is the fourth word in this recording?"
        );
        assert_eq!(text(SpokenKind::After, Ask::After(0)), "What is the word that follows bread?");
        assert_eq!(
            text(SpokenKind::Begins, Ask::Begins('b')),
            "What is the number of words whose first letter is b?"
        );
    }

    #[test]
    fn held_out_wordings_are_not_trained_on() {
        for kind in SpokenKind::ALL {
            let (trained, heldout) = wordings(kind);
            assert!(trained.len() >= 2 && !trained.contains(&heldout), "{kind:?}");
            let places = |text: &str| text.matches("{}").count();
            assert!(trained.iter().all(|text| places(text) == places(heldout)), "{kind:?}");
        }
    }
}
