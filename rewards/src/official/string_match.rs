//! The string match of MMAU's and MMAR's `evaluation.py`.

use std::collections::BTreeSet;

use unicode_normalization::char::is_combining_mark;

/// The string match of MMAU and MMAR.
///
/// Prediction, answer and choices are turned into sets of lower-case words (`\b\w+\b`). The prediction is right iff it
/// has all words of the answer and none of the words that only other choices have. An empty prediction is wrong. A
/// choice with the same words as the answer, in any order, does not count as another choice.
pub fn string_match(prediction: &str, answer: &str, choices: &[String]) -> bool {
    let (prediction, answer) = (words(prediction), words(answer));
    if prediction.is_empty() {
        return false;
    }
    let mut incorrect = BTreeSet::new();
    for choice in choices.iter().map(|choice| words(choice)).filter(|choice| *choice != answer) {
        incorrect.extend(choice);
    }
    incorrect.retain(|word| !answer.contains(word));
    answer.is_subset(&prediction) && prediction.is_disjoint(&incorrect)
}

/// The set of `\b\w+\b` matches in the lower-cased text: maximal runs of letters, digits and underscores.
fn words(text: &str) -> BTreeSet<String> {
    text.to_lowercase()
        .split(|c: char| !in_word(c))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether Python's `\w` matches the character. Unlike Rust's alphabetic characters, Python's are the letters only: neither
/// combining marks, such as the vowel signs of Devanagari, nor letters in a circle or a square.
fn in_word(c: char) -> bool {
    let enclosed = matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}');
    c == '_' || c.is_alphanumeric() && !is_combining_mark(c) && !enclosed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn string_match_requires_all_words_of_the_answer_and_none_of_the_others() {
        let options = choices(&["A man", "A woman", "Two men"]);
        assert!(string_match("a man", "A man", &options));
        assert!(string_match("It is a MAN, surely.", "A man", &options));
        // `a` is a word of the answer, so it is not an incorrect word although "A woman" has it too.
        assert!(!string_match("man", "A man", &options));
        assert!(!string_match("a man and a woman", "A man", &options));
        assert!(!string_match("two men", "A man", &options));
    }

    #[test]
    fn string_match_ignores_the_order_of_words() {
        let options = choices(&["from near to far", "from far to near", "staying"]);
        assert!(string_match("from near to far", "from far to near", &options));
    }

    #[test]
    fn string_match_counts_an_empty_prediction_as_wrong() {
        assert!(!string_match("", "yes", &choices(&["yes", "no"])));
        // Even if the answer has no words, so that every prediction has all of them.
        assert!(!string_match("…", "?!", &choices(&["?!", "no"])));
    }

    #[test]
    fn string_match_accepts_words_of_other_choices_that_the_answer_has_too() {
        // "dog" is in the answer, so only "cat" and "bird" are incorrect.
        let options = choices(&["dog barking", "dog cat", "bird"]);
        assert!(string_match("the dog is barking", "dog barking", &options));
        assert!(!string_match("dog barking cat", "dog barking", &options));
    }

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        let expected = choices(&["3", "don", "t", "été", "x_y"]).into_iter().collect();
        assert_eq!(words("Don't: x_y, ÉTÉ (3)"), expected);
    }

    #[test]
    fn a_combining_mark_or_a_letter_in_a_circle_ends_a_word_as_in_python() {
        // The vowel sign U+093F parts "हिंदी" into its letters.
        assert_eq!(words("हिंदी"), choices(&["ह", "द"]).into_iter().collect());
        assert_eq!(words("aⒷc"), choices(&["a", "c"]).into_iter().collect());
        // A number in a circle is a number.
        assert_eq!(words("a②"), choices(&["a②"]).into_iter().collect());
    }
}
