//! The statistics of the report, by methods that remain valid near 0 and 1.
//!
//! A share of completions gets Wilson's score interval, and the difference of two shares Newcombe's hybrid of
//! their two intervals. Think quality, a mean of values between 0 and 1, is treated as a share as well: values in
//! `[0, 1]` with mean `m` have a variance of at most `m (1 − m)`, so the interval is at worst too wide. Lengths
//! get the normal interval.

use serde::Serialize;

/// The 97.5 % point of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// An estimate with its 95 % interval, in the unit of the field that contains it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The point estimate, within the interval.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Number of completions behind the estimate; for a difference, of the arm with fewer.
    pub n: u64,
}

impl Estimate {
    /// Whether the interval includes zero; its ends count as inside.
    pub(crate) fn includes_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// Wilson's 95 % score interval for a share, from the sum of `n` values in `[0, 1]`; `None` if `n` is 0.
pub(super) fn share(sum: f64, n: u64) -> Option<Estimate> {
    if n == 0 {
        return None;
    }
    let count = n as f64;
    let value = (sum / count).clamp(0.0, 1.0);
    let denominator = 1.0 + Z * Z / count;
    let centre = (value + Z * Z / (2.0 * count)) / denominator;
    let half = Z / denominator * (value * (1.0 - value) / count + Z * Z / (4.0 * count * count)).sqrt();
    // Without the clamp, rounding could place an end of the interval beyond an estimate of 0 or 1.
    Some(Estimate {
        value,
        low: (centre - half).clamp(0.0, value),
        high: (centre + half).clamp(value, 1.0),
        n,
    })
}

/// Newcombe's 95 % interval for the difference `new − old` of two independent shares with their Wilson intervals.
pub(super) fn share_difference(new: Estimate, old: Estimate) -> Estimate {
    let value = new.value - old.value;
    let below = (new.value - new.low).hypot(old.high - old.value);
    let above = (new.high - new.value).hypot(old.value - old.low);
    Estimate { value, low: value - below, high: value + above, n: new.n.min(old.n) }
}

/// Mean and variance by Welford's running update.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    pub n: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds one value to the sample.
    pub(super) fn push(&mut self, value: f64) {
        self.n += 1;
        let before = value - self.mean;
        self.mean += before / self.n as f64;
        self.squares += before * (value - self.mean);
    }

    /// Adds another sample, by Chan's formula.
    pub(super) fn merge(&mut self, other: &Moments) {
        if other.n == 0 {
            return;
        }
        let n = self.n + other.n;
        let apart = other.mean - self.mean;
        let weight = other.n as f64 / n as f64;
        self.squares += other.squares + apart * apart * self.n as f64 * weight;
        self.mean += apart * weight;
        self.n = n;
    }

    /// The variance of the mean; `None` with fewer than two values.
    fn variance_of_mean(&self) -> Option<f64> {
        (self.n >= 2).then(|| self.squares / (self.n - 1) as f64 / self.n as f64)
    }

    /// The mean with its normal 95 % interval; `None` with fewer than two values.
    pub(super) fn estimate(&self) -> Option<Estimate> {
        let half = Z * self.variance_of_mean()?.sqrt();
        Some(Estimate { value: self.mean, low: self.mean - half, high: self.mean + half, n: self.n })
    }
}

/// The normal 95 % interval for the difference of two independent means, from their symmetric intervals.
pub(super) fn mean_difference(new: Estimate, old: Estimate) -> Estimate {
    let value = new.value - old.value;
    let half = (new.high - new.value).hypot(old.high - old.value);
    Estimate { value, low: value - half, high: value + half, n: new.n.min(old.n) }
}

/// Exponential smoothing with bias correction: each sum is divided by the total weight so far, so the start is not
/// pulled to zero. `window` is roughly the number of values that contribute to one smoothed value.
pub(super) fn smooth(points: &[(f64, f64)], window: f64) -> Vec<(f64, f64)> {
    let keep = 1.0 - 2.0 / (window.max(1.0) + 1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mut out = Vec::with_capacity(points.len());
    for &(x, y) in points {
        sum = sum * keep + y;
        weight = weight * keep + 1.0;
        out.push((x, sum / weight));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 5e-4, "{got} is not {want}");
    }

    #[test]
    fn wilson_matches_the_textbook_interval() {
        // Newcombe (1998), Table I: 81 of 263 → 0.2553 to 0.3662; 0 of 20 → 0 to 0.1611.
        let got = share(81.0, 263).unwrap();
        close(got.low, 0.2553);
        close(got.high, 0.3662);
        let none = share(0.0, 20).unwrap();
        assert_eq!(none.low, 0.0);
        close(none.high, 0.1611);
        let all = share(20.0, 20).unwrap();
        assert_eq!(all.high, 1.0);
        close(all.low, 0.8389);
    }

    #[test]
    fn a_share_of_no_values_is_none() {
        assert_eq!(share(0.0, 0), None);
    }

    #[test]
    fn newcombe_matches_the_textbook_difference() {
        // Newcombe (1998b), method 10: 56/70 − 48/80 → 0.0524 to 0.3339.
        let got = share_difference(share(56.0, 70).unwrap(), share(48.0, 80).unwrap());
        close(got.value, 0.2);
        close(got.low, 0.0524);
        close(got.high, 0.3339);
        assert!(!got.includes_zero());
    }

    #[test]
    fn merged_moments_equal_those_of_the_whole_sample() {
        let (mut left, mut right, mut whole) = (Moments::default(), Moments::default(), Moments::default());
        for value in [1.0, 2.0, 4.0] {
            left.push(value);
            whole.push(value);
        }
        for value in [8.0, 10.0] {
            right.push(value);
            whole.push(value);
        }
        left.merge(&right);
        let (got, want) = (left.estimate().unwrap(), whole.estimate().unwrap());
        // Mean 5; squares 16+9+1+9+25 = 60; variance 15; of the mean 3; half width 1.96·√3 = 3.395.
        close(got.value, 5.0);
        close(got.high - got.value, 3.3948);
        close(want.high, got.high);
    }

    #[test]
    fn smoothing_starts_at_the_first_value_and_preserves_a_constant() {
        // window 3 → keep 1/2: 2; (2·½ + 4)/(1.5) = 3.3333.
        let got = smooth(&[(0.0, 2.0), (1.0, 4.0)], 3.0);
        close(got[0].1, 2.0);
        close(got[1].1, 10.0 / 3.0);
        let flat = smooth(&[(0.0, 7.0), (1.0, 7.0), (2.0, 7.0)], 9.0);
        assert!(flat.iter().all(|point| (point.1 - 7.0).abs() < 1e-12));
    }
}
