//! The rule of MMSU's `mmsu_evaluation.py`.

use super::letter::letter;
use crate::Question;

/// The letter scorer of MMSU, which reads the letter as AIR-Bench's does. The prediction is right iff the choice of
/// that letter has the answer's text, so of two choices with the same text both are right. A letter without a choice is
/// wrong. `None` if there is no letter: the script leaves the question out of the denominator.
///
/// The script scores an empty prediction, and the word `None`, with the letter of the row before. That is a fault and
/// no property of the prediction, so such predictions are left out here like others without a letter.
pub fn mmsu_letter(prediction: &str, question: &Question) -> Option<bool> {
    let choice = question.choice_of_letter(letter(prediction)?);
    Some(choice.is_some_and(|choice| question.choices[choice] == question.answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(answer: &str, choices: &[&str]) -> Question {
        let choices = choices.iter().map(|text| text.to_string()).collect();
        Question { answer: answer.to_owned(), choices, ..Question::default() }
    }

    #[test]
    fn mmsu_compares_the_text_of_the_letters_choice() {
        let cat = question("cat", &["dog", "cat", "bird"]);
        assert_eq!(mmsu_letter("B", &cat), Some(true));
        assert_eq!(mmsu_letter("B. cat", &cat), Some(true));
        assert_eq!(mmsu_letter("The answer is B.", &cat), Some(true));
        assert_eq!(mmsu_letter("A", &cat), Some(false));
        // No choice has this letter.
        assert_eq!(mmsu_letter("D", &cat), Some(false));
        // "Cat" begins with the letter of "bird".
        assert_eq!(mmsu_letter("Cat", &cat), Some(false));
    }

    #[test]
    fn mmsu_accepts_either_of_two_choices_with_the_text_of_the_answer() {
        let twice = question("dog", &["dog", "dog"]);
        assert_eq!((mmsu_letter("A", &twice), mmsu_letter("B", &twice)), (Some(true), Some(true)));
    }

    #[test]
    fn mmsu_leaves_out_predictions_without_a_letter() {
        let cat = question("cat", &["dog", "cat"]);
        for prediction in ["", "None", "cat", "b", "the answer is B", "(B)"] {
            // "(B)" has its letter in the second-to-last place.
            let expected = (prediction == "(B)").then_some(true);
            assert_eq!(mmsu_letter(prediction, &cat), expected, "{prediction:?}");
        }
    }
}
