//! The answers to the hypotheses of the scenario, which were written before the run.

use scenarios::{Claim, Hypothesis, Relation};
use serde::Serialize;
use statistics::{Comparison as Paired, Estimate, Finding, Needed, holm};

use crate::arm_summary::{ArmSummary, Evaluation};
use crate::comparison::{paired, seed_variance};
use crate::outcomes::Measure;

/// What a run says of a hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The claim holds, at the 5 % level over all hypotheses of the run.
    Supported,
    /// The opposite holds, or the difference is below the smallest effect of interest.
    Refuted,
    /// The answers are too few to tell.
    Undecided,
    /// The arms have no answers to the same questions.
    Unanswered,
}

impl Verdict {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Supported => "supported",
            Verdict::Refuted => "refuted",
            Verdict::Undecided => "undecided",
            Verdict::Unanswered => "unanswered",
        }
    }
}

/// The answer to a hypothesis.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The hypothesis' name.
    pub name: String,
    /// The claim as it was written.
    pub claim: String,
    /// The suite whose answers decide.
    pub suite: String,
    /// The unit of the figures: `points` or `tokens`.
    pub unit: String,
    /// The smallest effect of interest, in that unit.
    pub smallest_effect: f64,
    /// The first arm minus the second, in that unit.
    pub estimate: Option<Estimate>,
    /// The p-value of no difference, corrected for the run's other hypotheses by Holm's method.
    pub p_value: Option<f64>,
    /// The answer.
    pub verdict: Verdict,
    /// The answer as a sentence.
    pub sentence: String,
}

/// Answers all hypotheses of a run. `suites` are in the order of the report.
pub(crate) fn answers(hypotheses: &[Hypothesis], arms: &[ArmSummary], suites: &[String]) -> Vec<Answer> {
    let asked: Vec<(Answer, Asked)> =
        hypotheses.iter().filter_map(|hypothesis| ask(hypothesis, arms, suites)).collect();
    let p_values: Vec<f64> =
        asked.iter().filter_map(|(_, asked)| Some(asked.paired.as_ref()?.p_value)).collect();
    let mut corrected = holm(&p_values).into_iter();
    let mut answers = Vec::new();
    for (mut answer, asked) in asked {
        if let Some(paired) = &asked.paired
            && let Some(p_value) = corrected.next()
        {
            answer.conclude(&asked, paired, p_value);
        }
        answers.push(answer);
    }
    answers
}

/// What a claim compares.
struct Asked {
    claim: Claim,
    measure: Measure,
    paired: Option<Paired>,
}

fn ask(hypothesis: &Hypothesis, arms: &[ArmSummary], suites: &[String]) -> Option<(Answer, Asked)> {
    // A recorded scenario was checked when the run began.
    let claim = Claim::parse(&hypothesis.claim).ok()?;
    let measure = Measure { metric: claim.metric, difficulty: claim.difficulty.clone() };
    let suite = hypothesis.suite.clone().or_else(|| suites.first().cloned()).unwrap_or_default();
    let of = |name: &str| arms.iter().find(|arm| arm.name == name)?.evals.get(&suite);
    let both: Option<(&Evaluation, &Evaluation)> = of(&claim.arm).zip(of(&claim.other));
    let seeds = seed_variance(arms, &suite, &measure);
    let paired = both.and_then(|(new, old)| paired(new, old, &measure, seeds));
    let sentence =
        format!("Unanswered: {} and {} have no answers to the same questions.", claim.arm, claim.other);
    let answer = Answer {
        name: hypothesis.name.clone(),
        claim: claim.to_string(),
        suite,
        unit: measure.unit().to_owned(),
        smallest_effect: hypothesis.smallest_effect.unwrap_or(measure.smallest_effect()),
        estimate: None,
        p_value: None,
        verdict: Verdict::Unanswered,
        sentence,
    };
    Some((answer, Asked { claim, measure, paired }))
}

