//! The rule of MMAU-Pro's `evaluate_mmau_pro_comprehensive.py` for questions with choices.

use crate::Question;

/// The nearest choice of MMAU-Pro: the script embeds the prediction and each choice with NV-Embed-v2 and takes the choice
/// with the greatest cosine similarity.
///
/// Without that model the rule is known where the prediction is, character for character, the text of a choice: its
/// similarity to that choice is 1, the greatest there is. `None` for every other prediction: nobody knows what the
/// script would say, so it is neither right nor wrong.
pub fn choice_embedding(prediction: &str, question: &Question) -> Option<bool> {
    let nearest = question.choices.iter().find(|choice| *choice == prediction)?;
    Some(*nearest == question.answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_that_is_a_choice_is_nearest_to_it() {
        let choices = ["dog", "cat"].map(str::to_owned).to_vec();
        let question = Question { answer: "cat".into(), choices, ..Question::default() };
        assert_eq!(choice_embedding("cat", &question), Some(true));
        assert_eq!(choice_embedding("dog", &question), Some(false));
    }

    #[test]
    fn what_only_the_embedding_model_can_say_is_unknown() {
        let choices = ["dog", "cat"].map(str::to_owned).to_vec();
        let question = Question { answer: "cat".into(), choices, ..Question::default() };
        for prediction in ["", "Cat", "cat.", "B", "a cat"] {
            assert_eq!(choice_embedding(prediction, &question), None, "{prediction:?}");
        }
    }
}
