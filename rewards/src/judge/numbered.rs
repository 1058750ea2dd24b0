//! Thinking whose steps are numbered by words, as the worlds of spoken words and of recordings teach it:
//! `first bread, second boat, third cat. second boat`. The steps come first; the conclusion is what is behind the last full
//! stop, and it names the answer in a form that depends on the question:
//!
//! | question | conclusion |
//! |---|---|
//! | which word | `bread` |
//! | which is second, last, longest | `second boat`, `last cat`, `longest bread` |
//! | which comes right after bread | `bread then boat` |
//! | which is said twice | `boat twice` |
//! | how many | `two` |

use crate::matching::{same_answer, words};
use crate::{JudgeRequest, Verdict};

/// The words that number steps.
pub const ORDINALS: [&str; 10] =
    ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];

/// Words in front of the answer in a conclusion, besides [`ORDINALS`].
const BEFORE: [&str; 2] = ["last", "longest"];

/// Judges thinking about a question with these steps; `None` if they are not numbered, or if no full stop separates the
/// thinking's steps from its conclusion.
pub(super) fn judge(request: &JudgeRequest, needed: &[String]) -> Option<Verdict> {
    if needed.is_empty() || !needed.iter().zip(ORDINALS).all(|(step, ordinal)| is_step(step, ordinal)) {
        return None;
    }
    let thought = request.think.trim_end_matches(|sign: char| sign == '.' || sign.is_whitespace());
    let (written, conclusion) = thought.rsplit_once('.')?;
    let named = named(&words(conclusion));
    let supports = !named.is_empty() && same_answer(&named, &request.answer, &request.question);
    Some(Verdict {
        consistency: Some(f64::from(u8::from(supports))),
        think_quality: Some(quality(&steps(written), needed)),
        note: None,
    })
}

fn is_step(step: &str, ordinal: &str) -> bool {
    let words = words(step);
    words.len() > 1 && words[0] == ordinal
}

/// What a conclusion names, without the words around it.
fn named(conclusion: &[String]) -> String {
    let mut rest = conclusion;
    if let Some(then) = rest.iter().rposition(|word| word == "then") {
        rest = &rest[then + 1..];
    }
    for group in [&["so"][..], &BEFORE, &ORDINALS] {
        if let [word, others @ ..] = rest
            && !others.is_empty()
            && group.contains(&word.as_str())
        {
            rest = others;
        }
    }
    if let [others @ .., word] = rest
        && !others.is_empty()
        && word == "twice"
    {
        rest = others;
    }
    rest.join(" ")
}

/// The written steps, each as its words. A sign ends a step, and so does the next ordinal.
fn steps(written: &str) -> Vec<Vec<String>> {
    let mut steps = Vec::new();
    for part in written.split([',', '.', ';', ':', '\n']) {
        let mut step: Vec<String> = Vec::new();
        for word in words(part) {
            if step.len() > 1 && ORDINALS.contains(&word.as_str()) {
                steps.push(std::mem::take(&mut step));
            }
            step.push(word);
        }
        if !step.is_empty() {
            steps.push(step);
        }
    }
    steps
}

/// The number of right steps in their places over max(needed, written), rounded to 0.1.
fn quality(written: &[Vec<String>], needed: &[String]) -> f64 {
    let right = written.iter().zip(needed).filter(|(written, needed)| **written == words(needed)).count();
    (right as f64 / written.len().max(needed.len()) as f64 * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Judge, JudgeRequest, Question, RulesJudge};

    fn question(choices: &[&str], steps: &[&str]) -> Question {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Question { choices: owned(choices), steps: Some(owned(steps)), ..Question::default() }
    }

    fn judge(question: &Question, think: &str, answer: &str) -> (Option<f64>, Option<f64>) {
        let request =
            JudgeRequest { question: Arc::new(question.clone()), think: think.into(), answer: answer.into() };
        let verdict = RulesJudge.judge(&request);
        (verdict.consistency, verdict.think_quality)
    }

    const STEPS: [&str; 3] = ["first bread", "second boat", "third cat"];

    #[test]
    fn every_form_of_a_conclusion_names_its_choice() {
        let word = question(&["bread", "boat", "cat", "dog"], &STEPS);
        for conclusion in
            ["boat", "second boat", "last boat", "longest boat", "bread then boat", "boat twice", "so boat"]
        {
            let think = format!(" first bread, second boat, third cat. {conclusion}");
            assert_eq!(judge(&word, &think, "boat"), (Some(1.0), Some(1.0)), "{conclusion}");
            assert_eq!(judge(&word, &think, "bread"), (Some(0.0), Some(1.0)), "{conclusion}");
        }
        let count = question(&["none", "one", "two", "three"], &STEPS);
        assert_eq!(judge(&count, "first bread, second boat, third cat. two", "two").0, Some(1.0));
        assert_eq!(judge(&count, "first bread, second boat, third cat. two", "one").0, Some(0.0));
        let one = question(&["bread", "boat"], &["first bread"]);
        assert_eq!(judge(&one, "first bread. bread", "bread"), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn without_a_conclusion_thinking_is_not_consistent() {
        let word = question(&["bread", "boat", "cat"], &STEPS);
        assert_eq!(judge(&word, "first bread, second boat, third cat", "boat"), (Some(0.0), Some(1.0)));
        assert_eq!(judge(&word, "first bread, second boat, third cat.", "cat"), (Some(0.0), Some(1.0)));
        assert_eq!(judge(&word, "first bread, second boat. second", "boat").0, Some(0.0));
        assert_eq!(judge(&word, "", "boat"), (Some(0.0), Some(0.0)));
        assert_eq!(judge(&word, ". .", "boat"), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn quality_is_right_steps_in_place_over_the_greater_of_needed_and_written() {
        let word = question(&["bread", "boat", "cat"], &STEPS);
        let quality = |think: &str| judge(&word, think, "boat").1.unwrap();
        // 2 of 3
        assert_eq!(quality("first bread, second goat, third cat. second boat"), 0.7);
        // A missing step moves the next: second boat is right in its place, third is missing; 2 of 3.
        assert_eq!(quality("first bread, second boat. second boat"), 0.7);
        // 0 of 3: no step is where it belongs.
        assert_eq!(quality("second boat, third cat, first bread. second boat"), 0.0);
        // The conclusion again is one step more: 3 of 4 = 0.75; twice, 3 of 5.
        assert_eq!(quality("first bread, second boat, third cat. second boat. second boat"), 0.8);
        assert_eq!(
            quality("first bread, second boat, third cat. second boat. second boat. second boat"),
            0.6
        );
        // Without commas the ordinals separate the steps.
        assert_eq!(quality("First bread second boat third cat. second boat"), 1.0);
        assert_eq!(quality("first second boat third cat. second boat"), 0.0);
    }

    #[test]
    fn names_of_several_words_may_contain_an_ordinal() {
        let sound = question(&["hi hat", "second hand"], &["first second hand", "second hi hat"]);
        let think = "first second hand, second hi-hat. last hi hat";
        assert_eq!(judge(&sound, think, "hi hat").1, Some(1.0));
        assert_eq!(judge(&sound, think, "hi hat").0, Some(1.0));
    }
}
