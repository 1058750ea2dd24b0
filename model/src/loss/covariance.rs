//! Which tokens lower the entropy most: those whose log-probability and advantage are both far above, or both far below, the
//! mean of the step (arXiv 2505.22617).
//!
//! The covariance of a token is `(log π − mean log π)·(Â − mean Â)`, with means over the tokens of the step.

use serde::{Deserialize, Serialize};

/// What happens to the tokens with a large covariance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum CovarianceControl {
    /// They are left out of the policy loss (Clip-Cov). They still count in its means.
    Clip,
    /// `coefficient · |log π − log π_old|` is added to their loss (KL-Cov).
    Kl {
        /// Weight of the penalty.
        coefficient: f64,
    },
}

/// The covariance of each token, from its log-probability and the advantage of its completion.
pub fn covariances(tokens: &[(f64, f64)]) -> Vec<f64> {
    let count = tokens.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| tokens.iter().map(of).sum::<f64>() / count;
    let (logprob, advantage) = (mean(|token| token.0), mean(|token| token.1));
    tokens.iter().map(|token| (token.0 - logprob) * (token.1 - advantage)).collect()
}

/// The places of the `fraction` of tokens with the greatest covariance, at least one; among equal ones the earlier.
pub fn greatest_covariances(covariances: &[f64], fraction: f64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..covariances.len()).collect();
    places.sort_by(|a, b| covariances[*b].total_cmp(&covariances[*a]).then(a.cmp(b)));
    places.truncate(chosen(covariances.len(), fraction));
    places
}

/// The places of the tokens whose covariance is within `range`, ends included, up to `fraction` of all tokens and at least
/// one. `draw` returns a number below its argument, by which they are chosen if there are more.
pub fn covariances_within(
    covariances: &[f64],
    range: [f64; 2],
    fraction: f64,
    mut draw: impl FnMut(usize) -> usize,
) -> Vec<usize> {
    let within = |place: &usize| (range[0]..=range[1]).contains(&covariances[*place]);
    let mut places: Vec<usize> = (0..covariances.len()).filter(within).collect();
    let count = chosen(covariances.len(), fraction).min(places.len());
    for place in 0..count {
        let other = place + draw(places.len() - place);
        places.swap(place, other);
    }
    places.truncate(count);
    places
}

fn chosen(tokens: usize, fraction: f64) -> usize {
    ((tokens as f64 * fraction) as usize).max(1).min(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covariances_are_products_of_the_differences_from_the_means() {
        // Means -1 and 0.25.
        let tokens = [(-2.0, 1.0), (-1.0, 1.0), (-0.5, -1.0), (-0.5, 0.0)];
        assert_eq!(covariances(&tokens), [-0.75, 0.0, -0.625, -0.125]);
        assert_eq!(covariances(&[]), [0.0; 0]);
    }

    #[test]
    fn the_greatest_are_chosen_and_at_least_one() {
        let found = [0.5, 2.0, -3.0, 2.0, 1.0];
        assert_eq!(greatest_covariances(&found, 0.4), [1, 3]);
        assert_eq!(greatest_covariances(&found, 2e-4), [1]);
        assert_eq!(greatest_covariances(&[], 0.5), [0; 0]);
    }

    #[test]
    fn those_within_a_range_are_drawn_without_repetition() {
        let found = [0.5, 2.0, -3.0, 1.0, 5.0, 9.0];
        assert_eq!(covariances_within(&found, [1.0, 5.0], 2e-4, |_| 0), [1]);
        assert_eq!(covariances_within(&found, [1.0, 5.0], 1.0, |_| 0), [1, 3, 4]);
        let mut last = covariances_within(&found, [1.0, 5.0], 0.4, |left| left - 1);
        last.sort_unstable();
        assert_eq!(last.len(), 2);
        assert!(last.iter().all(|place| [1, 3, 4].contains(place)), "{last:?}");
        assert_eq!(covariances_within(&found, [10.0, 20.0], 1.0, |_| 0), [0; 0]);
    }
}
