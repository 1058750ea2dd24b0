//! A judge by rules, without a model. It is exact on the built-in worlds and cautious on other data.
//!
//! **Soundscapes.** Their questions state the reasoning steps ([`Question::steps`](crate::Question::steps)). Thinking
//! has the form `beep 1 buzz 3 so 3`: steps, then the conclusion after the last `so`.
//! - consistency: 1 if the conclusion names the same choice as the given answer, else 0. Without a conclusion it is 0.
//! - quality: the number of right steps in their places, divided by the number of needed or written steps, whichever is
//!   greater, rounded to 0.1. A missing step, a wrong step and an extra step cost the same.
//!
//! **Spoken words and recordings.** Their steps are numbered, `first bread, second boat. second boat`, and the conclusion is
//! behind the last full stop; [`numbered`] has the forms. The grades mean the same.
//!
//! **Other data.** Consistency is graded if the wording has a clear conclusion, see [`conclusion`]. Quality is `None`,
//! since rules cannot grade free text.
//!
//! Deviation from the paper, which uses Qwen3-8B-Base: the request and the verdict are the same, the grades are not.

use super::numbered;
use crate::matching::{same_answer, words};
use crate::{Judge, JudgeRequest, Verdict};

pub mod conclusion;

/// The word that separates the steps from the conclusion.
const CONCLUSION_WORD: &str = "so";

/// Judges by rules; the module's documentation describes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RulesJudge;

impl Judge for RulesJudge {
    fn judge(&self, request: &JudgeRequest) -> Verdict {
        match &request.question.steps {
            Some(steps) => numbered::judge(request, steps).unwrap_or_else(|| judge_steps(request, steps)),
            None => judge_free_text(request),
        }
    }
}

fn judge_steps(request: &JudgeRequest, needed: &[String]) -> Verdict {
    let thought = words(&request.think);
    let so = thought.iter().rposition(|word| word == CONCLUSION_WORD);
    let written = &thought[..so.unwrap_or(thought.len())];
    let conclusion = so.map(|so| thought[so + 1..].join(" ")).unwrap_or_default();
    let supports = same_answer(&conclusion, &request.answer, &request.question);
    Verdict {
        consistency: Some(f64::from(u8::from(supports))),
        think_quality: Some(step_quality(written, needed)),
        note: None,
    }
}

/// The number of right steps in their places over max(needed, written), rounded to 0.1. The written words are
/// divided into steps that are as long as the needed steps in the same places; further words, into steps as long as
/// the last needed one.
fn step_quality(written: &[String], needed: &[String]) -> f64 {
    let needed: Vec<Vec<String>> =
        needed.iter().map(|step| words(step)).filter(|step| !step.is_empty()).collect();
    let mut rest = written;
    let (mut steps, mut right) = (0_usize, 0_usize);
    while !rest.is_empty() {
        let here = needed.get(steps);
        let length = here.or(needed.last()).map_or(1, Vec::len);
        let (step, after) = rest.split_at(length.min(rest.len()));
        right += usize::from(here.is_some_and(|here| here == step));
        steps += 1;
        rest = after;
    }
    match steps.max(needed.len()) {
        // No step is needed, and none is written.
        0 => 1.0,
        most => (right as f64 / most as f64 * 10.0).round() / 10.0,
    }
}

