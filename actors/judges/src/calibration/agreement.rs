//! A judge's grades compared with the known ones.

use records::statistics::mean_of;
use scenarios::JudgedExample;
use serde::Serialize;
use statistics::{Estimate, newcombe, wilson};

use crate::judgement::Judgement;

/// Known and given grades of the completions that the judge graded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grades {
    /// Known and given consistency.
    pub consistency: Vec<(f64, f64)>,
    /// Known and given quality.
    pub quality: Vec<(f64, f64)>,
}

/// The judge's grades compared with the known ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Number of completions for which the judge gave a consistency.
    pub consistency_n: usize,
    /// Fraction of those that agree with the known one: the two differ by less than 0.5.
    pub consistency_agreement: Option<f64>,
    /// Number of completions for which the judge gave a quality.
    pub quality_n: usize,
    /// Spearman's rank correlation with the known quality.
    pub quality_rank_correlation: Option<f64>,
    /// Mean absolute difference from the known quality, on the scale from 0 to 1.
    pub quality_error: Option<f64>,
}

impl Grades {
    /// The grades of a set's completions.
    pub fn of(examples: &[JudgedExample], given: &[Judgement]) -> Grades {
        let pairs = |known: fn(&JudgedExample) -> f64, score: fn(&Judgement) -> Option<f64>| {
            let both = |(example, judgement)| Some((known(example), score(judgement)?));
            examples.iter().zip(given).filter_map(both).collect()
        };
        Grades {
            consistency: pairs(|example| example.consistency, |judgement| judgement.verdict.consistency),
            quality: pairs(|example| example.quality, |judgement| judgement.verdict.think_quality),
        }
    }

    /// Adds the grades of another set.
    pub fn extend(&mut self, other: &Grades) {
        self.consistency.extend(&other.consistency);
        self.quality.extend(&other.quality);
    }

    /// The comparison that is printed for a set.
    pub fn agreement(&self) -> Agreement {
        let agreeing = self.consistency.iter().map(|pair| f64::from(u8::from(agrees(pair))));
        let errors = self.quality.iter().map(|(known, given)| (known - given).abs());
        Agreement {
            consistency_n: self.consistency.len(),
            consistency_agreement: mean_of(agreeing),
            quality_n: self.quality.len(),
            quality_rank_correlation: spearman(&self.quality),
            quality_error: mean_of(errors),
        }
    }

    /// The judge's agreement above chance: the share of consistent completions that it calls consistent, less the share
    /// of inconsistent ones that it calls so (Youden's J). It is 0 for a judge that does not read the completion, whatever
    /// it prefers to say, and 1 for one that is always right. The interval is Newcombe's for the difference of two
    /// shares. `None` without completions of both sorts.
    pub fn agreement_above_chance(&self) -> Option<Estimate> {
        let [(inconsistent, rejected), (consistent, accepted)] = self.by_sort();
        let called_consistent = wilson((inconsistent - rejected) as f64, inconsistent)?;
        let difference = newcombe(wilson(accepted as f64, consistent)?, called_consistent);
        Some(Estimate { n: self.consistency.len() as u64, ..difference })
    }

    /// The shares of the inconsistent and of the consistent completions on which the judge agrees. `None` without completions
    /// of both sorts.
    pub fn agreement_by_sort(&self) -> Option<[f64; 2]> {
        let sorts = self.by_sort();
        sorts.iter().all(|(n, _)| *n > 0).then(|| sorts.map(|(n, agreed)| agreed as f64 / n as f64))
    }

    /// The inconsistent and the consistent completions: how many there are, and on how many the judge agrees.
    fn by_sort(&self) -> [(u64, u64); 2] {
        [0.0, 1.0].map(|sort: f64| {
            let of_this_sort = self.consistency.iter().filter(|pair| (pair.0 - sort).abs() < 0.5);
            of_this_sort.fold((0, 0), |(n, agreed), pair| (n + 1, agreed + u64::from(agrees(pair))))
        })
    }

