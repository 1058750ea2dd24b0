//! The policy-gradient losses (GRPO, BNPO, Dr. GRPO, DAPO, GSPO) and the supervised loss.
//!
//! Stands between [the policy's log-probabilities](LossInputs::logprobs) and `backward()`: rewards and advantages
//! are finished numbers here, and nothing else in the workspace computes a loss.
//!
//! With `ρ = π/π_old` (per token, or one per completion), `Â` the advantage and `k3 = e^d − d − 1`,
//! `d = log π_ref − log π`, every token contributes
//!
//! ```text
//! −min(min(ρ, delta)·Â, clamp(ρ, 1 − clip_low, 1 + clip_high)·Â) + kl_coef · k3
//! ```
//!
//! and [`LossKind`] says how tokens are averaged.
//!
//! - `LOSS-1`: masked positions influence neither value nor gradient, whatever they hold (even NaN).
//! - `LOSS-2`: with one [`Normalizer`] for the whole batch, the losses and gradients of any split into
//!   micro-batches add up to the whole batch's; so do the [`LossMetrics`].
//! - `LOSS-3`: values, gradients and metrics equal TRL 1.16's `GRPOTrainer` (`tests/fixtures/grpo`).
//!
//! GRPO is equation 8-9 of Audio-Thinker (<https://arxiv.org/abs/2508.08039>) and of DeepSeekMath
//! (<https://arxiv.org/abs/2402.03300>); Dr. GRPO <https://arxiv.org/abs/2503.20783>, DAPO
//! <https://arxiv.org/abs/2503.14476>, GSPO <https://arxiv.org/abs/2507.18071>.
//!
//! One deviation from TRL follows from `LOSS-2`: TRL's BNPO divides each micro-batch by its own token count, so that
//! its value depends on the split. Here the whole batch's count is used, which makes BNPO and DAPO the same unless
//! the caller passes each micro-batch's own [`Normalizer`].

mod metrics;
mod normalizer;
mod sft;

pub use metrics::LossMetrics;
pub use normalizer::Normalizer;
pub use sft::sft_loss;

use tch::{Kind, Tensor};

/// How the per-token losses of a batch become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossKind {
    /// Mean over the tokens of a completion, then over completions.
    #[default]
    Grpo,
    /// Mean over all tokens of the batch.
    Bnpo,
    /// Sum over tokens, divided by completions × the longest completion allowed: no length bias.
    DrGrpo,
    /// Mean over all tokens of the whole batch; usually with a larger `clip_high`.
    Dapo,
    /// GRPO's mean with one importance ratio per completion, whatever `importance` says.
    Gspo,
}

/// What an importance ratio belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Importance {
    /// One ratio per token.
    #[default]
    Token,
    /// One ratio per completion: the geometric mean of its tokens' ratios.
    Sequence,
}

/// Settings of [`grpo_loss`]. The defaults are Audio-Thinker's.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpoConfig {
    /// How tokens are averaged.
    pub loss: LossKind,
    /// Ratios per token or per completion.
    pub importance: Importance,
    /// Ratios below `1 − clip_low` are clipped.
    pub clip_low: f64,
    /// Ratios above `1 + clip_high` are clipped.
    pub clip_high: f64,
    /// Upper bound on the ratio where the clip does not bind (a large ratio with a negative advantage); `None` for no
    /// bound, else above `1 + clip_high`.
    pub delta: Option<f64>,
    /// Weight of the KL divergence to the reference policy; 0 needs no reference.
    pub kl_coef: f64,
    /// Multiplies the KL estimate with the importance ratio, which makes its gradient unbiased off-policy.
    pub kl_importance_corrected: bool,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        GrpoConfig {
            loss: LossKind::Grpo,
            importance: Importance::Token,
            clip_low: 0.2,
            clip_high: 0.2,
            delta: None,
            kl_coef: 0.04,
            kl_importance_corrected: false,
        }
    }
}

impl GrpoConfig {
    fn importance(&self) -> Importance {
        if self.loss == LossKind::Gspo { Importance::Sequence } else { self.importance }
    }
}

/// One micro-batch of `N` completions, the longest of `T` tokens.
#[derive(Debug)]
pub struct LossInputs<'a> {
    /// Log-probabilities under the policy being trained, `[N, T]`; the loss is differentiated with respect to them.
    pub logprobs: &'a Tensor,
    /// Log-probabilities at sampling, `[N, T]`. `None` takes the current ones as constants: exactly on-policy.
    pub old_logprobs: Option<&'a Tensor>,
    /// Log-probabilities under the reference policy, `[N, T]`. If given, the KL divergence is measured even at
    /// `kl_coef = 0`.
    pub ref_logprobs: Option<&'a Tensor>,
    /// Advantage of each completion, `[N]`.
    pub advantages: &'a Tensor,
    /// Which positions are tokens of a completion, `[N, T]`, bool. A row may be empty.
    pub mask: &'a Tensor,
    /// Totals of the whole batch that this micro-batch is a part of.
    pub normalizer: Normalizer,
}

