//! The entropies of tokens in the loss: which tokens are trained on, and the bonus.

use tch::Tensor;

/// The entropies of a micro-batch, in nats.
#[derive(Clone, Copy, Debug)]
pub struct EntropyInputs<'a> {
    /// `[N, T]`, float: entropy of the distribution that each token was drawn from, under the policy that is trained. The
    /// bonus is differentiated with respect to them.
    pub entropies: &'a Tensor,
    /// `[N, T]`, bool: the tokens that the policy loss and the bonus act on; `None` for all.
    pub kept: Option<&'a Tensor>,
    /// Number of these tokens in the whole batch, by which the bonus is divided.
    pub kept_tokens: usize,
    /// `[N, T]`, bool: the tokens that belong to the thinking; `None` if that is not measured.
    pub think: Option<&'a Tensor>,
}

/// The entropy that a token needs to be among the `fraction` with the greatest, interpolated between neighbours as by
/// `torch.quantile`. Sorts the entropies; `None` if there is none.
pub fn entropy_threshold(entropies: &mut [f64], fraction: f64) -> Option<f64> {
    entropies.sort_by(f64::total_cmp);
    let last = entropies.len().checked_sub(1)?;
    let place = (1.0 - fraction) * last as f64;
    let below = place.floor();
    let (low, high) = (entropies[below as usize], entropies[(place.ceil() as usize).min(last)]);
    Some(low + (place - below) * (high - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_interpolated() {
        // The place of 1 − 0.2 among 0 1 2 3 10 is 3.2: 3 + 0.2 · 7.
        let found = entropy_threshold(&mut [10.0, 1.0, 0.0, 3.0, 2.0], 0.2).unwrap();
        assert!((found - 4.4).abs() < 1e-12, "{found}");
        assert_eq!(entropy_threshold(&mut [2.0, 1.0], 1.0), Some(1.0));
        assert_eq!(entropy_threshold(&mut [], 0.2), None);
    }
}
