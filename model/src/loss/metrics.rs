//! The logged quantities of a loss, as sums and counts, so that micro-batches of different sizes
//! merge into exact means.

use tch::{Kind, Tensor};

use super::config::{GrpoConfig, Importance};

/// Sums and counts over the tokens of completions. [`merge`](Self::merge) adds up the micro-batches of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossMetrics {
    /// The loss of this micro-batch. Those of all micro-batches add up to the loss of the batch.
    pub loss: f64,
    /// Sum of the per-token KL estimates.
    pub kl_sum: f64,
    /// Number of tokens in `kl_sum`; 0 without a reference policy.
    pub kl_tokens: u64,
    /// Number of ratios below `1 − clip_low` with a negative advantage, which have no gradient.
    pub clipped_low: u64,
    /// Number of ratios above `1 + clip_high` with a positive advantage, which have no gradient.
    pub clipped_high: u64,
    /// Number of importance ratios: one for each token, or one for each completion.
    pub ratios: u64,
}

impl LossMetrics {
    /// Adds the metrics of another micro-batch of the same batch.
    pub fn merge(&mut self, other: &LossMetrics) {
        self.loss += other.loss;
        self.kl_sum += other.kl_sum;
        self.kl_tokens += other.kl_tokens;
        self.clipped_low += other.clipped_low;
        self.clipped_high += other.clipped_high;
        self.ratios += other.ratios;
    }

    /// Mean KL divergence per token; `None` without a reference policy.
    pub fn kl(&self) -> Option<f64> {
        (self.kl_tokens > 0).then(|| self.kl_sum / self.kl_tokens as f64)
    }

    /// Fraction of ratios that are clipped at `1 − clip_low`.
    pub fn clip_frac_low(&self) -> f64 {
        self.clipped_low as f64 / self.ratios.max(1) as f64
    }

    /// Fraction of ratios that are clipped at `1 + clip_high`.
    pub fn clip_frac_high(&self) -> f64 {
        self.clipped_high as f64 / self.ratios.max(1) as f64
    }

    /// Fraction of ratios that are clipped on either side.
    pub fn clip_frac_region(&self) -> f64 {
        (self.clipped_low + self.clipped_high) as f64 / self.ratios.max(1) as f64
    }

    /// Measures a micro-batch, with one transfer from the device.
    ///
    /// Shapes: `loss`: scalar; `kl: [N, T]`; `ratio: [N, T]` or `[N, 1]`; `advantages: [N, 1]`, all float;
    /// `padding: [N, T]`, bool
    pub(super) fn measure(
        loss: &Tensor,
        kl: Option<&Tensor>,
        ratio: &Tensor,
        advantages: &Tensor,
        padding: &Tensor,
        config: &GrpoConfig,
    ) -> LossMetrics {
        tch::no_grad(|| {
            let tokens = padding.logical_not();
            let counted = match config.importance() {
                Importance::Token => tokens.shallow_clone(),
                Importance::Sequence => ratio.ones_like().to_kind(Kind::Bool),
            };
            let count = |condition: Tensor| condition.logical_and(&counted).sum(Kind::Double);
            let low = ratio.lt(1.0 - config.clip_low).logical_and(&advantages.lt(0.0));
            let high = ratio.gt(1.0 + config.clip_high).logical_and(&advantages.gt(0.0));
            let kl_sum = match kl {
                Some(kl) => kl.masked_fill(padding, 0.0).sum(Kind::Double),
                None => Tensor::zeros_like(loss).to_kind(Kind::Double),
            };
            let numbers = Tensor::stack(
                &[
                    loss.to_kind(Kind::Double),
                    kl_sum,
                    tokens.sum(Kind::Double),
                    count(low),
                    count(high),
                    counted.sum(Kind::Double),
                ],
                0,
            )
            .to_device(tch::Device::Cpu);
            let number = |index: i64| numbers.double_value(&[index]);
            LossMetrics {
                loss: number(0),
                kl_sum: number(1),
                kl_tokens: if kl.is_some() { number(2) as u64 } else { 0 },
                clipped_low: number(3) as u64,
                clipped_high: number(4) as u64,
                ratios: number(5) as u64,
            }
        })
    }
}