impl LossInputs<'_> {
    fn check(&self, config: &GrpoConfig) {
        let shape = self.logprobs.size();
        assert_eq!(shape.len(), 2, "logprobs must be [N, T], not {shape:?}");
        let same_shape = [
            ("old_logprobs", self.old_logprobs),
            ("ref_logprobs", self.ref_logprobs),
            ("mask", Some(self.mask)),
        ];
        for (name, tensor) in same_shape {
            if let Some(tensor) = tensor {
                assert_eq!(tensor.size(), shape, "{name} must have the shape of logprobs");
            }
        }
        assert_eq!(self.advantages.size(), shape[..1], "advantages must be [N], one per row of logprobs");
        assert!(config.kl_coef == 0.0 || self.ref_logprobs.is_some(), "kl_coef > 0 needs ref_logprobs");
    }
}

/// What [`grpo_loss`] computes.
#[derive(Debug)]
pub struct LossOutputs {
    /// Scalar to call `backward()` on.
    pub loss: Tensor,
    /// The numbers to log, already on the host.
    pub metrics: LossMetrics,
}

/// The policy-gradient loss of one micro-batch.
///
/// # Shapes
/// See [`LossInputs`]. Computed in the dtype of `logprobs` (f32 in training).
///
/// # Panics
/// If shapes disagree, or `kl_coef` is not 0 and there are no `ref_logprobs`.
pub fn grpo_loss(inputs: &LossInputs<'_>, config: &GrpoConfig) -> LossOutputs {
    inputs.check(config);
    let logprobs = inputs.logprobs;
    let padding = inputs.mask.to_kind(Kind::Bool).logical_not();
    // At least 1: an empty row contributes 0, not 0/0.
    let lengths =
        inputs.mask.to_kind(logprobs.kind()).sum_dim_intlist([-1].as_slice(), false, None).clamp_min(1.0);
    let advantages = inputs.advantages.to_kind(logprobs.kind()).unsqueeze(-1);

    let on_policy = logprobs.detach();
    let old_logprobs = inputs.old_logprobs.unwrap_or(&on_policy).detach();
    // Padding is zeroed before `exp`, whose gradient at an infinite padding value would be NaN (LOSS-1).
    let log_ratio = (logprobs - old_logprobs).masked_fill(&padding, 0.0);
    let ratio = match config.importance() {
        Importance::Token => log_ratio,
        Importance::Sequence => {
            (log_ratio.sum_dim_intlist([-1].as_slice(), false, None) / &lengths).unsqueeze(-1)
        }
    }
    .exp();

    let kl = inputs.ref_logprobs.map(|ref_logprobs| {
        let gap = (ref_logprobs.detach() - logprobs).masked_fill(&padding, 0.0);
        let k3 = gap.exp() - gap - 1.0;
        if config.kl_importance_corrected { k3 * &ratio } else { k3 }
    });

    let clipped = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high);
    let bounded = match config.delta {
        Some(delta) => ratio.clamp_max(delta),
        None => ratio.shallow_clone(),
    };
    let policy = -(&bounded * &advantages).minimum(&(clipped * &advantages));
    let per_token = match &kl {
        Some(kl) if config.kl_coef != 0.0 => policy + kl * config.kl_coef,
        _ => policy.expand_as(logprobs),
    }
    .masked_fill(&padding, 0.0);

    let loss = aggregate(&per_token, &lengths, &inputs.normalizer, config.loss);
    let metrics = LossMetrics::measure(&loss, kl.as_ref(), &bounded, &advantages, &padding, config);
    LossOutputs { loss, metrics }
}

/// This micro-batch's share of the batch's loss.
///
/// # Shapes
/// `per_token: [N, T]`, zero on padding; `lengths: [N]`, at least 1.
fn aggregate(per_token: &Tensor, lengths: &Tensor, normalizer: &Normalizer, loss: LossKind) -> Tensor {
    let completions = normalizer.completions.max(1) as f64;
    match loss {
        LossKind::Grpo | LossKind::Gspo => {
            let row_means = per_token.sum_dim_intlist([-1].as_slice(), false, None) / lengths;
            row_means.sum(None) / completions
        }
        LossKind::Bnpo | LossKind::Dapo => per_token.sum(None) / normalizer.tokens.max(1) as f64,
        LossKind::DrGrpo => {
            per_token.sum(None) / (completions * normalizer.max_completion_tokens.max(1) as f64)
        }
    }
}

#[cfg(test)]
mod tests;
