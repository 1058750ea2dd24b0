//! The logged quantities of a loss, as sums and counts, so that micro-batches of different sizes
//! merge into exact means.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::config::{GrpoConfig, Importance, LossKind};
use super::correction::CorrectionWeights;
use super::entropy::EntropyInputs;
use crate::memory::no_grad;

/// Sums and counts over the tokens of completions. [`merge`](Self::merge) adds up the micro-batches of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Sum of the entropies of all tokens, in nats, and their number; 0 if they were not computed.
    pub entropy: Total,
    /// The same for the tokens that belong to the thinking.
    pub entropy_think: Total,
    /// The same for the tokens that the policy loss acts on.
    pub entropy_trained: Total,
    /// Sum of the weights of stale completions, and their number; 0 if there are none.
    pub weights: Total,
    /// Number of these weights that were above the cap.
    pub weights_cut: u64,
    /// Number of completions that the off-policy mask drops.
    pub off_policy: u64,
    /// Number of completions that it was applied to; 0 without it.
    pub off_policy_of: u64,
}

/// A sum and the number of its summands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// The sum.
    pub sum: f64,
    /// Number of summands.
    pub count: u64,
}

impl Total {
    /// The mean; `None` without summands.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The mean of those that are not in `part`.
    fn mean_without(&self, part: &Total) -> Option<f64> {
        Total { sum: self.sum - part.sum, count: self.count - part.count }.mean()
    }

    fn add(&mut self, other: &Total) {
        self.sum += other.sum;
        self.count += other.count;
    }
}

/// What was computed of a micro-batch.
pub(super) struct Measured<'a> {
    /// Scalar.
    pub(super) loss: &'a Tensor,
    /// `[N, T]`, float.
    pub(super) kl: Option<&'a Tensor>,
    /// `[N, T]` or `[N, 1]`, float.
    pub(super) ratio: &'a Tensor,
    /// `[N, 1]`, bool: the completions that the off-policy mask drops.
    pub(super) dropped: Option<&'a Tensor>,
    /// The entropies of the tokens.
    pub(super) entropy: Option<&'a EntropyInputs<'a>>,
    /// The weights of stale completions.
    pub(super) correction: Option<&'a CorrectionWeights>,
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
        self.entropy.add(&other.entropy);
        self.entropy_think.add(&other.entropy_think);
        self.entropy_trained.add(&other.entropy_trained);
        self.weights.add(&other.weights);
        self.weights_cut += other.weights_cut;
        self.off_policy += other.off_policy;
        self.off_policy_of += other.off_policy_of;
    }

    /// Mean KL divergence per token; `None` without a reference policy.
    pub fn kl(&self) -> Option<f64> {
        (self.kl_tokens > 0).then(|| self.kl_sum / self.kl_tokens as f64)
    }

    /// Mean entropy of the tokens that do not belong to the thinking.
    pub fn entropy_answer(&self) -> Option<f64> {
        self.entropy.mean_without(&self.entropy_think)
    }

    /// Fraction of the tokens that the policy loss acts on; `None` without entropies.
    pub fn entropy_kept_frac(&self) -> Option<f64> {
        (self.entropy.count > 0).then(|| self.entropy_trained.count as f64 / self.entropy.count as f64)
    }

    /// Fraction of the weights of stale completions that were above the cap; `None` without weights.
    pub fn weights_cut_frac(&self) -> Option<f64> {
        (self.weights.count > 0).then(|| self.weights_cut as f64 / self.weights.count as f64)
    }

    /// Fraction of completions that the off-policy mask drops; `None` without it.
    pub fn off_policy_frac(&self) -> Option<f64> {
        (self.off_policy_of > 0).then(|| self.off_policy as f64 / self.off_policy_of as f64)
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
    /// Shapes: `advantages: [N, 1]` or `[N, T]`, float; `padding: [N, T]`, bool
    pub(super) fn measure(
        measured: &Measured<'_>,
        advantages: &Tensor,
        padding: &Tensor,
        config: &GrpoConfig,
    ) -> LossMetrics {
        let Measured { loss, kl, ratio, dropped, entropy, correction } = measured;
        no_grad(|| {
            let tokens = padding.logical_not();
            let counted = match (config.importance(), config.loss) {
                (Importance::Token, _) | (_, LossKind::GspoToken) => tokens.shallow_clone(),
                (Importance::Sequence, _) => ratio.ones_like().to_kind(Kind::Bool),
            };
            let count = |condition: Tensor| condition.logical_and(&counted).sum(Kind::Double);
            let low = ratio.lt(1.0 - config.clip_low).logical_and(&advantages.lt(0.0));
            let high = ratio.gt(1.0 + config.clip_high).logical_and(&advantages.gt(0.0));
            let kl_sum = match kl {
                Some(kl) => kl.masked_fill(padding, 0.0).sum(Kind::Double),
                None => Tensor::zeros_like(loss).to_kind(Kind::Double),
            };
            let mut numbers = vec![
                loss.to_kind(Kind::Double),
                kl_sum,
                tokens.sum(Kind::Double),
                count(low),
                count(high),
                counted.sum(Kind::Double),
            ];
            if let Some(entropy) = entropy {
                let entropies = entropy.entropies.masked_fill(padding, 0.0);
                numbers.push(entropies.sum(Kind::Double));
                for part in [entropy.think, entropy.kept].into_iter().flatten() {
                    let part = part.logical_and(&tokens);
                    let in_part = part.to_kind(entropy.entropies.kind());
                    numbers.push((&entropies * in_part).sum(Kind::Double));
                    numbers.push(part.sum(Kind::Double));
                }
            }
            if let Some(CorrectionWeights { weights, cut }) = correction {
                // A weight of a completion is counted once.
                let of_tokens = weights.size() == tokens.size();
                let counted = if of_tokens { tokens.shallow_clone() } else { cut.ones_like() };
                let in_batch = counted.to_kind(weights.kind());
                numbers.push((weights * in_batch).sum(Kind::Double));
                numbers.push(counted.sum(Kind::Double));
                numbers.push(cut.logical_and(&counted).sum(Kind::Double));
            }
            if let Some(dropped) = dropped {
                numbers.push(dropped.sum(Kind::Double));
            }
            let numbers = Tensor::stack(&numbers, 0).to_device(tch::Device::Cpu);
            let mut place = 0;
            let mut next = || {
                place += 1;
                numbers.double_value(&[place - 1])
            };
            let mut metrics = LossMetrics { loss: next(), kl_sum: next(), ..LossMetrics::default() };
            let tokens = next() as u64;
            metrics.kl_tokens = if kl.is_some() { tokens } else { 0 };
            let (clips_low, clips_high) = config.clips();
            let (low, high) = (next() as u64, next() as u64);
            metrics.clipped_low = if clips_low { low } else { 0 };
            metrics.clipped_high = if clips_high { high } else { 0 };
            metrics.ratios = next() as u64;
            if let Some(entropy) = entropy {
                metrics.entropy = Total { sum: next(), count: tokens };
                if entropy.think.is_some() {
                    metrics.entropy_think = Total { sum: next(), count: next() as u64 };
                }
                metrics.entropy_trained = match entropy.kept {
                    Some(_) => Total { sum: next(), count: next() as u64 },
                    None => metrics.entropy,
                };
            }
            if correction.is_some() {
                metrics.weights = Total { sum: next(), count: next() as u64 };
                metrics.weights_cut = next() as u64;
            }
            if dropped.is_some() {
                metrics.off_policy = next() as u64;
                metrics.off_policy_of = advantages.size()[0] as u64;
            }
            metrics
        })
    }
}
