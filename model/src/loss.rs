//! The policy-gradient losses (GRPO, BNPO, Dr. GRPO, DAPO, GSPO, CISPO, SAPO) and the supervised loss.
//!
//! The learner passes the policy's log-probabilities and the advantages of the completions to [`grpo_loss`], and the
//! loss to `Forward::backward`. Nothing else in the workspace computes a loss.
//!
//! With the importance ratio `ρ = π/π_old` (per token or per completion), the advantage `Â`, and the KL estimate `k3 =
//! e^d − d − 1` of `d = log π_ref − log π`, the loss of a token is
//!
//! ```text
//! −min(min(ρ, delta)·Â, clamp(ρ, 1 − clip_low, 1 + clip_high)·Â) + kl_coef · k3
//! ```
//!
//! and [`LossKind`] determines how the losses of tokens are averaged. CISPO and SAPO replace the first term:
//!
//! ```text
//! −sg(min(ρ, 1 + clip_high)) · Â · log π            (CISPO; sg: a constant in the backward pass)
//! −σ(τ·(ρ − 1)) · 4/τ · Â                           (SAPO; τ depends on the sign of Â)
//! ```
//!
//! DeGRPO (`mode_token_coef`) weights the first token of a completion by itself, and takes the mean over the others.
//! Clip-Cov and KL-Cov change it for some tokens ([`CovarianceControl`]). It is then multiplied by the masks and the weights for stale completions, and
//! `entropy_coef` times the mean entropy is subtracted from the loss.
//!
//! - `LOSS-1` Masked positions influence neither the value nor the gradient, whatever they contain (even NaN).
//! - `LOSS-2` With one [`Normalizer`] for the whole batch, the losses, gradients and [`LossMetrics`] of any split into
//!   micro-batches add up to those of the whole batch.
//! - `LOSS-3` Values, gradients and metrics equal those of TRL 1.16's `GRPOTrainer` (`tests/fixtures/grpo`).
//!
//! Papers: GRPO is in equations 8 and 9 of Audio-Thinker (<https://arxiv.org/abs/2508.08039>), and in DeepSeekMath
//! (<https://arxiv.org/abs/2402.03300>); Dr. GRPO in <https://arxiv.org/abs/2503.20783>; DAPO in
//! <https://arxiv.org/abs/2503.14476>; GSPO in <https://arxiv.org/abs/2507.18071>; CISPO in
//! <https://arxiv.org/abs/2506.13585>; SAPO in <https://arxiv.org/abs/2511.20347>; the off-policy mask in
//! <https://arxiv.org/abs/2512.02556>. `docs/algorithms.md` has all equations and deviations.
//!
//! `LOSS-2` causes one deviation from TRL. TRL's BNPO divides each micro-batch by its own token count, so its value
//! depends on the split. This implementation divides by the count of the whole batch, which makes BNPO equal to DAPO
//! unless the caller passes each micro-batch its own [`Normalizer`].

mod config;
mod correction;
mod covariance;
mod entropy;
mod metrics;
mod normalizer;
mod sft;

pub use config::{GrpoConfig, Importance, KlEstimator, LossKind};
pub use correction::{Correction, CorrectionLevel, CorrectionWeights};
pub use covariance::{CovarianceControl, covariances, covariances_within, greatest_covariances};
pub use entropy::{EntropyInputs, entropy_threshold};
pub use metrics::{LossMetrics, Total};
pub use normalizer::Normalizer;
pub use sft::sft_loss;

use metrics::Measured;
use tch::{Kind, Tensor};

use crate::memory::no_grad;

