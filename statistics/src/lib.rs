//! What may be concluded from answers: intervals for one arm, paired differences between two, and decisions about them.
//!
//! A question that is asked again under another training seed is not another question. So answers are kept by question and
//! seed ([`Panel`]), questions about one clip count as one draw, and both levels enter the variance ([`share`](Panel::share),
//! [`mean`](Panel::mean), [`share_difference`](Panel::share_difference)). [`Contrasts`] are sums of several arms' rates with
//! weights, such as the Shapley values of [`shapley_weights`]. [`holm`] corrects the p-values of a whole table, and
//! [`Comparison`] says what an interval allows to conclude. `docs/statistics.md` has the formulas, their references and how
//! often the intervals contain the truth (`make coverage`).
//!
//! [`wilson()`], [`newcombe`] and [`Moments`] are for counts that were not kept by question.

#![warn(missing_docs)]

mod contrast;
mod counts;
mod decide;
mod grid;
mod panel;
mod shapley;
mod spread;
mod wilson;

pub use contrast::Contrasts;
pub use counts::{Moments, mean_difference, newcombe};
pub use decide::{Comparison, Finding, Needed, holm};
pub use panel::Panel;
pub use shapley::{ShapleyWeights, shapley_weights};
pub use spread::SeedVariance;
pub use wilson::{wilson, wilson_of_repeats};

use serde::Serialize;

/// An estimate with its 95 % interval, in the unit of the field that contains it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The point estimate, within the interval.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Number of answers behind the estimate; for a difference, of the arm with fewer.
    pub n: u64,
}

impl Estimate {
    /// Whether the interval includes zero; its ends count as inside.
    pub fn includes_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }

    /// The same in another unit, such as percentage points of a share with `factor` 100.
    pub fn scaled(self, factor: f64) -> Self {
        Estimate { value: factor * self.value, low: factor * self.low, high: factor * self.high, n: self.n }
    }
}

#[cfg(test)]
mod tests {
    /// Asserts that a figure is that of a textbook, which has four digits.
    pub(crate) fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 5e-4, "{got} is not {want}");
    }
}
