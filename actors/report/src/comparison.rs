//! What each reward contributes: every arm is compared with the arm that it extends by one change. A comparison gives
//! the difference of each metric with its 95 % interval, and a verdict that claims no more than the answers support.
//!
//! Answers to the same questions are compared in pairs, with the methods of `docs/statistics.md`; the p-values are corrected
//! for all comparisons of the table.

use scenarios::Metric;
use serde::Serialize;
use statistics::{Comparison as Paired, Estimate, Finding, SeedVariance, holm, mean_difference, newcombe};

use crate::arm_summary::{ArmSummary, Evaluation, Score};
use crate::outcomes::Measure;
use crate::paper;

/// The comparison of an arm with the arm that it extends.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Name of the arm.
    pub arm: String,
    /// Name of the arm that it is compared with.
    pub over: String,
    /// What the arm adds, such as `consistency reward (CR)`.
    pub adds: String,
    /// How many questions each arm was asked, if not both were asked all: the difference may then be one of the questions.
    pub questions: Option<String>,
    /// One difference per metric, in the order in which they are shown.
    pub differences: Vec<Difference>,
}

/// The difference of one metric between two arms.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// `accuracy`, `accuracy (hard)`, `consistency`, `think quality`, `think rate` or `length`.
    #[serde(rename = "figure")]
    pub metric: String,
    /// `points` (percentage points) or `tokens`.
    pub unit: String,
    /// This arm minus the other, in that unit; `None` if one of the arms has no value.
    pub estimate: Option<Estimate>,
    /// The p-value of no difference, corrected for the whole table by Holm's method; `None` if the answers are not recorded.
    pub p_value: Option<f64>,
    /// The smallest difference that these questions and seeds find in 80 of 100 runs, in that unit, before the correction.
    pub detectable: Option<f64>,
    /// What can be concluded, where a difference of less than 2 points or 1 token is of no interest.
    pub finding: Option<Finding>,
    /// Of the seeds that both arms were evaluated with: how many have a difference of the same sign as the pooled one,
    /// and how many there are. `None` with fewer than two such seeds.
    pub seeds_agreeing: Option<(usize, usize)>,
    /// The conclusion in a few words.
    pub verdict: String,
    #[serde(skip)]
    pub(crate) measure: Measure,
}

/// The smallest difference that is of interest where no hypothesis says otherwise: 2 percentage points, or 1 token.
const SMALLEST_EFFECT: [f64; 2] = [2.0, 1.0];

/// The variance between training seeds of a metric, over all arms that were trained and evaluated on the suite.
pub(crate) fn seed_variance<'a>(
    arms: impl IntoIterator<Item = &'a ArmSummary>,
    suite: &str,
    measure: &Measure,
) -> Option<SeedVariance> {
    let outcomes = arms.into_iter().filter_map(|arm| arm.evals.get(suite)?.outcomes.as_ref());
    SeedVariance::pooled(outcomes.filter_map(|outcomes| outcomes.panel(measure).seed_variance()))
}

/// Two arms compared question by question; `None` if the answers of one are not recorded.
pub(crate) fn paired(
    new: &Evaluation,
    old: &Evaluation,
    measure: &Measure,
    seeds: Option<SeedVariance>,
) -> Option<Paired> {
    let (new, old) = (new.outcomes.as_ref()?.panel(measure), old.outcomes.as_ref()?.panel(measure));
    match measure.metric {
        Metric::Length => new.mean_difference(&old, seeds),
        _ => new.share_difference(&old, seeds),
    }
}

/// Two arms to compare.
pub(crate) struct Pair<'a> {
    pub(crate) arm: &'a ArmSummary,
    pub(crate) over: &'a ArmSummary,
    /// What the first adds to the second.
    pub(crate) adds: String,
}

/// Compares every arm with its predecessor, where both were evaluated on the suite.
pub(super) fn compare(arms: &[ArmSummary], suite: &str) -> Vec<Comparison> {
    let pairs = arms.iter().enumerate().filter_map(|(at, arm)| {
        let (over, adds) = predecessor(arms, at)?;
        Some(Pair { arm, over, adds })
    });
    table(pairs.collect(), arms, suite)
}