/// A micro-batch of `N` completions, the longest of which has `T` tokens.
#[derive(Debug)]
pub struct LossInputs<'a> {
    /// `[N, T]`, float: log-probabilities under the policy that is trained. The loss is differentiated
    /// with respect to them.
    pub logprobs: &'a Tensor,
    /// `[N, T]`, float: log-probabilities that the ratio compares with, usually those at sampling. `None` uses the
    /// current ones as constants, which is exactly on-policy.
    pub old_logprobs: Option<&'a Tensor>,
    /// `[N, T]`, float: log-probabilities at sampling, for the off-policy mask; `None` uses `old_logprobs`.
    pub sampling_logprobs: Option<&'a Tensor>,
    /// Weights of stale completions; `None` for 1.
    pub correction: Option<&'a CorrectionWeights>,
    /// `[N, T]`, bool: the tokens that `GrpoConfig::covariance` acts on; `None` for none.
    pub covariant: Option<&'a Tensor>,
    /// The entropies of the tokens; must be given if `entropy_coef` is not 0.
    pub entropy: Option<EntropyInputs<'a>>,
    /// `[N, T]`, float: log-probabilities under the reference policy. If given, the KL divergence is measured even with
    /// a `kl_coef` of 0.
    pub ref_logprobs: Option<&'a Tensor>,
    /// `[N]`, float: the advantage of each completion; or `[N, T]`: of each token.
    pub advantages: &'a Tensor,
    /// `[N, T]`, bool: true for the tokens of a completion. A row may be empty.
    pub mask: &'a Tensor,
    /// The totals of the whole batch that this micro-batch is a part of.
    pub normalizer: Normalizer,
}

impl LossInputs<'_> {
    /// Panics if shapes disagree, which is a bug of the caller.
    fn check(&self, config: &GrpoConfig) {
        let shape = self.logprobs.size();
        assert_eq!(shape.len(), 2, "logprobs must be [N, T], not {shape:?}");
        let same_shape = [
            ("old_logprobs", self.old_logprobs),
            ("sampling_logprobs", self.sampling_logprobs),
            ("entropies", self.entropy.map(|entropy| entropy.entropies)),
            ("ref_logprobs", self.ref_logprobs),
            ("covariant", self.covariant),
            ("mask", Some(self.mask)),
        ];
        for (name, tensor) in same_shape {
            if let Some(tensor) = tensor {
                assert_eq!(tensor.size(), shape, "{name} must have the shape of logprobs");
            }
        }
        let advantages = self.advantages.size();
        assert!(advantages == shape[..1] || advantages == shape, "advantages must be [N] or [N, T]");
        assert!(config.kl_coef == 0.0 || self.ref_logprobs.is_some(), "kl_coef > 0 needs ref_logprobs");
        assert!(config.entropy_coef == 0.0 || self.entropy.is_some(), "entropy_coef > 0 needs entropies");
    }
}

/// The loss and the metrics of a micro-batch.
#[derive(Debug)]
pub struct LossOutputs {
    /// Scalar in the dtype of `logprobs`, on which to call `backward()`.
    pub loss: Tensor,
    /// The numbers to log, already copied to the CPU.
    pub metrics: LossMetrics,
}

