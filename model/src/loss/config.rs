//! The settings of the policy-gradient losses.

use serde::{Deserialize, Serialize};

use super::covariance::CovarianceControl;

/// How the losses of the tokens of a batch are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossKind {
    /// The mean over the tokens of each completion, then over completions.
    #[default]
    Grpo,
    /// The mean over all tokens of the batch.
    Bnpo,
    /// The sum over tokens, divided by completions × the longest completion allowed, which has no length bias.
    DrGrpo,
    /// The mean over all tokens of the whole batch; usually with a larger `clip_high`.
    Dapo,
    /// GRPO's mean with one importance ratio for each completion, whatever `importance` is.
    Gspo,
    /// As `Gspo`, but the gradient of the ratio goes through each token's own log-probability.
    GspoToken,
    /// REINFORCE with the clipped ratio as a constant factor; the mean over all tokens of the batch.
    Cispo,
    /// GRPO's mean with a smooth gate instead of the clip.
    Sapo,
}

/// The estimate of the KL divergence to the reference policy, for a token with `d = log π_ref − log π`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KlEstimator {
    /// `−d`: unbiased, and may be negative. As a term of a loss, its gradient is 0 in expectation.
    K1,
    /// `d²/2`: biased; its gradient is that of the divergence, on-policy.
    K2,
    /// `e^d − d − 1`: unbiased and never negative.
    #[default]
    K3,
}

/// Whether an importance ratio belongs to a token or to a completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Importance {
    /// One ratio for each token.
    #[default]
    Token,
    /// One ratio for each completion: the geometric mean of its tokens' ratios.
    Sequence,
}

/// Settings of `grpo_loss`. The defaults are those of Audio-Thinker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrpoConfig {
    /// How the losses of tokens are averaged.
    pub loss: LossKind,
    /// Whether there is one ratio for each token or for each completion.
    pub importance: Importance,
    /// Distance below 1 at which ratios are clipped: at `1 − clip_low`.
    pub clip_low: f64,
    /// Distance above 1 at which ratios are clipped: at `1 + clip_high`.
    pub clip_high: f64,
    /// Upper bound of the ratio where the clip has no effect: for large ratios with a negative advantage. Must be above
    /// `1 + clip_high`; `None` for no bound.
    pub delta: Option<f64>,
    /// Weight of the KL divergence to the reference policy. With 0, no reference is needed.
    pub kl_coef: f64,
    /// Whether the KL estimate is multiplied by the importance ratio, which makes its gradient unbiased off-policy.
    pub kl_importance_corrected: bool,
    /// How the KL divergence is estimated.
    pub kl_estimator: KlEstimator,
    /// Steepness of SAPO's gate for advantages above 0.
    pub sapo_temperature_pos: f64,
    /// Steepness of SAPO's gate for all other advantages.
    pub sapo_temperature_neg: f64,
    /// A completion with a negative advantage is left out of the policy loss if the mean of `log π_sampled − log π` over
    /// its tokens is above this; `None` keeps all.
    pub off_policy_threshold: Option<f64>,
    /// Weight of the entropy bonus.
    pub entropy_coef: f64,
    /// What happens to the tokens of `LossInputs::covariant`.
    pub covariance: Option<CovarianceControl>,
    /// Weight of the first token of a completion, which decides whether it thinks, beside the mean over its other tokens
    /// (DeGRPO); `None` for the mean over all. For [`LossKind::Grpo`].
    pub mode_token_coef: Option<f64>,
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
            kl_estimator: KlEstimator::K3,
            sapo_temperature_pos: 1.0,
            sapo_temperature_neg: 1.05,
            off_policy_threshold: None,
            entropy_coef: 0.0,
            covariance: None,
            mode_token_coef: None,
        }
    }
}

impl GrpoConfig {
    /// The importance ratios that are used: always per completion for GSPO.
    pub(super) fn importance(&self) -> Importance {
        match self.loss {
            LossKind::Gspo | LossKind::GspoToken => Importance::Sequence,
            _ => self.importance,
        }
    }

    /// Whether ratios are clipped from below and from above.
    pub(super) fn clips(&self) -> (bool, bool) {
        (!matches!(self.loss, LossKind::Cispo | LossKind::Sapo), self.loss != LossKind::Sapo)
    }
}
