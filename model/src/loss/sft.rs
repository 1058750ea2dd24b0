//! The supervised loss: the mean negative log-likelihood of the target tokens.

use tch::{Kind, Tensor};

/// The negative log-likelihood of the target tokens, divided by `total_tokens`, the number of target tokens of the
/// whole batch. The losses of its micro-batches therefore add up to the batch's mean (`LOSS-2`).
///
/// Shapes: `logprobs: [N, T]`, float; `mask: [N, T]`, bool → scalar in the dtype of `logprobs`
pub fn sft_loss(logprobs: &Tensor, mask: &Tensor, total_tokens: usize) -> Tensor {
    let padding = mask.to_kind(Kind::Bool).logical_not();
    -logprobs.masked_fill(&padding, 0.0).sum(None) / total_tokens.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_positions_do_not_count_and_the_rest_is_averaged_over_the_whole_batch() {
        // Kept: -1, -2, -4 (sum -7); the whole batch has 10 target tokens: 7 / 10.
        let logprobs = Tensor::from_slice(&[-1.0f64, -2.0, f64::NEG_INFINITY, -4.0]).view([2, 2]);
        let logprobs = logprobs.set_requires_grad(true);
        let mask = Tensor::from_slice(&[true, true, false, true]).view([2, 2]);
        let loss = sft_loss(&logprobs, &mask, 10);
        loss.backward();
        assert!((loss.double_value(&[]) - 0.7).abs() < 1e-12);
        let gradient: Vec<f64> = logprobs.grad().view(-1).try_into().unwrap();
        assert_eq!(gradient, [-0.1, -0.1, 0.0, -0.1]);
    }
}