/// Computes the policy-gradient loss of one micro-batch.
///
/// Shapes: See [`LossInputs`]. Computed in the dtype of `logprobs` (f32 in training).
///
/// Panics: If shapes disagree, or if `kl_coef` is not 0 and there are no `ref_logprobs`.
pub fn grpo_loss(inputs: &LossInputs<'_>, config: &GrpoConfig) -> LossOutputs {
    inputs.check(config);
    let logprobs = inputs.logprobs;
    let padding = inputs.mask.to_kind(Kind::Bool).logical_not();
    // At least 1, so that an empty row contributes 0 and not 0/0.
    let lengths =
        inputs.mask.to_kind(logprobs.kind()).sum_dim_intlist([-1].as_slice(), false, None).clamp_min(1.0);
    let advantages = inputs.advantages.to_kind(logprobs.kind());
    let advantages = if advantages.dim() == 1 { advantages.unsqueeze(-1) } else { advantages };

    let on_policy = logprobs.detach();
    let old_logprobs = inputs.old_logprobs.unwrap_or(&on_policy).detach();
    // Padding is set to 0 before `exp`, because the gradient at an infinite padding value would be NaN (LOSS-1).
    let log_ratio = (logprobs - &old_logprobs).masked_fill(&padding, 0.0);
    let ratio = match config.importance() {
        Importance::Token => log_ratio,
        Importance::Sequence => {
            let mean = (log_ratio.sum_dim_intlist([-1].as_slice(), false, None) / &lengths).unsqueeze(-1);
            match config.loss {
                // The value is that of the completion; the gradient is that of the token.
                LossKind::GspoToken => mean.detach() + &log_ratio - log_ratio.detach(),
                _ => mean,
            }
        }
    }
    .exp();

    let kl = inputs.ref_logprobs.map(|ref_logprobs| {
        let gap = (ref_logprobs.detach() - logprobs).masked_fill(&padding, 0.0);
        let kl = match config.kl_estimator {
            KlEstimator::K1 => -gap,
            KlEstimator::K2 => gap.square() * 0.5,
            KlEstimator::K3 => gap.exp() - gap - 1.0,
        };
        if config.kl_importance_corrected { kl * &ratio } else { kl }
    });

    let (policy, bounded) = policy_term(inputs, config, &ratio, &advantages, &padding);
    let policy = match (config.covariance, inputs.covariant) {
        (Some(CovarianceControl::Clip), Some(covariant)) => {
            policy.expand_as(logprobs).masked_fill(covariant, 0.0)
        }
        (Some(CovarianceControl::Kl { coefficient }), Some(covariant)) => {
            let gap = (logprobs - &old_logprobs).masked_fill(&padding, 0.0).abs();
            policy + gap * covariant.to_kind(logprobs.kind()) * coefficient
        }
        _ => policy,
    };
    let dropped = config.off_policy_threshold.map(|threshold| {
        let sampled = inputs.sampling_logprobs.unwrap_or(&old_logprobs);
        // A first token with an advantage of its own does not decide about its completion.
        let of_completions = advantages.narrow(1, advantages.size()[1] - 1, 1);
        off_policy(logprobs, sampled, &of_completions, &padding, &lengths, threshold)
    });
    let policy = match &dropped {
        Some(dropped) => policy.masked_fill(dropped, 0.0),
        None => policy,
    };
    let policy = match inputs.entropy.and_then(|entropy| entropy.kept) {
        Some(kept) => policy * kept.to_kind(logprobs.kind()),
        None => policy,
    };
    let policy = match inputs.correction {
        Some(correction) => policy * &correction.weights,
        None => policy,
    };
    let per_token = match &kl {
        Some(kl) if config.kl_coef != 0.0 => policy + kl * config.kl_coef,
        _ => policy.expand_as(logprobs),
    }
    .masked_fill(&padding, 0.0);

    let loss = aggregate(&per_token, &lengths, &inputs.normalizer, config);
    let loss = match &inputs.entropy {
        Some(entropy) if config.entropy_coef != 0.0 => {
            loss - entropy_sum(entropy, &padding) * (config.entropy_coef / entropy.kept_tokens.max(1) as f64)
        }
        _ => loss,
    };
    let measured = Measured {
        loss: &loss,
        kl: kl.as_ref(),
        ratio: &bounded,
        dropped: dropped.as_ref(),
        entropy: inputs.entropy.as_ref(),
        correction: inputs.correction,
    };
    let metrics = LossMetrics::measure(&measured, &advantages, &padding, config);
    LossOutputs { loss, metrics }
}