    /// Spearman's rank correlation of the qualities, with the interval of Bonett and Wright (2000): Fisher's
    /// transformation, with the variance `(1 + r² / 2) / (n − 3)`. A judge that gives every completion the same grade has
    /// a correlation of 0. `None` with fewer than four completions, or if their known qualities are equal.
    pub fn quality_correlation(&self) -> Option<Estimate> {
        let n = self.quality.len();
        let first = self.quality.first()?.0;
        if n < 4 || self.quality.iter().all(|(known, _)| *known == first) {
            return None;
        }
        let value = spearman(&self.quality).unwrap_or(0.0);
        // The transformation of 1 is infinite.
        let transformed = value.clamp(-0.999_999, 0.999_999).atanh();
        let half = 1.96 * ((1.0 + value * value / 2.0) / (n as f64 - 3.0)).sqrt();
        let (low, high) = ((transformed - half).tanh().min(value), (transformed + half).tanh().max(value));
        Some(Estimate { value, low, high, n: n as u64 })
    }
}

/// Whether a given consistency agrees with the known one.
fn agrees((known, given): &(f64, f64)) -> bool {
    (known - given).abs() < 0.5
}

/// Spearman's rank correlation. Equal values have the mean of their ranks. `None` if all values of one side are equal.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let one = ranks(pairs.iter().map(|pair| pair.0).collect());
    let two = ranks(pairs.iter().map(|pair| pair.1).collect());
    let middle = (pairs.len() as f64 + 1.0) / 2.0;
    let product =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum() };
    let spread = (product(&one, &one) * product(&two, &two)).sqrt();
    (spread > 0.0).then(|| product(&one, &two) / spread)
}

fn ranks(values: Vec<f64>) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_equals_the_one_computed_by_hand() {
        // Ranks 1 2.5 2.5 4 against 1 2 4 3: centred -1.5 0 0 1.5 · -1.5 -0.5 1.5 0.5 = 2.25 + 0.75 = 3,
        // over sqrt(4.5 · 5) = 4.7434.
        let pairs = [(0.0, 0.1), (0.5, 0.2), (0.5, 0.9), (1.0, 0.3)];
        assert!((spearman(&pairs).unwrap() - 3.0 / 22.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(spearman(&[(0.0, 1.0), (1.0, 1.0)]), None);
        assert_eq!(spearman(&[]), None);
    }

    fn consistencies(counts: [(f64, f64, usize); 4]) -> Grades {
        let pairs = counts.iter().flat_map(|&(known, given, n)| std::iter::repeat_n((known, given), n));
        Grades { consistency: pairs.collect(), quality: Vec::new() }
    }

    #[test]
    fn a_judge_that_always_says_consistent_has_no_agreement_above_chance() {
        let always = consistencies([(1.0, 1.0, 36), (1.0, 0.0, 0), (0.0, 0.0, 0), (0.0, 1.0, 18)]);
        assert!(always.agreement().consistency_agreement.unwrap() > 0.66);
        assert_eq!(always.agreement_above_chance().unwrap().value, 0.0);
        // 56 of 70 consistent and 48 of 80 inconsistent ones are called consistent: Newcombe's own example,
        // 0.2, from 0.0524 to 0.3339.
        let weak = consistencies([(1.0, 1.0, 56), (1.0, 0.0, 14), (0.0, 0.0, 32), (0.0, 1.0, 48)]);
        let above = weak.agreement_above_chance().unwrap();
        assert!((above.value - 0.2).abs() < 1e-9 && above.n == 150, "{above:?}");
        assert!((above.low - 0.0524).abs() < 5e-5 && (above.high - 0.3339).abs() < 5e-5, "{above:?}");
        let one_sort = consistencies([(1.0, 1.0, 9), (1.0, 0.0, 1), (0.0, 0.0, 0), (0.0, 1.0, 0)]);
        assert_eq!(one_sort.agreement_above_chance(), None);
    }

    #[test]
    fn the_interval_of_a_rank_correlation_is_that_of_bonett_and_wright() {
        let quality: Vec<(f64, f64)> = (0..28).map(|place| (f64::from(place), 0.5)).collect();
        // No correlation, n = 28: ± tanh(1.96 / sqrt(25)) = tanh(0.392) = 0.3731.
        let constant = Grades { quality, ..Grades::default() }.quality_correlation().unwrap();
        assert_eq!((constant.value, constant.n), (0.0, 28));
        assert!((constant.high - 0.3731).abs() < 1e-4 && (constant.low + 0.3731).abs() < 1e-4);
        let perfect: Vec<(f64, f64)> = (0..28).map(|place| (f64::from(place), f64::from(place))).collect();
        let perfect = Grades { quality: perfect, ..Grades::default() }.quality_correlation().unwrap();
        assert!((perfect.value - 1.0).abs() < 1e-12 && perfect.low > 0.99 && perfect.high >= perfect.value);
    }
}
