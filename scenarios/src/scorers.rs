//! The benchmarks' own scorers, quirks and all, so that our figures can be put beside published ones.
//!
//! Training does not use them: it asks for the exact choice (`rewards::answer_matches`), because the string match of
//! MMAU and MMAR is blind to the order of words and AIR-Bench's takes any word that begins with A-D for a letter.

use std::collections::BTreeSet;

use rewards::Question;
use serde::{Deserialize, Serialize};

/// Which official scorer applies to a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfficialScorer {
    /// MMAU's and MMAR's.
    StringMatch,
    /// That of AIR-Bench's foundation part.
    AirBenchLetter,
}

impl OfficialScorer {
    /// Whether the official script counts `prediction` as right; `None` where it leaves the question out of the
    /// denominator. The strict figure counts those as wrong.
    pub fn score(self, prediction: &str, question: &Question) -> Option<bool> {
        match self {
            OfficialScorer::StringMatch => {
                Some(official_string_match(prediction, &question.answer, &question.choices))
            }
            OfficialScorer::AirBenchLetter => {
                air_bench_letter(prediction, &question.answer, &question.choices)
            }
        }
    }
}

/// MMAU's and MMAR's string match.
///
/// Prediction, answer and choices become sets of lower-case words (`\b\w+\b`). Right iff the prediction has every word
/// of the answer and none of the words that only the other choices have. An empty prediction is wrong; a choice with
/// the same words as the answer is not another choice, whatever their order.
pub fn official_string_match(prediction: &str, answer: &str, choices: &[String]) -> bool {
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
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// AIR-Bench's reading of a prediction: the first character if it is one of A-D, else the second-to-last ("… is (B)."
/// does not parse, "… is B." does). `None`: no letter there, and the question leaves the denominator. A letter that no
/// choice has is wrong, and so is the second of two choices with the same text.
pub fn air_bench_letter(prediction: &str, answer: &str, choices: &[String]) -> Option<bool> {
    let characters: Vec<char> = prediction.trim().chars().filter(|&c| c != '\n').collect();
    let letter = |c: &&char| ('A'..='D').contains(*c);
    let second_to_last = || characters.iter().rev().nth(1).filter(letter);
    let chosen = characters.first().filter(letter).or_else(second_to_last)?;
    let gold = choices.iter().position(|choice| choice == answer);
    Some(gold == Some(*chosen as usize - 'A' as usize))
}

/// AIR-Bench's figure in both readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AirBenchTally {
    /// Questions asked.
    pub asked: usize,
    /// Predictions that a letter could be read from.
    pub parsed: usize,
    /// Predictions with the right letter.
    pub correct: usize,
}

impl AirBenchTally {
    /// Counts one outcome of [`air_bench_letter`].
    pub fn add(&mut self, outcome: Option<bool>) {
        self.asked += 1;
        self.parsed += usize::from(outcome.is_some());
        self.correct += usize::from(outcome == Some(true));
    }

    /// The share of right letters among those that could be read: the figure the official script prints.
    pub fn official(&self) -> Option<f64> {
        (self.parsed > 0).then(|| self.correct as f64 / self.parsed as f64)
    }

    /// The share of right letters among all questions asked.
    pub fn strict(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.correct as f64 / self.asked as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn string_match_wants_all_words_of_the_answer_and_none_of_the_others() {
        let options = choices(&["A man", "A woman", "Two men"]);
        assert!(official_string_match("a man", "A man", &options));
        assert!(official_string_match("It is a MAN, surely.", "A man", &options));
        // `a` is a word of the answer, so it is not an incorrect word although "A woman" has it too.
        assert!(!official_string_match("man", "A man", &options));
        assert!(!official_string_match("a man and a woman", "A man", &options));
        assert!(!official_string_match("two men", "A man", &options));
    }

    #[test]
    fn string_match_is_blind_to_order() {
        let options = choices(&["from near to far", "from far to near", "staying"]);
        assert!(official_string_match("from near to far", "from far to near", &options));
    }

    #[test]
    fn string_match_calls_an_empty_prediction_wrong() {
        assert!(!official_string_match("", "yes", &choices(&["yes", "no"])));
        // Even where the answer has no words, so that every prediction holds all of them.
        assert!(!official_string_match("…", "?!", &choices(&["?!", "no"])));
    }

    #[test]
    fn string_match_forgives_an_incorrect_word_that_the_answer_shares() {
        // "dog" is in the answer, so only "cat" and "bird" are incorrect.
        let options = choices(&["dog barking", "dog cat", "bird"]);
        assert!(official_string_match("the dog is barking", "dog barking", &options));
        assert!(!official_string_match("dog barking cat", "dog barking", &options));
    }

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        let expected = choices(&["3", "don", "t", "été", "x_y"]).into_iter().collect();
        assert_eq!(words("Don't: x_y, ÉTÉ (3)"), expected);
    }

    #[test]
    fn air_bench_reads_the_first_letter_or_the_second_to_last() {
        let options = choices(&["dog", "cat", "bird"]);
        assert_eq!(air_bench_letter("B", "cat", &options), Some(true));
        assert_eq!(air_bench_letter(" B. cat\n", "cat", &options), Some(true));
        assert_eq!(air_bench_letter("The answer is B.", "cat", &options), Some(true));
        assert_eq!(air_bench_letter("The answer is A.", "cat", &options), Some(false));
        assert_eq!(air_bench_letter("B", "dog", &choices(&["dog", "dog"])), Some(false));
    }

    #[test]
    fn air_bench_takes_any_word_in_a_to_d_for_a_letter() {
        // "Cat" begins with C, which stands for "bird".
        assert_eq!(air_bench_letter("Cat", "cat", &choices(&["dog", "cat", "bird"])), Some(false));
    }

    #[test]
    fn air_bench_leaves_out_what_it_cannot_read() {
        let options = choices(&["dog", "cat"]);
        for prediction in ["", "cat", "the answer is B", "It is (B).."] {
            assert_eq!(air_bench_letter(prediction, "cat", &options), None, "{prediction:?}");
        }
    }

    #[test]
    fn the_strict_figure_keeps_what_the_official_one_leaves_out() {
        let mut tally = AirBenchTally::default();
        [Some(true), Some(false), None, Some(true)].into_iter().for_each(|outcome| tally.add(outcome));
        assert_eq!(tally, AirBenchTally { asked: 4, parsed: 3, correct: 2 });
        assert_eq!((tally.official(), tally.strict()), (Some(2.0 / 3.0), Some(0.5)));
        assert_eq!(AirBenchTally::default().official(), None);
    }
}