/// A table of comparisons. `arms` are those over which the variance between seeds is pooled.
pub(crate) fn table<'a>(
    pairs: Vec<Pair<'_>>,
    arms: impl IntoIterator<Item = &'a ArmSummary> + Clone,
    suite: &str,
) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    let mut all_paired = Vec::new();
    for Pair { arm, over, adds } in pairs {
        let (Some(new), Some(old)) = (arm.evals.get(suite), over.evals.get(suite)) else { continue };
        // Until a fork is evaluated, its answers are those of its parent.
        if arm.fork.as_ref().is_some_and(|fork| new.steps.values().all(|step| *step <= fork.step)) {
            continue;
        }
        let mut differences = Vec::new();
        for measure in Measure::shown() {
            if measure.difficulty.is_some() && (new.at("hard").is_none() || old.at("hard").is_none()) {
                continue;
            }
            let seeds = seed_variance(arms.clone(), suite, &measure);
            let paired = paired(new, old, &measure, seeds);
            differences.push(Difference::of(new, old, measure, paired.as_ref()));
            all_paired.push(paired);
        }
        let questions = (new.asked.is_some() || old.asked.is_some()).then(|| {
            let asked = |eval: &Evaluation| {
                eval.asked.clone().unwrap_or_else(|| format!("all {} asked", eval.questions))
            };
            format!("{}: {}; {}: {}", arm.name, asked(new), over.name, asked(old))
        });
        let (arm, over) = (arm.name.clone(), over.name.clone());
        comparisons.push(Comparison { arm, over, adds, questions, differences });
    }
    let p_values: Vec<f64> = all_paired.iter().flatten().map(|paired| paired.p_value).collect();
    let mut corrected = holm(&p_values).into_iter();
    let differences = comparisons.iter_mut().flat_map(|comparison| &mut comparison.differences);
    for (difference, paired) in differences.zip(all_paired) {
        if let Some(paired) = paired
            && let Some(p_value) = corrected.next()
        {
            difference.conclude(&paired, p_value);
        }
    }
    comparisons
}

/// The arm that `arms[at]` is compared with, and what it adds to that arm. In this order: for a fork, the arm that was copied,
/// which has the same weights and data up to there; the predecessor in the paper;
/// the arm with the longest name that this name extends (`grpo` for `grpo+brevity`); the previous arm in the scenario
/// that has the same training method.
fn predecessor(arms: &[ArmSummary], at: usize) -> Option<(&ArmSummary, String)> {
    let arm = &arms[at];
    let named = |name: &str| arms.iter().find(|other| other.name.eq_ignore_ascii_case(name));
    if let Some(fork) = &arm.fork
        && let Some(over) = named(&fork.arm)
    {
        let changes = if fork.changes.is_empty() { "no change".into() } else { fork.changes.join(", ") };
        return Some((over, format!("fork after step {}: {changes}", fork.step)));
    }
    if let Some((before, adds)) = paper::predecessor(&arm.name)
        && let Some(over) = named(before)
    {
        return Some((over, adds.to_owned()));
    }
    let extended = arms
        .iter()
        .filter_map(|over| Some((over, arm.name.strip_prefix(&over.name)?.strip_prefix('+')?)))
        .min_by_key(|(_, adds)| adds.len());
    if let Some((over, adds)) = extended {
        return Some((over, adds.to_owned()));
    }
    let over = arms[..at].iter().rev().find(|other| other.method == arm.method)?;
    Some((over, format!("{} instead of {}", arm.name, over.name)))
}

impl Difference {
    fn of(new: &Evaluation, old: &Evaluation, measure: Measure, paired: Option<&Paired>) -> Self {
        let counted = || {
            let of = |eval: &Evaluation| match measure.metric {
                Metric::Length => eval.length,
                _ => measure.of(eval),
            };
            let (new, old) = (of(new)?, of(old)?);
            Some(match measure.metric {
                Metric::Length => mean_difference(new, old),
                _ => newcombe(new, old),
            })
        };
        let estimate = paired.map(|paired| paired.estimate).or_else(counted);
        let estimate = estimate.map(|estimate| estimate.scaled(measure.factor()));
        let verdict = match estimate {
            None => "nothing to compare".to_owned(),
            Some(estimate) if estimate.includes_zero() => {
                format!("not distinguishable at n = {}", estimate.n)
            }
            Some(estimate) => measure.word(estimate.value > 0.0).to_owned(),
        };
        Difference {
            metric: measure.name(),
            unit: measure.unit().to_owned(),
            estimate,
            p_value: None,
            detectable: None,
            finding: None,
            seeds_agreeing: None,
            verdict,
            measure,
        }
    }

