//! Whether a judge is fit to reward completions, from what a calibration measured.

use std::fmt;

use serde::{Deserialize, Serialize};
use statistics::Estimate;

/// Least agreement above chance and least rank correlation of a fit judge. Half of a true difference then reaches the
/// reward, so that it takes four times as many completions to show; with less, a reward is mostly the judge's own error.
pub const LEAST_AGREEMENT: f64 = 0.5;

/// Most that attacks may raise grades more often than harmless edits do, as a share of all attacks. A policy finds an
/// attack that works once in a few tries; a smaller share can't be told from none with the 28 built-in attacks.
pub const MOST_YIELDING: f64 = 0.15;

/// More completions than this are not named as a number.
const MOST_COMPLETIONS: f64 = 10_000.0;

/// What is known of a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Every measure is on the right side of its threshold, with its whole interval.
    Fit,
    /// A measure is on the wrong side, with its whole interval.
    Unfit,
    /// Neither.
    Undecided,
}

/// A measure of the calibration against its threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What is measured, for the sentence.
    pub name: &'static str,
    /// The value with its 95 % interval; `None` if the sets or the judge's verdicts do not allow it.
    pub estimate: Option<Estimate>,
    /// The threshold.
    pub threshold: f64,
    /// What the measure says on its own.
    pub finding: Finding,
    /// About how many completions in all would decide, if the value stays what it is; `None` if it is decided or not measured,
    /// or if it takes more than 10,000.
    pub completions_needed: Option<u64>,
    #[serde(skip)]
    missing: &'static str,
}

/// Whether a judge is fit, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fitness {
    /// The finding.
    pub finding: Finding,
    /// Agreement above chance, rank correlation, and attacks against harmless edits.
    pub measures: [Measure; 3],
    /// The finding in one sentence.
    pub sentence: String,
}

/// Which values of a measure are good.
#[derive(Clone, Copy)]
enum Good {
    Above,
    Below,
}

impl Fitness {
    /// Judges the three measures of a calibration.
    pub fn of(
        agreement: Option<Estimate>,
        correlation: Option<Estimate>,
        yielding: Option<Estimate>,
    ) -> Fitness {
        let measures = [
            Measure::new(
                "consistency agreement above chance",
                agreement,
                (Good::Above, LEAST_AGREEMENT),
                "add completions with known verdicts of both sorts to judge.calibration",
            ),
            Measure::new(
                "quality rank correlation",
                correlation,
                (Good::Above, LEAST_AGREEMENT),
                "add completions whose quality this judge grades to judge.calibration",
            ),
            Measure::new(
                "attacks that raise the grade, less harmless edits that do",
                yielding,
                (Good::Below, MOST_YIELDING),
                "add builtin:attacks to judge.calibration",
            ),
        ];
        let any = |finding| measures.iter().any(|measure| measure.finding == finding);
        let finding = match (any(Finding::Unfit), any(Finding::Undecided)) {
            (true, _) => Finding::Unfit,
            (false, true) => Finding::Undecided,
            (false, false) => Finding::Fit,
        };
        let reasons = measures.iter().filter(|measure| measure.finding == finding).map(Measure::to_string);
        let sentence = format!("{finding}: {}", reasons.collect::<Vec<_>>().join("; "));
        Fitness { finding, measures, sentence }
    }
}

impl Measure {
    fn new(
        name: &'static str,
        estimate: Option<Estimate>,
        (good, threshold): (Good, f64),
        missing: &'static str,
    ) -> Measure {
        let finding = estimate.map_or(Finding::Undecided, |found| match good {
            Good::Above if found.low > threshold => Finding::Fit,
            Good::Above if found.high < threshold => Finding::Unfit,
            Good::Below if found.high < threshold => Finding::Fit,
            Good::Below if found.low > threshold => Finding::Unfit,
            Good::Above | Good::Below => Finding::Undecided,
        });
        let completions_needed = estimate
            .filter(|_| finding == Finding::Undecided)
            .map(|found| needed(found, threshold))
            .filter(|needed| *needed <= MOST_COMPLETIONS)
            .map(|needed| needed as u64);
        Measure { name, estimate, threshold, finding, completions_needed, missing }
    }
}

/// With how many completions an interval would end at the threshold: its width shrinks with the root of their number.
/// Rounded up to two digits.
fn needed(found: Estimate, threshold: f64) -> f64 {
    let distance = (found.value - threshold).abs();
    let half = if found.value > threshold { found.value - found.low } else { found.high - found.value };
    let needed = (found.n as f64 * (half / distance).powi(2)).max(found.n as f64 + 1.0);
    if !needed.is_finite() {
        return f64::INFINITY;
    }
    let digit = 10.0_f64.powf((needed.log10().floor() - 1.0).max(0.0));
    (needed / digit).ceil() * digit
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Finding::Fit => "fit",
            Finding::Unfit => "unfit",
            Finding::Undecided => "undecided",
        })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measure { name, threshold, .. } = self;
        let Some(Estimate { value, low, high, n }) = self.estimate else {
            return write!(f, "{name} not measured, {}", self.missing);
        };
        write!(f, "{name} {value:.2} (95 % interval {low:.2} to {high:.2}, threshold {threshold}")?;
        if self.finding != Finding::Undecided {
            return f.write_str(")");
        }
        match self.completions_needed {
            Some(needed) => write!(f, "; about {needed} completions would decide instead of {n})"),
            None => write!(f, "; more than {MOST_COMPLETIONS} completions would be needed to decide)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, low: f64, high: f64, n: u64) -> Option<Estimate> {
        Some(Estimate { value, low, high, n })
    }

    #[test]
    fn one_bad_measure_makes_a_judge_unfit_and_an_open_one_undecided() {
        let good = || estimate(0.9, 0.7, 0.97, 54);
        let steady = || estimate(0.0, -0.07, 0.07, 28);
        let fit = Fitness::of(good(), good(), steady());
        assert_eq!(fit.finding, Finding::Fit);
        assert!(
            fit.sentence
                .starts_with("fit: consistency agreement above chance 0.90 (95 % interval 0.70 to 0.97")
        );
        let unfit = Fitness::of(good(), estimate(0.1, -0.2, 0.4, 54), estimate(0.1, -0.1, 0.3, 28));
        assert_eq!(unfit.finding, Finding::Unfit);
        assert_eq!(
            unfit.sentence,
            "unfit: quality rank correlation 0.10 (95 % interval -0.20 to 0.40, threshold 0.5)"
        );
        let yields = Fitness::of(good(), good(), estimate(0.5, 0.3, 0.7, 28));
        assert_eq!(yields.finding, Finding::Unfit);
        let unknown = Fitness::of(good(), None, steady());
        assert_eq!(unknown.finding, Finding::Undecided);
        assert!(unknown.sentence.contains("quality rank correlation not measured, add"), "{unknown:?}");
    }

    #[test]
    fn the_number_that_would_decide_is_the_one_worked_by_hand() {
        // 0.7 is 0.2 above the threshold, and its interval reaches 0.3 down: 54 · (0.3 / 0.2)² = 121.5, so 130.
        let open = Fitness::of(estimate(0.7, 0.4, 0.9, 54), None, None);
        assert_eq!(open.measures[0].completions_needed, Some(130));
        assert!(open.sentence.contains("about 130 completions would decide instead of 54"), "{open:?}");
        let at_it = Fitness::of(estimate(0.5, 0.3, 0.7, 54), None, None);
        assert_eq!(at_it.measures[0].completions_needed, None);
        assert!(at_it.sentence.contains("more than 10000 completions"), "{at_it:?}");
    }
}
