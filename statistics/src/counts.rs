//! Statistics of counts and sums alone, for records that do not say which answer belongs to which question.

use crate::Estimate;
use crate::wilson::Z;

/// Newcombe's 95 % interval for the difference `new − old` of two independent shares with their Wilson intervals (Newcombe
/// 1998b, method 10).
pub fn newcombe(new: Estimate, old: Estimate) -> Estimate {
    let value = new.value - old.value;
    let below = (new.value - new.low).hypot(old.high - old.value);
    let above = (new.high - new.value).hypot(old.value - old.low);
    Estimate { value, low: value - below, high: value + above, n: new.n.min(old.n) }
}

/// The normal 95 % interval for the difference of two independent means, from their symmetric intervals.
pub fn mean_difference(new: Estimate, old: Estimate) -> Estimate {
    let value = new.value - old.value;
    let half = (new.high - new.value).hypot(old.high - old.value);
    Estimate { value, low: value - half, high: value + half, n: new.n.min(old.n) }
}

/// Mean and variance by Welford's running update.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    n: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds one value to the sample.
    pub fn push(&mut self, value: f64) {
        self.n += 1;
        let before = value - self.mean;
        self.mean += before / self.n as f64;
        self.squares += before * (value - self.mean);
    }

    /// Adds another sample, by Chan's formula.
    pub fn merge(&mut self, other: &Moments) {
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

    /// Number of values.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The mean with its normal 95 % interval; `None` with fewer than two values.
    pub fn estimate(&self) -> Option<Estimate> {
        if self.n < 2 {
            return None;
        }
        let half = Z * (self.squares / (self.n - 1) as f64 / self.n as f64).sqrt();
        Some(Estimate { value: self.mean, low: self.mean - half, high: self.mean + half, n: self.n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::close;
    use crate::wilson;

    #[test]
    fn the_difference_of_shares_is_the_textbook_s() {
        // Newcombe (1998b), method 10: 56/70 − 48/80 → 0.0524 to 0.3339.
        let got = newcombe(wilson(56.0, 70).unwrap(), wilson(48.0, 80).unwrap());
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
}