impl Answer {
    fn conclude(&mut self, asked: &Asked, paired: &Paired, p_value: f64) {
        let factor = asked.measure.factor();
        let estimate = paired.estimate.scaled(factor);
        let finding = paired.finding(p_value, self.smallest_effect / factor);
        self.verdict = verdict(asked.claim.relation, finding, estimate, self.smallest_effect);
        self.estimate = Some(estimate);
        self.p_value = Some(p_value);
        let Asked { claim, measure, .. } = asked;
        let Estimate { value, low, high, .. } = estimate;
        let unit = &self.unit;
        let more = if value < 0.0 { "less" } else { "more" };
        let figures = format!("[{low:+.1}, {high:+.1}], p {}", in_words(p_value));
        let found = match finding {
            Finding::Equivalent => format!(
                "{} and {} differ by less than {} {unit} in {} ({value:+.1} {figures})",
                claim.arm,
                claim.other,
                self.smallest_effect,
                measure.name()
            ),
            Finding::Higher | Finding::Lower | Finding::Undecided => format!(
                "{} has {:.1} {unit} {more} {} than {} ({figures})",
                claim.arm,
                value.abs(),
                measure.name(),
                claim.other
            ),
        };
        self.sentence = match self.verdict {
            Verdict::Supported => format!("Supported: {found}."),
            Verdict::Refuted => format!("Refuted: {found}."),
            Verdict::Undecided | Verdict::Unanswered => {
                let needed = match paired.needed(self.smallest_effect / factor) {
                    Needed::Questions(needed) => format!("{needed} questions (now {})", paired.questions()),
                    Needed::Seeds(needed) => format!("{needed} seeds (now {})", paired.seeds()),
                };
                format!(
                    "Undecided: {found}; an effect of {} {unit} takes about {needed}.",
                    self.smallest_effect
                )
            }
        };
    }
}

/// The verdict on a claim.
fn verdict(relation: Relation, finding: Finding, estimate: Estimate, smallest: f64) -> Verdict {
    match (relation, finding) {
        (Relation::More, Finding::Higher)
        | (Relation::Less, Finding::Lower)
        | (Relation::Same, Finding::Equivalent) => Verdict::Supported,
        (Relation::More, Finding::Lower | Finding::Equivalent)
        | (Relation::Less, Finding::Higher | Finding::Equivalent) => Verdict::Refuted,
        // A difference that is there may still be smaller than of interest.
        (Relation::Same, Finding::Higher | Finding::Lower)
            if estimate.low > smallest || estimate.high < -smallest =>
        {
            Verdict::Refuted
        }
        (Relation::Same, Finding::Higher | Finding::Lower) | (_, Finding::Undecided) => Verdict::Undecided,
    }
}

/// A p-value with two digits.
pub(crate) fn in_words(p_value: f64) -> String {
    match p_value {
        p_value if p_value < 0.001 => "< 0.001".to_owned(),
        p_value if p_value < 0.1 => format!("= {p_value:.3}"),
        p_value => format!("= {p_value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_supported_refuted_or_open() {
        use Relation::{Less, More, Same};
        let of = |relation, finding, low: f64, high: f64| {
            let estimate = Estimate { value: (low + high) / 2.0, low, high, n: 100 };
            verdict(relation, finding, estimate, 2.0).name()
        };
        assert_eq!(of(More, Finding::Higher, 3.0, 9.0), "supported");
        assert_eq!(of(More, Finding::Lower, -9.0, -3.0), "refuted");
        assert_eq!(of(More, Finding::Equivalent, -1.0, 1.0), "refuted");
        assert_eq!(of(Less, Finding::Lower, -9.0, -3.0), "supported");
        assert_eq!(of(Less, Finding::Undecided, -9.0, 3.0), "undecided");
        assert_eq!(of(Same, Finding::Equivalent, -1.0, 1.0), "supported");
        assert_eq!(of(Same, Finding::Higher, 3.0, 9.0), "refuted");
        assert_eq!(of(Same, Finding::Higher, 1.0, 9.0), "undecided", "it may be below 2");
        assert_eq!(
            (in_words(0.0004), in_words(0.0312), in_words(0.4)),
            ("< 0.001".into(), "= 0.031".into(), "= 0.40".into())
        );
    }
}
