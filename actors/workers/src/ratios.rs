//! How far the policy that sampled is from the one that is trained: `r = π_old / π_sampled` per token, before any cap.
//!
//! With servers the two differ even for the same weights, because another program computed the probabilities.
//!
//! - `RATIO-1` a ratio that is no number is counted, and never hidden by the others.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Sums over the tokens of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplingRatios {
    /// Number of tokens.
    pub tokens: u64,
    /// Tokens whose ratio is NaN or infinite; the sums are without them.
    pub not_finite: u64,
    sum: f64,
    sum_of_squares: f64,
    largest: f64,
    gap_sum: f64,
    largest_gap: f64,
}

impl SamplingRatios {
    /// Measures a micro-batch.
    ///
    /// Shapes: `old`, `sampled: [N, T]`, float; `mask: [N, T]`, bool
    pub(crate) fn of(old: &Tensor, sampled: &Tensor, mask: &Tensor) -> Result<Self, tch::TchError> {
        let gaps = (old.to_kind(Kind::Double) - sampled.to_kind(Kind::Double)).masked_select(mask);
        let mut ratios = SamplingRatios::default();
        for gap in Vec::<f64>::try_from(gaps)? {
            let ratio = gap.exp();
            ratios.tokens += 1;
            if !ratio.is_finite() {
                ratios.not_finite += 1;
                continue;
            }
            ratios.sum += ratio;
            ratios.sum_of_squares += ratio * ratio;
            ratios.largest = ratios.largest.max(ratio);
            ratios.gap_sum += gap.abs();
            ratios.largest_gap = ratios.largest_gap.max(gap.abs());
        }
        Ok(ratios)
    }

    pub(crate) fn add(&mut self, other: &SamplingRatios) {
        self.tokens += other.tokens;
        self.not_finite += other.not_finite;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        self.largest = self.largest.max(other.largest);
        self.gap_sum += other.gap_sum;
        self.largest_gap = self.largest_gap.max(other.largest_gap);
    }

    fn finite(&self) -> Option<f64> {
        let finite = self.tokens - self.not_finite;
        (finite > 0).then_some(finite as f64)
    }

    /// The mean ratio, the largest, the mean absolute difference of the log-probabilities and the largest; `None` without
    /// a finite ratio.
    pub fn figures(&self) -> Option<[f64; 4]> {
        let finite = self.finite()?;
        Some([self.sum / finite, self.largest, self.gap_sum / finite, self.largest_gap])
    }

    /// The effective sample size, `(Σ r)² / Σ r²`, as a fraction of the tokens; 0 if a ratio is not finite (RATIO-1).
    pub fn effective_fraction(&self) -> Option<f64> {
        if self.not_finite > 0 {
            return Some(0.0);
        }
        let finite = self.finite()?;
        Some(if self.sum_of_squares > 0.0 {
            self.sum * self.sum / (finite * self.sum_of_squares)
        } else {
            0.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: &[f32], sampled: &[f32]) -> SamplingRatios {
        let row = |values: &[f32]| Tensor::from_slice(values).view([1, -1]);
        let mask = Tensor::from_slice(&vec![true; old.len()]).view([1, -1]);
        SamplingRatios::of(&row(old), &row(sampled), &mask).unwrap()
    }

    #[test]
    fn the_figures_are_those_of_the_ratios() {
        // Ratios 1 and 3: mean 2, effective sample size 16 / 10 = 1.6 of 2 tokens.
        let ratios = of(&[-1.0, -1.0 + 3f32.ln()], &[-1.0, -1.0]);
        let [mean, largest, gap, largest_gap] = ratios.figures().unwrap();
        let log_3 = 3f64.ln();
        for (found, expected) in [(mean, 2.0), (largest, 3.0), (gap, log_3 / 2.0), (largest_gap, log_3)] {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert!((ratios.effective_fraction().unwrap() - 0.8).abs() < 1e-6);
        let mut twice = ratios;
        twice.add(&ratios);
        assert!((twice.effective_fraction().unwrap() - 0.8).abs() < 1e-6);
    }

    #[test]
    fn ratio_1_a_ratio_that_is_no_number_leaves_no_effective_sample() {
        for bad in [f32::NAN, f32::INFINITY] {
            let ratios = of(&[-1.0, bad], &[-1.0, -1.0]);
            assert_eq!((ratios.tokens, ratios.not_finite), (2, 1));
            assert_eq!(ratios.effective_fraction(), Some(0.0));
            let mut after = of(&[-1.0], &[-1.0]);
            after.add(&ratios);
            assert_eq!(after.effective_fraction(), Some(0.0));
        }
        assert_eq!(SamplingRatios::default().effective_fraction(), None);
    }
}