/// The policy-gradient term of each token, and the ratios that are counted as clipped or not.
///
/// Shapes: `ratio: [N, T]` or `[N, 1]`; `advantages: [N, 1]` or `[N, T]`; `padding: [N, T]`, bool → as `ratio`, except that CISPO's
/// term is always `[N, T]`
fn policy_term(
    inputs: &LossInputs<'_>,
    config: &GrpoConfig,
    ratio: &Tensor,
    advantages: &Tensor,
    padding: &Tensor,
) -> (Tensor, Tensor) {
    match config.loss {
        LossKind::Cispo => {
            let weight = ratio.clamp_max(1.0 + config.clip_high).detach();
            let logprobs = inputs.logprobs.masked_fill(padding, 0.0);
            (-weight * advantages * logprobs, ratio.shallow_clone())
        }
        LossKind::Sapo => {
            let steepness = advantages
                .full_like(config.sapo_temperature_neg)
                .masked_fill(&advantages.gt(0.0), config.sapo_temperature_pos);
            let gate = ((ratio - 1.0) * &steepness).sigmoid() * 4.0 / &steepness;
            (-gate * advantages, ratio.shallow_clone())
        }
        LossKind::Grpo
        | LossKind::Bnpo
        | LossKind::DrGrpo
        | LossKind::Dapo
        | LossKind::Gspo
        | LossKind::GspoToken => {
            let clipped = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high);
            let bounded = match config.delta {
                Some(delta) => ratio.clamp_max(delta),
                None => ratio.shallow_clone(),
            };
            (-(&bounded * advantages).minimum(&(clipped * advantages)), bounded)
        }
    }
}

/// The completions that the off-policy mask of DeepSeek-V3.2 drops: those with a negative advantage that the policy has
/// become unlikely to sample.
///
/// Shapes: `logprobs`, `sampled: [N, T]`; `advantages: [N, 1]`; `lengths: [N]` → `[N, 1]`, bool
fn off_policy(
    logprobs: &Tensor,
    sampled: &Tensor,
    advantages: &Tensor,
    padding: &Tensor,
    lengths: &Tensor,
    threshold: f64,
) -> Tensor {
    no_grad(|| {
        let gap = (sampled - logprobs).masked_fill(padding, 0.0).nan_to_num(0.0, None, None);
        let mean = gap.sum_dim_intlist([-1].as_slice(), false, None) / lengths;
        mean.gt(threshold).unsqueeze(-1).logical_and(&advantages.lt(0.0))
    })
}

/// The sum of the entropies of the kept tokens.
fn entropy_sum(entropy: &EntropyInputs<'_>, padding: &Tensor) -> Tensor {
    let entropies = entropy.entropies.masked_fill(padding, 0.0);
    match entropy.kept {
        Some(kept) => (entropies * kept.to_kind(entropy.entropies.kind())).sum(None),
        None => entropies.sum(None),
    }
}

/// The contribution of this micro-batch to the loss of the batch.
///
/// Shapes: `per_token: [N, T]`, float, 0 on padding; `lengths: [N]`, in the same dtype, at least 1 → scalar
fn aggregate(per_token: &Tensor, lengths: &Tensor, normalizer: &Normalizer, config: &GrpoConfig) -> Tensor {
    let completions = normalizer.completions.max(1) as f64;
    match config.loss {
        LossKind::Grpo if config.mode_token_coef.is_some() => {
            let first = per_token.narrow(1, 0, 1).sum(None) * config.mode_token_coef.unwrap_or_default();
            let rest = per_token.narrow(1, 1, per_token.size()[1] - 1);
            let rest = rest.sum_dim_intlist([-1].as_slice(), false, None) / (lengths - 1.0).clamp_min(1.0);
            (first + rest.sum(None)) / completions
        }
        LossKind::Grpo | LossKind::Gspo | LossKind::GspoToken | LossKind::Sapo => {
            let row_means = per_token.sum_dim_intlist([-1].as_slice(), false, None) / lengths;
            row_means.sum(None) / completions
        }
        LossKind::Bnpo | LossKind::Dapo | LossKind::Cispo => {
            per_token.sum(None) / normalizer.tokens.max(1) as f64
        }
        LossKind::DrGrpo => {
            per_token.sum(None) / (completions * normalizer.max_completion_tokens.max(1) as f64)
        }
    }
}

#[cfg(test)]
mod tests;
