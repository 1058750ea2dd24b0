//! The letter that AIR-Bench's `score_foundation.py` reads.

use super::letter::letter;
use crate::Question;

/// The letter scorer of AIR-Bench. `None` if there is no letter at the first or the second-to-last place: the script
/// excludes the question from the denominator. A letter without a choice is wrong, and so is that of the second of two
/// choices with the same text.
pub fn air_bench_letter(prediction: &str, question: &Question) -> Option<bool> {
    let chosen = letter(prediction)?;
    let gold = question.choices.iter().position(|choice| *choice == question.answer);
    Some(gold.is_some_and(|gold| question.letter(gold) == Some(chosen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    fn score(prediction: &str, answer: &str, choices: &[String]) -> Option<bool> {
        let (answer, choices) = (answer.to_owned(), choices.to_vec());
        air_bench_letter(prediction, &Question { answer, choices, ..Question::default() })
    }

    #[test]
    fn air_bench_reads_the_first_letter_or_the_second_to_last() {
        let options = choices(&["dog", "cat", "bird"]);
        assert_eq!(score("B", "cat", &options), Some(true));
        assert_eq!(score(" B. cat\n", "cat", &options), Some(true));
        assert_eq!(score("The answer is B.", "cat", &options), Some(true));
        assert_eq!(score("The answer is A.", "cat", &options), Some(false));
        assert_eq!(score("B", "dog", &choices(&["dog", "dog"])), Some(false));
    }

    #[test]
    fn air_bench_takes_any_word_in_a_to_d_for_a_letter() {
        // "Cat" begins with C, the letter of "bird".
        assert_eq!(score("Cat", "cat", &choices(&["dog", "cat", "bird"])), Some(false));
    }

    #[test]
    fn air_bench_excludes_predictions_without_a_letter() {
        let options = choices(&["dog", "cat"]);
        for prediction in ["", "cat", "the answer is B", "It is (B).."] {
            assert_eq!(score(prediction, "cat", &options), None, "{prediction:?}");
        }
    }

    #[test]
    fn letters_are_those_of_the_file() {
        // The file has an empty `choice_c`, so the third choice is D.
        let (answer, choices) = ("3-4".to_owned(), choices(&["0-1", "1-2", "3-4"]));
        let question = Question { answer, choices, letters: "ABD".into(), ..Question::default() };
        assert_eq!(air_bench_letter("D", &question), Some(true));
        assert_eq!(air_bench_letter("C", &question), Some(false));
    }
}