fn judge_free_text(request: &JudgeRequest) -> Verdict {
    let concluded = conclusion::concluded_choice(&request.think, &request.question);
    let consistency = concluded.map(|choice| {
        let text = &request.question.choices[choice];
        f64::from(u8::from(same_answer(text, &request.answer, &request.question)))
    });
    let unclear = if consistency.is_none() { "does not clearly conclude one choice, and its " } else { "" };
    let note = Some(format!(
        "the thinking is free text: {unclear}quality cannot be graded by rules; use a model as judge"
    ));
    Verdict { consistency, think_quality: None, note }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Question;

    fn soundscape(steps: &[&str]) -> Question {
        Question {
            choices: ["1", "2", "3", "4"].map(str::to_owned).to_vec(),
            answer: "3".to_owned(),
            steps: Some(steps.iter().map(|step| (*step).to_owned()).collect()),
            ..Question::default()
        }
    }

    fn judge(question: &Question, think: &str, answer: &str) -> (Option<f64>, Option<f64>) {
        let request = JudgeRequest {
            question: Arc::new(question.clone()),
            think: think.to_owned(),
            answer: answer.to_owned(),
        };
        let verdict = RulesJudge.judge(&request);
        (verdict.consistency, verdict.think_quality)
    }

    #[test]
    fn perfect_thinking_about_a_soundscape_gets_the_highest_grades() {
        let walk = soundscape(&["beep 1", "buzz 3"]);
        assert_eq!(judge(&walk, "beep 1 buzz 3 so 3", "3"), (Some(1.0), Some(1.0)));
        assert_eq!(judge(&walk, "Beep 1, buzz 3. So 3.", "3"), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn consistency_compares_the_conclusion_with_the_given_answer_not_with_the_right_one() {
        let walk = soundscape(&["beep 1", "buzz 3"]);
        assert_eq!(judge(&walk, "beep 1 buzz 3 so 2", "2").0, Some(1.0));
        assert_eq!(judge(&walk, "beep 1 buzz 3 so 2", "3").0, Some(0.0));
        assert_eq!(judge(&walk, "beep 1 buzz 3", "3").0, Some(0.0), "no conclusion");
        assert_eq!(judge(&walk, "beep 1 buzz 3 so", "3").0, Some(0.0), "an empty conclusion");
        assert_eq!(judge(&walk, "so 2 so 3", "3").0, Some(1.0), "the last conclusion counts");
        assert_eq!(judge(&walk, "", "3").0, Some(0.0));
    }

    #[test]
    fn quality_is_right_steps_in_place_over_the_greater_of_needed_and_written() {
        let walk = soundscape(&["beep 1", "buzz 3", "drop 2"]);
        let quality = |think| judge(&walk, think, "3").1;
        // 2 of 3 = 0.667
        assert_eq!(quality("beep 1 buzz 4 drop 2 so 3"), Some(0.7));
        // a missing step: buzz 3 is in the place of beep 1; 0 of 3
        assert_eq!(quality("buzz 3 drop 2 so 3"), Some(0.0));
        // 2 of max(3, 2)
        assert_eq!(quality("beep 1 buzz 3 so 3"), Some(0.7));
        // an extra step: 3 of max(3, 4) = 0.75, rounded to 0.8
        assert_eq!(quality("beep 1 buzz 3 drop 2 hiss 2 so 3"), Some(0.8));
        // an unfinished step counts as written: 3 of max(3, 4)
        assert_eq!(quality("beep 1 buzz 3 drop 2 hiss so 3"), Some(0.8));
        assert_eq!(quality("so 3"), Some(0.0));
        assert_eq!(quality(""), Some(0.0));
        // repeating the right steps lowers the grade: 3 of 9
        assert_eq!(quality("beep 1 buzz 3 drop 2 beep 1 buzz 3 drop 2 beep 1 buzz 3 drop 2 so 3"), Some(0.3));
        // an earlier `so` counts as a word of a step: beep 1, so buzz, 3 drop, 2; 1 of max(3, 4) = 0.25
        assert_eq!(quality("beep 1 so buzz 3 drop 2 so 3"), Some(0.3));
    }

    #[test]
    fn steps_may_differ_in_length() {
        let last = soundscape(&["beep", "buzz 3"]);
        assert_eq!(judge(&last, "beep buzz 3 so 3", "3").1, Some(1.0));
        assert_eq!(judge(&last, "beep buzz 3 drop 1 so 3", "3").1, Some(0.7));
        let nothing_needed = soundscape(&[]);
        assert_eq!(judge(&nothing_needed, "so 3", "3"), (Some(1.0), Some(1.0)));
        assert_eq!(judge(&nothing_needed, "beep so 3", "3").1, Some(0.0));
    }

    #[test]
    fn free_text_has_a_consistency_if_it_concludes_and_never_a_quality() {
        let question = Question {
            choices: vec!["cat".to_owned(), "dog".to_owned()],
            answer: "dog".to_owned(),
            ..Question::default()
        };
        assert_eq!(judge(&question, "There is barking, so it is a dog.", "dog"), (Some(1.0), None));
        assert_eq!(judge(&question, "There is barking, so it is a dog.", "B"), (Some(1.0), None));
        assert_eq!(judge(&question, "There is barking, so it is a dog.", "cat"), (Some(0.0), None));
        assert_eq!(judge(&question, "I hear something.", "dog"), (None, None));
    }

    #[test]
    fn any_thinking_is_judged_without_a_panic_in_linear_time() {
        let pieces = [
            "so",
            " ",
            "dog",
            "cat",
            ".",
            ",",
            "not",
            "answer is",
            "B",
            "(b)",
            "3.5",
            "\n",
            "or",
            "é",
            "狗",
            "🐕",
            "İ",
            "-",
            "'",
            "\u{301}",
            "option",
            "beep 1",
            ":",
            "a",
            "\u{0}",
        ];
        let mut noise = 9_u64;
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pieces[(noise >> 33) as usize % pieces.len()]
        };
        let free = Question { choices: vec!["dog".to_owned(), "a cat".to_owned()], ..Question::default() };
        let walk = soundscape(&["beep 1"]);
        for length in (0..3_000).map(|round| round % 25).chain([100_000]) {
            let text: String = (0..length).map(|_| next()).collect();
            let answer: String = (0..length % 7).map(|_| next()).collect();
            for question in [&free, &walk] {
                let (consistency, quality) = judge(question, &text, &answer);
                assert!(consistency.is_none_or(|score| score == 0.0 || score == 1.0));
                assert!(quality.is_none_or(|score| (0.0..=1.0).contains(&score)));
            }
        }
    }
}
