//! Mean and standard deviation of some rewards.

/// A standard deviation below this counts as 0, since it comes from rounding (TRL tests it with `isclose`).
const ZERO_STD: f64 = 1e-8;

/// Mean and standard deviation (with n - 1 in the denominator) of at least two numbers; both are finite.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) std: f64,
}

impl Moments {
    /// `None` for fewer than two numbers, or for numbers so large that their deviation is infinite.
    pub(super) fn of<'a>(numbers: impl Iterator<Item = &'a f64> + Clone) -> Option<Self> {
        let count = numbers.clone().count();
        if count < 2 {
            return None;
        }
        let mean = numbers.clone().sum::<f64>() / count as f64;
        let variance = numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
        let std = variance.sqrt();
        (mean.is_finite() && std.is_finite()).then_some(Self { mean, std })
    }

    /// Whether the numbers are all equal, up to rounding.
    pub(super) fn alike(&self) -> bool {
        self.std < ZERO_STD
    }
}
