//! Filters of completions that need more than one field: what a researcher looks for first.
//!
//! A completion is compared with its group: the completions to the same question at the same step.

use schemars::JsonSchema;
use serde::Deserialize;

/// The share of a group from which its answer counts as confident.
const CONFIDENT: f64 = 0.75;

/// The difference between two members of a panel, or two raters, from which they disagree.
const DISAGREE: f64 = 0.5;

/// The rating from which a judge finds thinking good; at 1 minus it and below, bad.
const GOOD: f64 = 0.75;

/// What completions are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Filter {
    /// The answer is wrong, and at least three quarters of the group give it; the group has at least two completions.
    WrongAndConfident,
    /// The completion thinks and is right, and so are the completions of its group that do not think, at least one.
    ThinksNeedlessly,
    /// Two members of the panel or two raters differ by half the scale or more, or the judge rates the thinking 0.75 or
    /// higher and the answer is wrong, or 0.25 or lower and it is right.
    JudgeDisagrees,
}

/// What the filters look at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub correct: bool,
    pub thinks: bool,
    /// A hash of the answer without regard to case and spaces around it; `None` without one.
    pub answer: Option<u64>,
    /// The judge's rating of the thinking.
    pub think_quality: Option<f64>,
    /// The largest difference between two judges of the completion.
    pub disagreement: Option<f64>,
}

impl Filter {
    /// Whether the completion at `place` of a group passes.
    pub fn passes(self, group: &[Facts], place: usize) -> bool {
        let one = &group[place];
        match self {
            Filter::WrongAndConfident => {
                let same = group.iter().filter(|other| other.answer == one.answer).count();
                let confident = same as f64 >= CONFIDENT * group.len() as f64;
                !one.correct && one.answer.is_some() && group.len() > 1 && confident
            }
            Filter::ThinksNeedlessly => {
                let mut others = group.iter().filter(|other| !other.thinks).peekable();
                one.thinks && one.correct && others.peek().is_some() && others.all(|other| other.correct)
            }
            Filter::JudgeDisagrees => {
                let against = |rating: f64| if one.correct { rating <= 1.0 - GOOD } else { rating >= GOOD };
                one.disagreement.is_some_and(|difference| difference >= DISAGREE)
                    || one.think_quality.is_some_and(against)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(filter: Filter, group: &[Facts]) -> Vec<usize> {
        (0..group.len()).filter(|&place| filter.passes(group, place)).collect()
    }

    fn said(answer: u64, correct: bool) -> Facts {
        Facts { answer: Some(answer), correct, ..Facts::default() }
    }

    #[test]
    fn a_wrong_answer_is_confident_if_three_quarters_of_the_group_give_it() {
        let filter = Filter::WrongAndConfident;
        let three_of_four = [said(1, false), said(1, false), said(2, true), said(1, false)];
        assert_eq!(passing(filter, &three_of_four), [0, 1, 3]);
        let two_of_three = [said(1, false), said(1, false), said(2, true)];
        assert_eq!(passing(filter, &two_of_three), [0; 0]);
        assert_eq!(
            passing(filter, &[said(1, false)]),
            [0; 0],
            "one completion says nothing about confidence"
        );
        assert_eq!(passing(filter, &[said(2, true); 4]), [0; 0]);
        assert_eq!(passing(filter, &[Facts::default(); 4]), [0; 0], "no answer is not an answer");
    }

    #[test]
    fn thinking_is_needless_where_all_that_do_not_think_are_right_too() {
        let filter = Filter::ThinksNeedlessly;
        let thinks = |correct| Facts { thinks: true, ..said(1, correct) };
        assert_eq!(passing(filter, &[thinks(true), thinks(false), said(1, true)]), [0]);
        assert_eq!(passing(filter, &[thinks(true), said(1, true), said(2, false)]), [0; 0]);
        assert_eq!(passing(filter, &[thinks(true), thinks(true)]), [0; 0], "nobody tried without");
    }

    #[test]
    fn a_judge_disagrees_with_the_answer_or_with_another_judge() {
        let rated =
            |think_quality: f64, correct| Facts { think_quality: Some(think_quality), ..said(1, correct) };
        let split = |disagreement| Facts { disagreement: Some(disagreement), ..said(1, true) };
        let group = [
            rated(0.75, false),
            rated(0.7, false),
            rated(0.25, true),
            rated(0.3, true),
            split(0.5),
            split(0.4),
            said(1, false),
        ];
        assert_eq!(passing(Filter::JudgeDisagrees, &group), [0, 2, 4]);
    }
}
