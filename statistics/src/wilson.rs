//! Wilson's score interval for a share (Wilson 1927; Newcombe 1998, method 3). It keeps within 0 and 1, and its coverage is
//! close to what it says near them too.

use crate::Estimate;

/// The 97.5 % point of the standard normal distribution.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval for a share, from the sum of `n` values in `[0, 1]`; `None` if `n` is 0. The mean of values
/// between 0 and 1 has at most the variance of a share with this mean, so its interval is at worst too wide.
pub fn wilson(sum: f64, n: u64) -> Option<Estimate> {
    wilson_of_repeats(sum, n, 1)
}

/// Wilson's 95 % interval of a share of answers of which every question has `repeats`. How much the answers to a question
/// differ is not known, so they count as one.
pub fn wilson_of_repeats(sum: f64, n: u64, repeats: u64) -> Option<Estimate> {
    let repeats = repeats.max(1) as f64;
    (n > 0).then(|| Estimate { n, ..interval(sum / n as f64, n as f64 / repeats, Z) })
}

/// The interval of a share with as much variance as one of `independent` answers, which need not be a whole number, for
/// the quantile `z`.
pub(crate) fn interval(value: f64, independent: f64, z: f64) -> Estimate {
    let value = value.clamp(0.0, 1.0);
    let denominator = 1.0 + z * z / independent;
    let centre = (value + z * z / (2.0 * independent)) / denominator;
    let variance = value * (1.0 - value) / independent + z * z / (4.0 * independent * independent);
    let half = z / denominator * variance.sqrt();
    // Without the clamp, rounding could place an end of the interval beyond an estimate of 0 or 1.
    Estimate { value, low: (centre - half).clamp(0.0, value), high: (centre + half).clamp(value, 1.0), n: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::close;

    #[test]
    fn the_interval_is_the_textbook_s() {
        // Newcombe (1998), Table I: 81 of 263 → 0.2553 to 0.3662; 0 of 20 → 0 to 0.1611.
        let got = wilson(81.0, 263).unwrap();
        close(got.low, 0.2553);
        close(got.high, 0.3662);
        let none = wilson(0.0, 20).unwrap();
        assert_eq!(none.low, 0.0);
        close(none.high, 0.1611);
        let all = wilson(20.0, 20).unwrap();
        assert_eq!(all.high, 1.0);
        close(all.low, 0.8389);
    }

    #[test]
    fn a_share_of_no_values_is_none() {
        assert_eq!(wilson(0.0, 0), None);
    }
}
