//! What the comparison of two arms allows to conclude.

use serde::Serialize;

use crate::Estimate;
use crate::spread::Spread;

/// Power for which effects and numbers of questions are stated.
const POWER: f64 = 0.8;

/// The difference of two arms in one metric.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The difference with its 95 % interval.
    pub estimate: Estimate,
    /// The two-sided p-value of a difference of 0, for this comparison alone.
    pub p_value: f64,
    /// The difference within each seed, in the order of the seeds; empty if the arms have no seed in common.
    pub by_seed: Vec<f64>,
    spread: Spread,
}

/// What a comparison allows to conclude about an effect of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The first arm has more.
    Higher,
    /// The first arm has less.
    Lower,
    /// The arms differ by less than the smallest effect of interest, one way or the other.
    Equivalent,
    /// More questions or seeds are needed.
    Undecided,
}

/// What would decide an undecided comparison with a power of 80 %, if the variances stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    /// This many questions, under as many seeds as now.
    Questions(u64),
    /// This many seeds, with as many questions as now.
    Seeds(u64),
}

impl Comparison {
    pub(crate) fn new(value: f64, spread: Spread, n: u64, by_seed: Vec<f64>) -> Self {
        let half = spread.quantile(0.975) * spread.error();
        Comparison {
            estimate: Estimate { value, low: value - half, high: value + half, n },
            p_value: spread.p_value(value),
            by_seed,
            spread,
        }
    }

    /// Number of questions that were compared.
    pub fn questions(&self) -> usize {
        self.spread.number_of_questions
    }

    /// Number of training seeds, of the arm with fewer.
    pub fn seeds(&self) -> usize {
        self.spread.number_of_seeds
    }

    /// The smallest true difference that is found in 80 of 100 comparisons like this one, at the 5 % level.
    pub fn detectable(&self) -> f64 {
        (self.spread.quantile(0.975) + self.spread.quantile(POWER)) * self.spread.error()
    }

    /// Whether the arms differ by less than `margin`: two one-sided tests at 5 % each (Schuirmann 1987), so that the 90 %
    /// interval is within the margin.
    pub fn is_within(&self, margin: f64) -> bool {
        let half = self.spread.quantile(0.95) * self.spread.error();
        self.estimate.value.abs() + half < margin
    }

    /// What can be concluded. `p_value` is this comparison's, corrected for those beside it ([`holm`]); `margin` is the
    /// smallest effect of interest.
    pub fn finding(&self, p_value: f64, margin: f64) -> Finding {
        match self.estimate.value {
            // An effect that is there but smaller than of interest is no effect of interest.
            _ if self.is_within(margin) => Finding::Equivalent,
            value if p_value < 0.05 && value > 0.0 => Finding::Higher,
            value if p_value < 0.05 && value < 0.0 => Finding::Lower,
            _ => Finding::Undecided,
        }
    }

    /// What it takes to find an effect of `size`.
    pub fn needed(&self, size: f64) -> Needed {
        let spread = &self.spread;
        let error = size / (spread.quantile(0.975) + spread.quantile(POWER));
        let variance = error * error;
        let (questions, seeds) = (spread.number_of_questions as f64, spread.number_of_seeds as f64);
        // Within one seed, more seeds also average the answers to a question.
        if spread.seeds < variance / 2.0 {
            let needed = questions * spread.questions / (variance - spread.seeds);
            return Needed::Questions(needed.max(questions + 1.0).round() as u64);
        }
        let needed = seeds * spread.seeds / (variance - spread.questions).max(variance / 2.0);
        Needed::Seeds(needed.max(seeds + 1.0).ceil() as u64)
    }
}

/// Holm's (1979) correction: the p-values of a table so that one below 5 % anywhere in it is a false one in at most 5 % of
/// such tables. In the order of the input.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max(p_values[at] * (p_values.len() - rank) as f64).min(1.0);
        corrected[at] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holm_s_correction_is_the_textbook_s() {
        // Holm's example: 0.01, 0.04, 0.03, 0.005 → 0.03, 0.06, 0.06, 0.02.
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, want) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - want).abs() < 1e-12, "{corrected:?}");
        }
        assert!(holm(&[]).is_empty());
    }

    fn spread(questions: f64, seeds: f64) -> Spread {
        Spread { questions, seeds, freedom: f64::INFINITY, number_of_questions: 100, number_of_seeds: 2 }
    }

    #[test]
    fn an_effect_is_found_is_absent_or_is_open() {
        // The standard error is 1 point.
        let of = |value: f64| Comparison::new(value, spread(1e-4, 0.0), 100, Vec::new());
        let found = |value: f64, margin: f64| of(value).finding(of(value).p_value, margin);
        assert_eq!(found(0.03, 0.01), Finding::Higher);
        assert_eq!(found(-0.03, 0.01), Finding::Lower);
        assert_eq!(found(0.005, 0.03), Finding::Equivalent);
        assert_eq!(found(0.015, 0.01), Finding::Undecided);
        // 1.96 + 0.84 standard errors.
        assert!((of(0.0).detectable() - 0.0280).abs() < 1e-4);
        // Half the error takes four times the questions.
        assert_eq!(of(0.0).needed(0.014), Needed::Questions(400));
        let by_seed = Comparison::new(0.0, spread(1e-6, 1e-4), 100, Vec::new());
        assert!(matches!(by_seed.needed(0.014), Needed::Seeds(8..=9)), "{:?}", by_seed.needed(0.014));
    }
}