    /// A contrast of several arms, before its p-value is corrected.
    pub(crate) fn of_contrast(measure: Measure, paired: Option<&Paired>) -> Self {
        Difference {
            metric: measure.name(),
            unit: measure.unit().to_owned(),
            estimate: paired.map(|paired| paired.estimate.scaled(measure.factor())),
            p_value: None,
            detectable: None,
            finding: None,
            seeds_agreeing: None,
            verdict: "not determined".to_owned(),
            measure,
        }
    }

    /// Takes in what the paired answers allow to conclude, with the p-value corrected for the table.
    pub(crate) fn conclude(&mut self, paired: &Paired, p_value: f64) {
        let factor = self.measure.factor();
        let finding = paired.finding(p_value, self.measure.smallest_effect() / factor);
        let seeds = paired.by_seed.len();
        let same = paired.by_seed.iter().filter(|&&value| value * paired.estimate.value > 0.0).count();
        self.p_value = Some(p_value);
        self.detectable = Some(paired.detectable() * factor);
        self.finding = Some(finding);
        self.seeds_agreeing = (seeds > 1).then_some((same, seeds));
        self.verdict = self.measure.verdict(finding, self.seeds_agreeing, paired.detectable() * factor);
    }
}

impl Measure {
    /// The metrics of a table of contributions.
    pub(crate) fn shown() -> [Measure; 6] {
        [
            Measure::overall(Metric::Accuracy),
            Measure { metric: Metric::Accuracy, difficulty: Some("hard".to_owned()) },
            Measure::overall(Metric::Consistency),
            Measure::overall(Metric::ThinkQuality),
            Measure::overall(Metric::ThinkRate),
            Measure::overall(Metric::Length),
        ]
    }

    /// The figure of an evaluation, from 0 to 1, as it is computed from counts.
    fn of(&self, eval: &Evaluation) -> Option<Estimate> {
        let score = match &self.difficulty {
            Some(difficulty) => eval.at(difficulty)?,
            None => &eval.overall,
        };
        let get: fn(&Score) -> Option<Estimate> = match self.metric {
            Metric::Accuracy => |score| score.accuracy,
            Metric::Consistency => |score| score.consistency,
            Metric::ThinkQuality => |score| score.think_quality,
            Metric::ThinkRate => |score| score.think_rate,
            Metric::Format => |score| score.format_rate,
            Metric::Length => |_| None,
        };
        get(score)
    }

    pub(crate) fn smallest_effect(&self) -> f64 {
        SMALLEST_EFFECT[usize::from(self.metric == Metric::Length)]
    }

    fn word(&self, up: bool) -> &'static str {
        match (self.metric, up) {
            (Metric::Length, true) => "longer",
            (Metric::Length, false) => "shorter",
            (_, true) => "higher",
            (_, false) => "lower",
        }
    }

    /// The conclusion in a few words. A difference may be found over all answers and yet not in each seed.
    fn verdict(&self, finding: Finding, seeds: Option<(usize, usize)>, detectable: f64) -> String {
        let unit = self.unit();
        let word = match finding {
            Finding::Equivalent => return format!("no more than ±{} {unit}", self.smallest_effect()),
            Finding::Undecided => {
                return format!("undecided; {detectable:.1} {unit} would be found");
            }
            Finding::Higher => self.word(true),
            Finding::Lower => self.word(false),
        };
        match seeds {
            Some((same, all)) => format!("{word}, in {same} of {all} seeds"),
            None => format!("{word} in one seed; reruns may differ"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_claims_no_more_than_was_found() {
        let accuracy = Measure::overall(Metric::Accuracy);
        let of = |finding, seeds| accuracy.verdict(finding, seeds, 5.25);
        assert_eq!(of(Finding::Undecided, None), "undecided; 5.2 points would be found");
        assert_eq!(of(Finding::Equivalent, Some((1, 3))), "no more than ±2 points");
        assert_eq!(of(Finding::Higher, Some((2, 3))), "higher, in 2 of 3 seeds");
        assert_eq!(of(Finding::Lower, None), "lower in one seed; reruns may differ");
        let length = Measure::overall(Metric::Length);
        assert_eq!(length.verdict(Finding::Higher, Some((3, 3)), 1.0), "longer, in 3 of 3 seeds");
    }
}
