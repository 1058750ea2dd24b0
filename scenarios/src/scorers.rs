//! The scorers of the benchmarks' own scripts, reproduced exactly, so that our figures are
//! comparable with published ones.
//!
//! Training uses an exact choice match instead (`rewards::answer_matches`): the string match of MMAU and MMAR ignores
//! the order of words, and the scorer of AIR-Bench takes any word that begins with A-D for a letter.

use std::collections::BTreeSet;

use rewards::Question;
use serde::{Deserialize, Serialize};

/// The official scorer of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfficialScorer {
    /// The string match of MMAU and MMAR.
    StringMatch,
    /// The scorer of AIR-Bench's foundation part, which reads a letter.
    AirBenchLetter,
}

impl OfficialScorer {
    /// Whether the official script counts `prediction` as right; `None` if it excludes the question from the
    /// denominator. The strict figure counts such a question as wrong.
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

/// The string match of MMAU and MMAR.
///
/// Prediction, answer and choices are turned into sets of lower-case words (`\b\w+\b`). The prediction is right iff it
/// has all words of the answer and none of the words that only other choices have. An empty prediction is wrong. A
/// choice with the same words as the answer, in any order, does not count as another choice.
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

/// The letter scorer of AIR-Bench. The letter is the prediction's first character if that is one of A-D, else the
/// second-to-last one, which finds a letter in "… is B." but not in "… is (B).". `None` if it is not a letter: the
/// script excludes the question from the denominator. A letter without a choice is wrong, and so is that of the second
/// of two choices with the same text.
pub fn air_bench_letter(prediction: &str, answer: &str, choices: &[String]) -> Option<bool> {
    let characters: Vec<char> = prediction.trim().chars().filter(|&c| c != '\n').collect();
    let letter = |c: &&char| ('A'..='D').contains(*c);
    let second_to_last = || characters.iter().rev().nth(1).filter(letter);
    let chosen = characters.first().filter(letter).or_else(second_to_last)?;
    let gold = choices.iter().position(|choice| choice == answer);
    Some(gold == Some(*chosen as usize - 'A' as usize))
}

/// Counts for AIR-Bench's official accuracy and the strict one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AirBenchTally {
    /// Number of questions asked.
    pub asked: usize,
    /// Number of predictions with a letter.
    pub parsed: usize,
    /// Number of predictions with the right letter.
    pub correct: usize,
}

impl AirBenchTally {
    /// Counts one outcome of [`air_bench_letter`].
    pub fn add(&mut self, outcome: Option<bool>) {
        self.asked += 1;
        self.parsed += usize::from(outcome.is_some());
        self.correct += usize::from(outcome == Some(true));
    }

    /// The official accuracy: the fraction of right letters among the predictions with a letter.
    pub fn official(&self) -> Option<f64> {
        (self.parsed > 0).then(|| self.correct as f64 / self.parsed as f64)
    }

    /// The strict accuracy: the fraction of right letters among all questions asked.
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
    fn string_match_requires_all_words_of_the_answer_and_none_of_the_others() {
        let options = choices(&["A man", "A woman", "Two men"]);
        assert!(official_string_match("a man", "A man", &options));
        assert!(official_string_match("It is a MAN, surely.", "A man", &options));
        // `a` is a word of the answer, so it is not an incorrect word although "A woman" has it too.
        assert!(!official_string_match("man", "A man", &options));
        assert!(!official_string_match("a man and a woman", "A man", &options));
        assert!(!official_string_match("two men", "A man", &options));
    }

    #[test]
    fn string_match_ignores_the_order_of_words() {
        let options = choices(&["from near to far", "from far to near", "staying"]);
        assert!(official_string_match("from near to far", "from far to near", &options));
    }

    #[test]
    fn string_match_counts_an_empty_prediction_as_wrong() {
        assert!(!official_string_match("", "yes", &choices(&["yes", "no"])));
        // Even if the answer has no words, so that every prediction has all of them.
        assert!(!official_string_match("…", "?!", &choices(&["?!", "no"])));
    }

    #[test]
    fn string_match_accepts_words_of_other_choices_that_the_answer_has_too() {
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
        // "Cat" begins with C, the letter of "bird".
        assert_eq!(air_bench_letter("Cat", "cat", &choices(&["dog", "cat", "bird"])), Some(false));
    }

    #[test]
    fn air_bench_excludes_predictions_without_a_letter() {
        let options = choices(&["dog", "cat"]);
        for prediction in ["", "cat", "the answer is B", "It is (B).."] {
            assert_eq!(air_bench_letter(prediction, "cat", &options), None, "{prediction:?}");
        }
    }

    #[test]
    fn the_strict_accuracy_counts_what_the_official_one_excludes() {
        let mut tally = AirBenchTally::default();
        [Some(true), Some(false), None, Some(true)].into_iter().for_each(|outcome| tally.add(outcome));
        assert_eq!(tally, AirBenchTally { asked: 4, parsed: 3, correct: 2 });
        assert_eq!((tally.official(), tally.strict()), (Some(2.0 / 3.0), Some(0.5)));
        assert_eq!(AirBenchTally::default().official(), None);
    }
}
